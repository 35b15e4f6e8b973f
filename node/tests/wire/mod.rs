//! A node in this process on a port of its own, and a client that speaks RESP to it byte by byte.
//!
//! Decides nothing: what an answer should be is said by the tests. Every wait is for a condition and ends with a
//! panic after [`PATIENCE`].

#![allow(dead_code, unreachable_pub)]

use capstan_node::config::{Config, load};
use capstan_node::core::NodeCore;
use capstan_node::server::{NodeConfig, NodeError, Server};
use capstan_proto::env::{Clock, Env, RealClock};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than anything here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running node. It stops when this is dropped.
pub struct Node {
    pub core: Arc<NodeCore>,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<(), NodeError>>>,
}

/// Settings as flags would give them.
pub fn settings(flags: &[(&str, &str)]) -> Config {
    let flags = [("port", "0")].iter().chain(flags).map(|(name, value)| ((*name).into(), (*value).into()));
    load::load(None, |_| None, flags).expect("valid settings")
}

impl Node {
    pub fn start(flags: &[(&str, &str)]) -> Self {
        Self::with(settings(flags))
    }

    pub fn with(settings: Config) -> Self {
        let (started, wait) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let server =
                    Server::bind(Env::real(), NodeConfig { settings, ..NodeConfig::default() }).await?;
                let _ = started.send((server.core().clone(), server.addresses()[0]));
                server.serve(async { drop(stopped.await) }).await
            })
        });
        let (core, address) = wait.recv_timeout(PATIENCE).expect("the node starts");
        Self { core, address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(&mut self) -> Result<(), NodeError> {
        drop(self.stop.take());
        self.ended()
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> Result<(), NodeError> {
        match self.thread.take() {
            Some(thread) => thread.join().expect("no panic"),
            None => Ok(()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Double(String),
    Bool(bool),
}

impl Value {
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Double(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into(),
            Self::Int(number) => number.to_string(),
            other => panic!("{other:?} is no text"),
        }
    }

    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            other => panic!("{other:?} is no array"),
        }
    }

    pub fn texts(&self) -> Vec<String> {
        self.items().iter().map(Self::text).collect()
    }

    /// The pairs of a map, or of a flat array that stands for one.
    pub fn pairs(&self) -> Vec<(Self, Self)> {
        match self {
            Self::Map(pairs) => pairs.clone(),
            Self::Array(items) => items.chunks(2).map(|two| (two[0].clone(), two[1].clone())).collect(),
            other => panic!("{other:?} is no map"),
        }
    }

    pub fn get(&self, name: &str) -> Self {
        let found = self.pairs().into_iter().find(|(key, _)| key.text() == name);
        found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }
}

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// The connection was closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a command, split at blanks, without waiting for the answer.
    pub fn send(&mut self, command: &str) {
        let words: Vec<&[u8]> = command.split_ascii_whitespace().map(str::as_bytes).collect();
        self.send_args(&words);
    }

    pub fn send_args(&mut self, words: &[&[u8]]) {
        self.try_send_args(words).expect("sent");
    }

    pub fn try_send_args(&mut self, words: &[&[u8]]) -> std::io::Result<()> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&bytes)
    }

    pub fn ask(&mut self, command: &str) -> Value {
        self.send(command);
        self.read().expect("an answer")
    }

    pub fn ask_args(&mut self, words: &[&[u8]]) -> Value {
        self.send_args(words);
        self.read().expect("an answer")
    }

    /// The text of an error reply.
    pub fn error(&mut self, command: &str) -> String {
        match self.ask(command) {
            Value::Error(text) => text,
            other => panic!("{command}: {other:?} is no error"),
        }
    }

    pub fn ok(&mut self, command: &str) {
        assert_eq!(self.ask(command), Value::Simple("OK".into()), "{command}");
    }

    /// INFO as a list of fields.
    pub fn info(&mut self, section: &str) -> Vec<(String, String)> {
        let text = self.ask(&format!("INFO {section}")).text();
        let fields = text.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('#'));
        fields.map(|line| line.split_once(':').map(|(a, b)| (a.into(), b.into())).expect("a field")).collect()
    }

    pub fn info_field(&mut self, name: &str) -> String {
        let found = self.info("everything").into_iter().find(|(field, _)| field == name);
        found.unwrap_or_else(|| panic!("INFO has no {name}")).1
    }

    /// Whether the node closes this connection, whatever it says before.
    pub fn is_closed(&mut self) -> bool {
        while self.read().is_ok() {
            // Whatever it says before.
        }
        true
    }

    pub fn read(&mut self) -> Result<Value, Closed> {
        let line = self.line()?;
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        Ok(match kind {
            "+" => Value::Simple(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Int(number()),
            "," => Value::Double(rest.into()),
            "#" => Value::Bool(rest == "t"),
            "_" => Value::Null,
            "$" | "=" if number() < 0 => Value::Null,
            "$" => Value::Bulk(self.bytes(number() as usize)?),
            "=" => Value::Bulk(self.bytes(number() as usize)?.split_off(4)),
            "*" if number() < 0 => Value::Null,
            "*" | "~" | ">" => Value::Array((0..number()).map(|_| self.read()).collect::<Result<_, _>>()?),
            "%" => {
                let pairs = (0..number()).map(|_| Ok((self.read()?, self.read()?)));
                Value::Map(pairs.collect::<Result<_, _>>()?)
            }
            other => panic!("unknown type {other:?} in {line:?}"),
        })
    }

    fn line(&mut self) -> Result<String, Closed> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let rest = self.buffer.split_off(end + 2);
                let line = std::mem::replace(&mut self.buffer, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into());
            }
            self.fill()?;
        }
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, Closed> {
        while self.buffer.len() < len + 2 {
            self.fill()?;
        }
        let rest = self.buffer.split_off(len + 2);
        let mut bytes = std::mem::replace(&mut self.buffer, rest);
        bytes.truncate(len);
        Ok(bytes)
    }

    fn fill(&mut self) -> Result<(), Closed> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Closed),
            Ok(len) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(Closed),
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// Asks again and again until the condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = RealClock;
    let end = clock.boot().after(PATIENCE);
    while !holds() {
        assert!(clock.boot() < end, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}
