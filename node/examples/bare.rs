//! A node without files, log or control path, for measuring the hot path: `bare PORT [WORKERS]`.
#![allow(clippy::print_stderr)]

use capstan_node::config::Config;
use capstan_node::core::NodeCore;
use capstan_proto::env::Env;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let port = args.next().and_then(|port| port.parse().ok()).unwrap_or(7999u16);
    let workers = args.next().and_then(|workers| workers.parse().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let core = NodeCore::new(Env::real(), Config::default());
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        eprintln!("listening on {port}");
        tokio::spawn(capstan_node::accept::clients(core, listener));
        std::future::pending().await
    })
}
