//! Meta servers in this process, each on a runtime of its own, so that one can be killed like a process: nothing of it
//! runs on, and its disk forgets what was not flushed.

use capstan_meta::founding::Peer;
use capstan_meta::server::{MetaConfig, MetaError, run};
use capstan_proto::auth::Secret;
use capstan_proto::env::{Env, MemDisk, Random, RealRandom};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How a server's life ended, once it has.
type Ended = Arc<Mutex<Option<Result<(), MetaError>>>>;

/// A server's folder and flags, and its present life.
pub(crate) struct Server {
    pub(crate) config: MetaConfig,
    pub(crate) env: Env,
    disk: Option<MemDisk>,
    life: Option<(Runtime, oneshot::Sender<()>)>,
    pub(crate) ended: Ended,
}

/// An address that nobody uses now, below the ports that connections take for themselves.
pub(crate) fn free_address() -> String {
    let random = RealRandom;
    loop {
        let port = 11_000 + random.u64() % 11_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

impl Server {
    /// On a disk in memory.
    pub(crate) fn in_memory(id: u64, address: &str, peers: &[Peer]) -> Self {
        let disk = MemDisk::new(Duration::from_micros(200));
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let mut server = Self::on(env, id, address, peers, PathBuf::from("/meta"));
        server.disk = Some(disk);
        server
    }

    /// On whatever the environment and the folder are.
    pub(crate) fn on(env: Env, id: u64, address: &str, peers: &[Peer], dir: PathBuf) -> Self {
        let config = MetaConfig {
            id,
            listen: address.to_owned(),
            announce: None,
            dir,
            peers: peers.to_vec(),
            joins: false,
            secret: Secret::from_text("a secret of the tests").expect("not empty"),
        };
        Self { config, env, disk: None, life: None, ended: Ended::default() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.config.listen
    }

    pub(crate) fn start(&mut self) {
        assert!(self.life.is_none(), "it runs already");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("threads");
        let (stop, stopped) = oneshot::channel();
        self.ended = Ended::default();
        let (env, config, ended) = (self.env.clone(), self.config.clone(), Arc::clone(&self.ended));
        runtime.spawn(async move {
            let stop = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let how = run(env, config, stop).await;
            *ended.lock().expect("nobody panics with it") = Some(how);
        });
        self.life = Some((runtime, stop));
    }

    /// Waits until it answers on its port.
    pub(crate) async fn listens(&self) {
        let deadline = self.env.clock.boot().after(Duration::from_secs(20));
        while tokio::net::TcpStream::connect(self.address()).await.is_err() {
            assert!(self.env.clock.boot() < deadline, "server {} does not listen", self.config.id);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// As if by SIGKILL and a power loss: returns when nothing of it runs any more.
    pub(crate) fn kill(&mut self) {
        let Some((runtime, stop)) = self.life.take() else { return };
        // A dropped sender means nothing to the server: it must not stop in good order.
        std::mem::forget(stop);
        let gone = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(20)));
        gone.join().expect("the runtime ends");
        if let Some(disk) = &self.disk {
            disk.lose_power();
        }
    }

    /// As if by SIGTERM: returns when it has ended, with how.
    pub(crate) async fn stop(&mut self) -> Result<(), MetaError> {
        let (runtime, stop) = self.life.take().expect("it runs");
        let _ = stop.send(());
        let how = self.end().await;
        runtime.shutdown_background();
        how
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn end(&self) -> Result<(), MetaError> {
        let deadline = self.env.clock.boot().after(Duration::from_secs(20));
        loop {
            if let Some(how) = self.ended.lock().expect("nobody panics with it").take() {
                return how;
            }
            assert!(self.env.clock.boot() < deadline, "server {} does not end", self.config.id);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its disk, if that is one in memory.
    pub(crate) fn memory(&self) -> Option<MemDisk> {
        self.disk.clone()
    }

    /// The folder is lost.
    pub(crate) fn lose_folder(&mut self) {
        assert!(self.life.is_none(), "kill it first");
        self.disk.as_ref().expect("a disk in memory").lose_folder(&self.config.dir);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The founders of a group of this size, on fresh addresses.
pub(crate) fn founders(count: u64) -> Vec<Peer> {
    (1..=count).map(|id| Peer { id, address: free_address() }).collect()
}

/// A group in memory, not started yet.
pub(crate) fn group_to_be(count: u64) -> Vec<Server> {
    let peers = founders(count);
    peers.iter().map(|peer| Server::in_memory(peer.id, &peer.address, &peers)).collect()
}

/// A group in memory, started.
pub(crate) fn group(count: u64) -> Vec<Server> {
    let mut servers = group_to_be(count);
    servers.iter_mut().for_each(Server::start);
    servers
}
