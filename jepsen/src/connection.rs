//! One connection to one server: commands, pipelines, time limits.
//!
//! It tells a caller whether a command can have been executed: an error before the first byte was written is another
//! thing than silence after it. It retries nothing.

use crate::resp::{DecodeError, Decoder, Limits, Value, encode_command};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for the replies to one call.
    pub reply_timeout: Duration,
    /// What a reply may hold.
    pub limits: Limits,
    /// The pause of a cluster client after a refusal or a failed connection.
    pub pause: Duration,
    /// Sent by `HELLO 3`; without it the connection stays with RESP2.
    pub resp3: bool,
    /// User and password, if the server wants them.
    pub auth: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            connect_timeout: second,
            reply_timeout: 5 * second,
            limits: Limits::default(),
            pause: second / 20,
            resp3: false,
            auth: None,
        }
    }
}

/// Why a call gave no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent: the command did not happen.
    #[error("not sent to {to}: {why}")]
    NotSent {
        /// `host:port`.
        to: String,
        /// What went wrong.
        why: String,
    },
    /// Bytes were sent and no reply came: the command may or may not have happened.
    #[error("unknown outcome at {to}: {why}")]
    Unknown {
        /// `host:port`.
        to: String,
        /// What went wrong.
        why: String,
    },
}

impl CallError {
    /// Whether the command can have been executed.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::NotSent { .. } => false,
            Self::Unknown { .. } => true,
        }
    }
}

/// A connection. After an error it is of no use: drop it.
pub struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    options: Options,
    address: String,
    pushes: VecDeque<Value>,
}

/// Pushes that nobody fetched are kept up to this many; then the oldest go.
const PUSHES_MAX: usize = 1024;

