//! One client connection: read, run what is complete, check the lease, send, again. The only shell of the hot path.
//!
//! One task per connection on tokio's workers; commands run in place under their lanes' locks. One read and one write a
//! turn, so a pipeline costs two system calls. While replies wait for the socket nothing more is read from the client,
//! so what waits for it is bounded: at most [`dispatch::FLUSH_BYTES`] and one reply more (I12). Buffers are lent by the
//! worker thread for the length of a turn: an idle connection owns none.

use crate::blocking::{Answer, Blocked};
use crate::clients::{Activity, Client, Place};
use crate::config::Verdict;
use crate::core::NodeCore;
use crate::departure;
use crate::dispatch::{self, LongCall, Ran, Scratch, Step, soon};
use crate::input::Input;
use crate::output;
use crate::release::{Outbox, Stamp, Trouble, WAITING_MAX};
use crate::resp::{Reply, Resp};
use crate::session::{Later, ReplyMode, Session};
use crate::store::log::take_logged;
use crate::store::{Data, Locked};
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
/// More than this takes long enough to execute that no gathered reply should wait for it.
const LONG_INPUT: usize = 16 * 1024;
/// At most this is looked at as a single command.
const SINGLE: usize = 1024;
/// So much is read from a client that waits for an element; the rest stays in its socket.
const READ_AHEAD_MAX: usize = 64 * 1024;

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client left or asked to be left.
    Closed,
    /// It was cut off.
    Cut,
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
    /// Replies that wait until their batch was sent; nothing on a node whose log nobody wants.
    outbox: Option<Arc<Outbox>>,
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
    let mut connection = Connection { core, stream, place, session, input: Input::default(), outbox: None };
    match connection.run().await {
        Ok(()) | Err(End::Closed | End::Cut) => {}
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
        let ended = self.turns().await;
        if matches!(ended, Ok(()) | Err(End::Closed)) {
            // What was executed is still answered, once it may be. A client that was cut off takes no more.
            self.wait_until_at_most(0).await?;
        }
        ended
    }

    async fn turns(&mut self) -> Result<(), End> {
        let mut turns = 0;
        loop {
            self.wait_until_at_most(WAITING_MAX).await?;
            let Some(read) = self.read().await? else { continue };
            if read.len == 0 {
                return Ok(());
            }
            if !read.waited || self.input.pending().len() > LONG_INPUT {
                // What others have been answered does not wait for a client that sends without end.
                departure::depart();
            }
            if read.waited && read.len <= SINGLE && soon::announce(&self.core.lanes, self.input.pending()) {
                self.input.set_aside();
                let_others_read().await;
                soon::prefetch(&self.core.lanes);
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

    /// Reads what has arrived. While nothing has, the buffer is given back. `None`: replies that wait need this
    /// connection first.
    async fn read(&mut self) -> Result<Option<Read>, End> {
        let Self { stream, input, core, outbox, .. } = self;
        let mut waited = false;
        let len = poll_fn(|context| {
            loop {
                match stream.poll_read_ready(context) {
                    Poll::Pending => {
                        input.idle();
                        waited = true;
                        let trouble = outbox.as_ref().is_some_and(|it| it.poll_trouble(context).is_ready());
                        return if trouble { Poll::Ready(Ok(None)) } else { Poll::Pending };
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => match read_once(stream, input.room()) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        done => return Poll::Ready(done.map(Some)),
                    },
                }
            }
        })
        .await?;
        let Some(len) = len else { return Ok(None) };
        input.filled(len);
        core.stats.bytes_in.fetch_add(len as u64, Ordering::Relaxed);
        Ok(Some(Read { len, waited }))
    }

    /// Waits until no more than `most` bytes of replies wait for their batch, and does what they need meanwhile.
    async fn wait_until_at_most(&mut self, most: usize) -> Result<(), End> {
        let Self { core, stream, place, outbox: Some(outbox), .. } = self else { return Ok(()) };
        loop {
            match poll_fn(|context| outbox.poll_at_most(most, context)).await {
                None => return Ok(()),
                Some(Trouble::LeaseLost) => return Err(End::LeaseLost),
                Some(Trouble::Failed(kind)) => return Err(End::Failed(kind.into())),
                Some(Trouble::Blocked) => {
                    while !outbox.write(core) {
                        wait_for_socket(core, stream, place.client(), outbox.waiting()).await?;
                    }
                    place.client().note_waiting(0);
                }
            }
        }
    }

    /// Executes what is complete and sends the replies. Whether everything that was read has been dealt with.
    async fn turn(&mut self) -> Result<bool, End> {
        let mut out = Reply::over(output::borrow(), self.session.resp);
        let mut ran = Ran { epoch: self.core.serving.epoch(), ..Ran::default() };
        let Self { core, session, input, .. } = self;
        let step = Scratch::with(|scratch| dispatch::run(core, session, input, &mut out, scratch, &mut ran));
        self.note(&ran);
        self.send(out.into_bytes(), ran.stamp()).await?;
        match step {
            Step::Drained => Ok(true),
            Step::Flush => Ok(false),
            Step::Close => Err(End::Closed),
            Step::Busy(busy) => {
                self.core.lanes.turn(busy).await;
                Ok(false)
            }
            Step::Held => {
                self.core.hold.passed(&*self.core.env.clock).await;
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
        let call = Arc::new(call);
        loop {
            let (core, call) = (self.core.clone(), call.clone());
            let mut session = std::mem::take(&mut self.session);
            let run = move || {
                let mut out = Reply::over(Vec::new(), session.resp);
                let ran = call.run(&core, &mut session, &mut out);
                (session, out, ran)
            };
            let done = tokio::task::spawn_blocking(run).await;
            let (session, out, ran) = done.map_err(|_| End::Closed)?;
            self.session = session;
            if let Some(ran) = ran {
                self.send(out.into_bytes(), ran.stamp()).await?;
                return if self.session.closing { Err(End::Closed) } else { Ok(()) };
            }
            self.core.hold.passed(&*self.core.env.clock).await;
        }
    }

    /// Waits for the answer of a command that waits for an element. Meanwhile the socket is read, since only so it is
    /// seen that the client leaves: then nothing may be taken for it any more.
    async fn blocked(&mut self, Blocked(mut answer): Blocked) -> Result<(), End> {
        self.place.client().note_blocked(true);
        let served = loop {
            let room = self.input.pending().len() < READ_AHEAD_MAX;
            tokio::select! {
                biased;
                served = &mut answer => break served,
                read = self.read(), if room => match read? {
                    Some(Read { len: 0, .. }) => return Err(End::Closed),
                    Some(_) => {}
                    None => self.wait_until_at_most(WAITING_MAX).await?,
                },
            }
        };
        self.place.client().note_blocked(false);
        let mut out = Reply::over(output::borrow(), self.session.resp);
        match served.reply {
            Ok(Answer::Bytes(bytes)) => out.raw(&bytes),
            Ok(Answer::Nothing) => out.null_array(),
            Err(error) => {
                self.core.note_error(&error);
                out.error(&error);
            }
        }
        if self.session.reply != ReplyMode::On {
            out.truncate(0);
        }
        self.session.written = self.session.written.max(served.stamp.batch);
        self.send(out.into_bytes(), served.stamp).await
    }

    /// Waits for the answer of a command that answers later.
    async fn later(&mut self) -> Result<(), End> {
        if let Some(blocked) = self.session.blocked.take() {
            return self.blocked(blocked).await;
        }
        let Some(Later(answer)) = self.session.later.take() else { return Ok(()) };
        let answer = answer.await;
        let mut out = Reply::over(output::borrow(), self.session.resp);
        let epoch = self.core.serving.epoch();
        take_logged();
        if let Err(error) = answer(&mut out) {
            self.core.note_error(&error);
            out.error(&error);
        }
        // An answer that changed something waits for it like any other reply.
        let batch = take_logged();
        self.session.written = self.session.written.max(batch);
        self.send(out.into_bytes(), Stamp { batch, under_lease: batch > 0, epoch }).await
    }

    /// Sends replies, after one more look at the lease if they tell of data (►9). Replies of commands that were logged
    /// wait until their batch was sent, and those behind them too. Gives the buffer back.
    async fn send(&mut self, bytes: Vec<u8>, stamp: Stamp) -> Result<(), End> {
        if bytes.is_empty() {
            output::give_back(bytes);
            return Ok(());
        }
        if stamp.batch > 0 || self.outbox.as_ref().is_some_and(|outbox| outbox.waiting() > 0) {
            let outbox = self.outbox.get_or_insert_with(|| Arc::new(Outbox::new(self.stream.clone())));
            self.core.leave_later(outbox, bytes, stamp);
            return Ok(());
        }
        if departure::gathers(bytes.len()) {
            let outbox = self.outbox.get_or_insert_with(|| Arc::new(Outbox::new(self.stream.clone())));
            outbox.gather(bytes, stamp);
            departure::enlist(&self.core, outbox);
            return Ok(());
        }
        if !stamp.may_leave(&self.core) {
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
        output::give_back(bytes);
        Ok(())
    }

    /// Waits for a client that reads slowly, or not at all.
    async fn send_rest(&mut self, mut rest: &[u8]) -> Result<(), End> {
        while !rest.is_empty() {
            wait_for_socket(&self.core, &self.stream, self.place.client(), rest.len()).await?;
            match self.stream.try_write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.place.client().note_waiting(0);
        Ok(())
    }
}

/// Lets the other ready connections of this worker run once. Unlike tokio's `yield_now` it does not look for new
/// ones in between, which would cost a system call.
async fn let_others_read() {
    let mut they_had_their_turn = false;
    poll_fn(|context| match std::mem::replace(&mut they_had_their_turn, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Waits until the socket takes more, unless so much waits that the client is cut off.
async fn wait_for_socket(
    core: &NodeCore,
    stream: &TcpStream,
    client: &Client,
    waiting: usize,
) -> Result<(), End> {
    let limit = core.config.output_limits().normal;
    let now = core.env.clock.boot();
    if let Verdict::Over = limit.judge(waiting as u64, None, now) {
        core.gauges.cut_for_output.fetch_add(1, Ordering::Relaxed);
        return Err(End::Cut);
    }
    client.note_waiting(waiting);
    Ok(stream.writable().await?)
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
