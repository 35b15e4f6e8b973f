//! One client connection: read, run what is complete, check the lease, send, again. The only shell of the hot path.
//!
//! One task per connection on tokio's workers; commands run in place under their lanes' locks. One read and one write a
//! turn, so a pipeline costs two system calls. While replies wait for the socket nothing more is read from the client,
//! so what waits for it is bounded: at most [`dispatch::FLUSH_BYTES`] and one reply more (I12). Buffers are lent by the
//! worker thread for the length of a turn: an idle connection owns none.

use crate::clients::{Activity, Place};
use crate::config::Verdict;
use crate::core::NodeCore;
use crate::dispatch::{self, LongCall, Ran, Scratch, Step};
use crate::input::Input;
use crate::output;
use crate::resp::{Reply, Resp};
use crate::session::{Later, Session};
use crate::store::{Data, Locked};
use capstan_proto::rules::Rule;
use rustix::net::RecvFlags;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// After so many turns without waiting for the client a connection lets the others of its worker run.
const TURNS_IN_A_ROW: u32 = 16;

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client left, asked to be left, or was cut off.
    Closed,
    /// The lease ended under commands that had executed: their outcome must stay unknown (►9).
    LeaseLost,
    /// The socket failed.
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// What one read brought.
struct Read {
    /// How many bytes; 0 at the end of the stream.
    len: usize,
    /// Others of the worker could run before they came.
    waited: bool,
}

struct Connection {
    core: Arc<NodeCore>,
    stream: Arc<TcpStream>,
    place: Place,
    session: Session,
    input: Input,
}

/// Serves a client until it leaves or is cut off.
pub async fn serve(core: Arc<NodeCore>, stream: Arc<TcpStream>, place: Place, authenticated: bool) {
    core.stats.connections.fetch_add(1, Ordering::Relaxed);
    let session = Session {
        client: Some(place.client().clone()),
        authenticated,
        user: "default".into(),
        ..Session::default()
    };
    let mut connection = Connection { core, stream, place, session, input: Input::default() };
    match connection.run().await {
        Ok(()) | Err(End::Closed) => {}
        Err(End::LeaseLost) => {
            tracing::debug!(client = connection.place.client().id, "closed: the lease ended")
        }
        Err(End::Failed(error)) => tracing::debug!(client = connection.place.client().id, %error, "closed"),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.session.watched.is_empty() {
            let now = self.core.env.clock.wall();
            let mut data = Data::new(&self.core.lanes, Locked::Roaming(None), self.session.db, now);
            data.unwatch(&mut self.session.watched);
        }
    }
}

