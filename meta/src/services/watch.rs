//! The Watch service: the rows of the cluster state, first what the watcher lacks, then every change.
//!
//! Any member serves it. A watcher that is slower than the changes, or whose server got a snapshot, is sent away with
//! `data_loss` and starts again from the version it has. Nothing is buffered without a bound.

use crate::host::Host;
use crate::raft::{Change, MetaRaft, Start};
use capstan_proto::ids::Version;
use capstan_proto::rpc::v1;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Watchers at a time: every data node has one, and some people do.
const WATCHERS_MAX: usize = 8192;
/// Events on their way to one watcher.
const ON_THE_WAY: usize = 16;
/// A watcher that takes nothing for so long is sent away.
const SLOW_LIMIT: Duration = Duration::from_secs(20);
/// How long a server that is behind its watcher tries to catch up.
const BEHIND_LIMIT: Duration = Duration::from_secs(3);
const BEHIND_LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct WatchService {
    host: Arc<Host>,
    places: Arc<Semaphore>,
}

impl WatchService {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, places: Arc::new(Semaphore::new(WATCHERS_MAX)) }
    }
}

type Events = mpsc::Sender<Result<v1::WatchEvent, Status>>;

#[tonic::async_trait]
impl v1::watch_server::Watch for WatchService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let from =
            request.into_inner().from.map(|from| Version { generation: from.generation, index: from.index });
        let raft = self.host.in_group()?.raft.clone();
        let full = |_| Status::resource_exhausted(format!("{WATCHERS_MAX} watchers are served already"));
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        let (events, stream) = mpsc::channel(ON_THE_WAY);
        let mut stopping = self.host.stopping();
        tokio::spawn(async move {
            let served = serve(&raft, from, &events, place);
            let stops = async { drop(stopping.wait_for(|stopping| *stopping).await) };
            tokio::select! {
                biased;
                gone = served => if let Some(status) = gone {
                    let _ = tokio::time::timeout(SLOW_LIMIT, events.send(Err(status))).await;
                },
                () = stops => {
                    let _ = events.try_send(Err(Status::unavailable("this meta server is stopping")));
                }
                () = events.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

fn event(change: &Change, whole: bool) -> v1::WatchEvent {
    v1::WatchEvent {
        version: Some((&change.version).into()),
        whole,
        rows: change.rows.iter().map(Into::into).collect(),
    }
}

async fn send(events: &Events, event: v1::WatchEvent) -> Result<(), Status> {
    match tokio::time::timeout(SLOW_LIMIT, events.send(Ok(event))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Status::cancelled("the watcher has gone")),
        Err(_) => Err(Status::data_loss("the watcher is too slow: start again")),
    }
}

/// Serves one watcher until it ends; the status says why.
async fn serve(
    raft: &MetaRaft,
    from: Option<Version>,
    events: &Events,
    _place: OwnedSemaphorePermit,
) -> Option<Status> {
    watch_from(raft, from, events).await.err()
}

async fn watch_from(raft: &MetaRaft, from: Option<Version>, events: &Events) -> Result<(), Status> {
    let mut waited = Duration::ZERO;
    let mut follow = loop {
        let follow = raft.follow(from);
        let Start::Behind(version) = follow.start else { break follow };
        if waited >= BEHIND_LIMIT {
            return Err(Status::unavailable(format!(
                "this meta server is at version {version}: ask another"
            )));
        }
        tokio::time::sleep(BEHIND_LOOK_EVERY).await;
        waited += BEHIND_LOOK_EVERY;
    };
    match &follow.start {
        Start::Whole(whole) => send(events, event(whole, true)).await?,
        Start::Since(missed) => {
            for change in missed {
                send(events, event(change, false)).await?;
            }
        }
        Start::Behind(_) => {}
    }
    loop {
        match follow.live.recv().await {
            Ok(change) => send(events, event(&change, false)).await?,
            Err(RecvError::Lagged(_)) => {
                return Err(Status::data_loss("the watcher fell behind: start again"));
            }
            Err(RecvError::Closed) => return Err(Status::data_loss("this server jumped ahead: start again")),
        }
    }
}
