//! What a meta server refuses to start with, and how it says so.

use crate::asker::Asker;
use crate::servers::{Server, founders, free_address, group};
use capstan_meta::founding::Peer;
use capstan_meta::server::MetaError;
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;

async fn refused(mut server: Server) -> MetaError {
    server.start();
    server.end().await.expect_err("it must not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_only_loopback_is_listened_on() {
    for listen in ["0.0.0.0:0", "192.0.2.1:7050", "[::]:0", "example.org:7050"] {
        let mut server = Server::in_memory(1, listen, &[]);
        server.config.secret = Secret::NONE;
        let error = refused(server).await;
        assert!(
            matches!(error, MetaError::Open(_)) && error.to_string().contains("--secret-file"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = || Server::on(Env::real(), 1, &free_address(), &[], dir.path().to_owned());
    let mut first = server();
    first.start();
    Asker::of(std::slice::from_ref(&first)).leader().await;
    let error = refused(server()).await;
    assert!(matches!(error, MetaError::InUse(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_founders_without_this_server_or_with_doubles_is_refused() {
    let peer = |id, address: &str| Peer { id, address: address.to_owned() };
    let here = free_address();
    for peers in [
        vec![peer(2, &here), peer(3, "127.0.0.1:1")],
        vec![peer(1, "127.0.0.1:1"), peer(2, "127.0.0.1:2")],
        vec![peer(1, &here), peer(1, "127.0.0.1:2")],
        vec![peer(1, &here), peer(2, &here)],
    ] {
        let error = refused(Server::in_memory(1, &here, &peers)).await;
        assert!(matches!(error, MetaError::Config(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_founded_while_a_founder_is_silent_or_was_told_of_other_founders() {
    let peers = founders(3);
    let mut servers: Vec<Server> =
        peers.iter().map(|peer| Server::in_memory(peer.id, &peer.address, &peers)).collect();
    servers[2].config.peers = vec![peers[2].clone(), Peer { id: 9, address: free_address() }];
    servers.iter_mut().for_each(Server::start);
    let mut asker = Asker::of(&servers);
    let within = std::time::Duration::from_secs(2);
    let asked = asker.members_within(within).await;
    assert!(asked.expect_err("no group").message().contains("not in a group yet"));
    servers[2].kill();
    servers[2].config.peers = peers;
    servers[2].start();
    assert_ne!(asker.leader().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_another_secret_is_told_nothing() {
    let servers = group(1);
    Asker::of(&servers).leader().await;
    let stranger = Secret::from_text("another").expect("not empty");
    let channel = capstan_proto::rpc::transport::channel(&Env::real(), &stranger, servers[0].address());
    let mut admin = capstan_proto::rpc::v1::admin_client::AdminClient::new(channel.expect("an address"));
    let request = capstan_proto::rpc::v1::StateRequest { linearizable: false };
    assert!(admin.state(request).await.is_err());
}