impl Connection {
    async fn run(&mut self) -> Result<(), End> {
        let mut turns = 0;
        loop {
            let read = self.read().await?;
            if read.len == 0 {
                return Ok(());
            }
            while !self.turn().await? {
                // There is more to execute.
            }
            turns = if read.waited { 0 } else { turns + 1 };
            if turns >= TURNS_IN_A_ROW {
                turns = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what has arrived. While nothing has, the buffer is given back.
    async fn read(&mut self) -> Result<Read, End> {
        let Self { stream, input, core, .. } = self;
        let mut waited = false;
        let len = poll_fn(|context| {
            loop {
                match stream.poll_read_ready(context) {
                    Poll::Pending => {
                        input.idle();
                        waited = true;
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => match read_once(stream, input.room()) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        done => return Poll::Ready(done),
                    },
                }
            }
        })
        .await?;
        input.filled(len);
        core.stats.bytes_in.fetch_add(len as u64, Ordering::Relaxed);
        Ok(Read { len, waited })
    }

    /// Executes what is complete and sends the replies. Whether everything that was read has been dealt with.
    async fn turn(&mut self) -> Result<bool, End> {
        let mut out = Reply::over(output::borrow(), self.session.resp);
        let mut ran = Ran::default();
        let Self { core, session, input, .. } = self;
        let step = Scratch::with(|scratch| dispatch::run(core, session, input, &mut out, scratch, &mut ran));
        self.note(&ran);
        self.send(out.into_bytes(), ran.under_lease).await?;
        match step {
            Step::Drained => Ok(true),
            Step::Flush => Ok(false),
            Step::Close => Err(End::Closed),
            Step::Busy(busy) => {
                self.core.lanes.turn(busy).await;
                Ok(false)
            }
            Step::Long(call) => self.long(call).await.map(|()| false),
            Step::Later => self.later().await.map(|()| false),
        }
    }

    /// Tells the client list what happened.
    fn note(&self, ran: &Ran) {
        let session = &self.session;
        self.place.client().note(&Activity {
            at: ran.at,
            command: ran.last_command,
            db: session.db,
            resp: if session.resp == Resp::Two { 2 } else { 3 },
            multi: session.multi.as_ref().map_or(-1, |multi| multi.queue.len() as i32),
            readonly: session.readonly,
            query: self.input.size(),
            waiting: 0,
        });
    }

    /// Runs a command that may take long on a thread that may block.
    async fn long(&mut self, call: Box<LongCall>) -> Result<(), End> {
        let core = self.core.clone();
        let mut session = std::mem::take(&mut self.session);
        let run = move || {
            let mut out = Reply::over(Vec::new(), session.resp);
            let under_lease = call.run(&core, &mut session, &mut out);
            (session, out, under_lease)
        };
        let done = tokio::task::spawn_blocking(run).await;
        let (session, out, under_lease) = done.map_err(|_| End::Closed)?;
        self.session = session;
        self.send(out.into_bytes(), under_lease).await?;
        if self.session.closing { Err(End::Closed) } else { Ok(()) }
    }

    /// Waits for the answer of a command that answers later.
    async fn later(&mut self) -> Result<(), End> {
        let Some(Later(answer)) = self.session.later.take() else { return Ok(()) };
        let answer = answer.await;
        let mut out = Reply::over(output::borrow(), self.session.resp);
        if let Err(error) = answer(&mut out) {
            self.core.note_error(&error);
            out.error(&error);
        }
        self.send(out.into_bytes(), false).await
    }

    /// Sends replies, after one more look at the lease if they tell of data (►9). Gives the buffer back.
    async fn send(&mut self, bytes: Vec<u8>, under_lease: bool) -> Result<(), End> {
        if !bytes.is_empty() {
            let core = &self.core;
            let looks = under_lease && core.env.rules.on(Rule::CheckBeforeReply);
            if looks && !core.serving.covers(core.serving.now(&*core.env.clock)) {
                return Err(End::LeaseLost);
            }
            let sent = match self.stream.try_write(&bytes) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            if sent < bytes.len() {
                self.send_rest(&bytes[sent..]).await?;
            }
            self.core.stats.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        output::give_back(bytes);
        Ok(())
    }

    /// Waits for a client that reads slowly, or not at all.
    async fn send_rest(&mut self, mut rest: &[u8]) -> Result<(), End> {
        let client = self.place.client().clone();
        while !rest.is_empty() {
            let limit = self.core.config.output_limits().normal;
            let now = self.core.env.clock.boot();
            if let Verdict::Over = limit.judge(rest.len() as u64, None, now) {
                self.core.gauges.cut_for_output.fetch_add(1, Ordering::Relaxed);
                return Err(End::Closed);
            }
            client.note_waiting(rest.len());
            self.stream.writable().await?;
            match self.stream.try_write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        client.note_waiting(0);
        Ok(())
    }
}

/// One recv(2), which is cheaper than a read(2) of a socket. A short one tells tokio that the socket is empty, which saves the read that would find that out.
fn read_once(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let whole = room.len();
    let mut read = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let (len, _) =
            rustix::io::retry_on_intr(|| rustix::net::recv(stream, &mut *room, RecvFlags::empty()))?;
        read = Some(len);
        if len > 0 && len < whole { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match read {
        Some(len) => Ok(len),
        None => outcome.map(|()| 0),
    }
}