impl Connection {
    /// Connects and says hello as the options ask.
    pub async fn open(address: &str, options: &Options) -> Result<Self, CallError> {
        let failed = |why: String| CallError::NotSent { to: address.to_owned(), why };
        let connected = tokio::time::timeout(options.connect_timeout, TcpStream::connect(address)).await;
        let stream = match connected {
            Err(_late) => return Err(failed("connecting took too long".into())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let mut connection = Self {
            stream,
            decoder: Decoder::new(options.limits),
            options: options.clone(),
            address: address.to_owned(),
            pushes: VecDeque::new(),
        };
        for hello in greeting(options) {
            let reply = connection.call(&hello).await?;
            if let Some(error) = reply.error() {
                return Err(failed(format!("{} refused: {error}", hello[0])));
            }
        }
        Ok(connection)
    }

    /// The server's `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the server is known to have hung up: what would be sent now cannot be done, and need not be tried.
    pub fn has_ended(&mut self) -> bool {
        let mut byte = [0; 1];
        match self.stream.try_read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.decoder.feed(&byte);
                false
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Sends a command and waits for its reply.
    pub async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, CallError> {
        let mut bytes = Vec::with_capacity(64);
        encode_command(args, &mut bytes);
        let mut replies = self.exchange(&bytes, 1).await?;
        replies.pop().ok_or_else(|| self.unknown("no reply"))
    }

    /// Sends many commands at once and waits for all replies, in order.
    pub async fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Result<Vec<Value>, CallError> {
        let mut bytes = Vec::with_capacity(64 * commands.len());
        commands.iter().for_each(|args| encode_command(args, &mut bytes));
        self.exchange(&bytes, commands.len()).await
    }

    /// Sends many commands at once. What comes back are the replies that came, in order, and what went wrong before the
    /// others did, if any are missing: those commands may or may not have been executed.
    pub async fn pipeline_as_far<A: AsRef<[u8]>>(
        &mut self,
        commands: &[Vec<A>],
    ) -> (Vec<Value>, Option<CallError>) {
        let mut bytes = Vec::with_capacity(64 * commands.len());
        commands.iter().for_each(|args| encode_command(args, &mut bytes));
        let mut values = Vec::with_capacity(commands.len().min(4096));
        let error = self.exchange_into(&bytes, commands.len(), &mut values).await.err();
        (values, error)
    }

    /// Sends bytes as they are, and waits for this many replies. For tests that say strange things.
    pub async fn exchange(&mut self, bytes: &[u8], replies: usize) -> Result<Vec<Value>, CallError> {
        let mut values = Vec::with_capacity(replies.min(4096));
        self.exchange_into(bytes, replies, &mut values).await.map(|()| values)
    }

    async fn exchange_into(
        &mut self,
        bytes: &[u8],
        replies: usize,
        values: &mut Vec<Value>,
    ) -> Result<(), CallError> {
        let wait = self.options.reply_timeout;
        match tokio::time::timeout(wait, self.write_and_read(bytes, replies, values)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.unknown(&error.to_string())),
            Err(_late) => Err(self.unknown(&format!("no reply within {wait:?}"))),
        }
    }

    /// Waits for one more reply (or push) without sending anything.
    pub async fn receive(&mut self) -> Result<Value, CallError> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        let wait = self.options.reply_timeout;
        match tokio::time::timeout(wait, self.read_value()).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.unknown(&error.to_string())),
            Err(_late) => Err(self.unknown(&format!("nothing came within {wait:?}"))),
        }
    }

    fn unknown(&self, why: &str) -> CallError {
        CallError::Unknown { to: self.address.clone(), why: why.to_owned() }
    }

    /// Writes and reads at the same time, so that a pipeline larger than the sockets' buffers cannot get stuck.
    async fn write_and_read(
        &mut self,
        mut bytes: &[u8],
        replies: usize,
        values: &mut Vec<Value>,
    ) -> io::Result<()> {
        while values.len() < replies {
            if let Some(value) = self.next_decoded()? {
                match value {
                    Value::Push(_) => self.keep_push(value),
                    reply => values.push(reply),
                }
                continue;
            }
            let (mut reader, mut writer) = self.stream.split();
            tokio::select! {
                read = reader.read_buf(self.decoder.buffer()) => {
                    if read? == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
                    }
                }
                written = writer.write(bytes), if !bytes.is_empty() => bytes = &bytes[written?..],
            }
        }
        Ok(())
    }

    async fn read_value(&mut self) -> io::Result<Value> {
        loop {
            if let Some(value) = self.next_decoded()? {
                return Ok(value);
            }
            if self.stream.read_buf(self.decoder.buffer()).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }

    fn next_decoded(&mut self) -> io::Result<Option<Value>> {
        self.decoder.decode().map_err(|error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn keep_push(&mut self, push: Value) {
        if self.pushes.len() == PUSHES_MAX {
            self.pushes.pop_front();
        }
        self.pushes.push_back(push);
    }
}

fn greeting(options: &Options) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
    match (options.resp3, &options.auth) {
        (true, Some((user, password))) => vec![words(&["HELLO", "3", "AUTH", user, password])],
        (true, None) => vec![words(&["HELLO", "3"])],
        (false, Some((user, password))) => vec![words(&["AUTH", user, password])],
        (false, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn server(answer: &'static [u8], close: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(answer).await;
            if !close {
                std::future::pending::<()>().await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_pipeline_gets_its_replies_in_order_and_pushes_are_kept_apart() {
        let address = server(b"+one\r\n>1\r\n+news\r\n:1\r\n:2\r\n", false).await;
        let mut connection = Connection::open(&address, &Options::default()).await.unwrap();
        let replies = connection.pipeline(&[vec!["A"], vec!["B"]]).await.unwrap();
        assert_eq!(replies, [Value::Simple("one".into()), Value::Integer(1)]);
        assert_eq!(connection.receive().await.unwrap(), Value::Push(vec![Value::Simple("news".into())]));
        assert_eq!(connection.receive().await.unwrap(), Value::Integer(2));
    }

    #[tokio::test]
    async fn the_replies_before_a_cut_are_handed_over_with_the_error() {
        let address = server(b":1\r\n:2\r\n:", true).await;
        let mut connection = Connection::open(&address, &Options::default()).await.unwrap();
        let (replies, error) = connection.pipeline_as_far(&[vec!["A"], vec!["B"], vec!["C"]]).await;
        assert_eq!(replies, [Value::Integer(1), Value::Integer(2)]);
        assert!(error.unwrap().may_have_happened());
    }

    #[tokio::test]
    async fn a_refused_connection_means_that_nothing_happened() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Connection::open(&address, &Options::default()).await.err().unwrap();
        assert!(!error.may_have_happened(), "{error}");
    }

    #[tokio::test]
    async fn silence_and_a_cut_mean_that_the_outcome_is_unknown() {
        let options = Options { reply_timeout: Duration::from_millis(50), ..Options::default() };
        for close in [true, false] {
            let mut connection = Connection::open(&server(b"+O", close).await, &options).await.unwrap();
            let error = connection.call(&["PING"]).await.unwrap_err();
            assert!(error.may_have_happened(), "{error}");
        }
    }
}
