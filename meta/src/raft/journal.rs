//! Who writes to the store: one thread for a store that blocks, the caller itself for one that does not.
//!
//! The order of writes is the order of calls, and one flush serves every write that waited for it. A store that has
//! failed once has failed for good: nothing is written after a write that is missing.

use capstan_proto::env::{Op, Pace, Store};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Writes that wait for the thread. openraft waits for each of its writes, so this is never reached in practice.
const QUEUE: usize = 64;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It can be read.
    Visible,
    /// It is on the medium.
    Durable,
}

type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

pub(super) struct Job {
    ops: Vec<Op>,
    visible: Option<oneshot::Sender<io::Result<()>>>,
    durable: Option<Done>,
}

/// The one way to the store after it is opened.
#[derive(Clone)]
pub(super) enum Journal {
    Thread(mpsc::Sender<Job>),
    Inline(Arc<dyn Store>, Duration),
}

fn stopped() -> io::Error {
    io::Error::other("the store's writer has stopped")
}

impl Journal {
    /// Takes over a store. The thread, if there is one, ends with the last clone of this.
    pub(super) fn start(store: Arc<dyn Store>) -> io::Result<Self> {
        match store.pace() {
            Pace::Inline(flush_takes) => Ok(Self::Inline(store, flush_takes)),
            Pace::Blocking => {
                let (jobs, queue) = mpsc::channel(QUEUE);
                let thread = std::thread::Builder::new().name("meta-journal".to_owned());
                thread.spawn(move || work(&*store, queue))?;
                Ok(Self::Thread(jobs))
            }
        }
    }

    /// Writes all or none, and returns when it is done as asked.
    pub(super) async fn write(&self, ops: Vec<Op>, until: Until) -> io::Result<()> {
        match self {
            Self::Inline(store, flush_takes) => {
                store.write(ops)?;
                match until {
                    Until::Visible => Ok(()),
                    Until::Durable => flush(&**store, *flush_takes).await,
                }
            }
            Self::Thread(jobs) => {
                let (tx, rx) = oneshot::channel();
                let job = match until {
                    Until::Visible => Job { ops, visible: Some(tx), durable: None },
                    Until::Durable => {
                        let done: Done = Box::new(move |result| drop(tx.send(result)));
                        Job { ops, visible: None, durable: Some(done) }
                    }
                };
                jobs.send(job).await.map_err(|_| stopped())?;
                rx.await.map_err(|_| stopped())?
            }
        }
    }

    /// Writes all or none, returns when it can be read, and calls back when it is durable.
    pub(super) async fn append(
        &self,
        ops: Vec<Op>,
        durable: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        match self {
            Self::Inline(store, flush_takes) => {
                store.write(ops)?;
                durable(flush(&**store, *flush_takes).await);
                Ok(())
            }
            Self::Thread(jobs) => {
                let (tx, rx) = oneshot::channel();
                let job = Job { ops, visible: Some(tx), durable: Some(Box::new(durable)) };
                jobs.send(job).await.map_err(|_| stopped())?;
                rx.await.map_err(|_| stopped())?
            }
        }
    }
}

async fn flush(store: &dyn Store, takes: Duration) -> io::Result<()> {
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
    store.flush()
}

fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn work(store: &dyn Store, mut queue: mpsc::Receiver<Job>) {
    let mut failed: Option<io::Error> = None;
    let mut waiting: Vec<Done> = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let mut next = Some(first);
        while let Some(job) = next {
            let result = match &failed {
                Some(error) => Err(again(error)),
                None => store.write(job.ops),
            };
            if let (Err(error), None) = (&result, &failed) {
                failed = Some(again(error));
            }
            waiting.extend(job.durable);
            if let Some(visible) = job.visible {
                // The caller may have been cancelled; its write stands.
                let _ = visible.send(result);
            }
            next = queue.try_recv().ok();
        }
        if waiting.is_empty() {
            continue;
        }
        if failed.is_none() {
            failed = store.flush().err();
        }
        for done in waiting.drain(..) {
            done(failed.as_ref().map_or(Ok(()), |error| Err(again(error))));
        }
    }
}
