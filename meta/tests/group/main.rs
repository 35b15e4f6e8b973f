//! A group of meta servers over real loopback: what it promises while its servers come and go.

mod asker;
mod cut;
mod faults;
mod membership;
mod refusals;
mod servers;

use asker::{Answer, Asker};
use servers::{Server, founders, group};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_found_one_group_and_a_follower_names_the_leader() {
    let servers = group(3);
    let mut asker = Asker::of(&servers);
    let leader = asker.leader().await;
    let state = asker.state().await;
    assert!(
        state.rows.iter().any(|row| matches!(row.row, Some(capstan_proto::rpc::v1::row::Row::Cluster(_))))
    );
    let follower = servers.iter().find(|server| server.config.id != leader).expect("two followers");
    let request = capstan_proto::rpc::v1::StateRequest { linearizable: true };
    let status = asker.admin(follower.address()).state(request).await.expect_err("it does not lead");
    let address = servers.iter().find(|server| server.config.id == leader).expect("one leads").address();
    assert_eq!(capstan_proto::rpc::redirect::leader(&status), Some(address));
    let members = asker.members().await.expect("a group");
    assert!(members.quorum && members.members.iter().all(|member| member.voter && member.reachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_done_once_and_answered_again() {
    let servers = group(3);
    let mut asker = Asker::of(&servers);
    let (good, bad) = (asker.fresh_id(), asker.fresh_id());
    assert_eq!(asker.set(good, "1000", SOON).await, Answer::Done { repeated: false });
    assert_eq!(asker.set(good, "1000", SOON).await, Answer::Done { repeated: true });
    assert_eq!(asker.set(good, "2000", SOON).await, Answer::Rejected("REQUESTIDREUSED".into()));
    let first = asker.set(bad, "not a number", SOON).await;
    assert!(matches!(first, Answer::Rejected(_)), "{first:?}");
    assert_eq!(asker.set(bad, "not a number", SOON).await, first);
    // Together, so that they share an entry of the log.
    let many: Vec<_> = (0..40).map(|_| asker.fresh_id()).collect();
    for round in [false, true] {
        let tasks = many.iter().map(|id| {
            let (id, mut asker) = (*id, Asker::of(&servers));
            tokio::spawn(async move { asker.set(id, "3000", SOON).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.expect("no panic"), Answer::Done { repeated: round });
        }
    }
    let done = asker.done_by().await;
    assert_eq!(done.get(&good.to_string()), Some(&1));
    assert_eq!(done.get(&bad.to_string()), None);
    assert!(many.iter().all(|id| done.get(&id.to_string()) == Some(&1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_group_on_sled_restarts_complete_after_a_stop() {
    let peers = founders(3);
    let dirs: Vec<_> = peers.iter().map(|_| tempfile::tempdir().expect("a folder")).collect();
    let env = capstan_proto::env::Env::real();
    let make = |(peer, dir): (&capstan_meta::founding::Peer, &tempfile::TempDir)| {
        Server::on(env.clone(), peer.id, &peer.address, &peers, dir.path().to_owned())
    };
    let mut servers: Vec<Server> = peers.iter().zip(&dirs).map(make).collect();
    let mut ids = Vec::new();
    for _life in 0..3 {
        servers.iter_mut().for_each(Server::start);
        let mut asker = Asker::of(&servers);
        for n in 0..400 {
            let id = asker.fresh_id();
            assert_eq!(asker.set(id, &(1000 + n).to_string(), SOON).await, Answer::Done { repeated: false });
            ids.push(id);
        }
        let done = asker.done_by().await;
        assert!(ids.iter().all(|id| done.get(&id.to_string()) == Some(&1)));
        for server in &mut servers {
            server.stop().await.expect("a stop in good order");
        }
    }
    servers.iter_mut().for_each(Server::start);
    let mut asker = Asker::of(&servers);
    assert_eq!(asker.set(ids[0], "1000", SOON).await, Answer::Done { repeated: true });
    // 1200 commands are more than one snapshot holds back: the logs were compacted.
    let done = asker.done_by().await;
    assert!(ids.iter().all(|id| done.get(&id.to_string()) == Some(&1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_founds_itself_and_comes_back() {
    let mut servers = group(1);
    let mut asker = Asker::of(&servers);
    let id = asker.fresh_id();
    assert_eq!(asker.set(id, "1000", SOON).await, Answer::Done { repeated: false });
    servers[0].kill();
    servers[0].start();
    assert_eq!(asker.set(id, "1000", SOON).await, Answer::Done { repeated: true });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_before_an_election_timeout_could_pass() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    for _ in 0..3 {
        let leader = asker.leader().await;
        let stopping = servers.iter_mut().find(|server| server.config.id == leader).expect("one leads");
        stopping.stop().await.expect("a stop in good order");
        let begun = asker.env.clock.boot();
        let id = asker.fresh_id();
        assert_eq!(asker.set(id, "1000", SOON).await, Answer::Done { repeated: false });
        let took = asker.env.clock.boot().since(begun);
        // A follower waits 850 ms at least before it campaigns by itself (CRATES 1.3.2).
        assert!(took < Duration::from_millis(700), "no successor for {took:?} after the stop");
        assert_ne!(asker.leader().await, leader);
        let stopped = servers.iter_mut().find(|server| server.config.id == leader).expect("it was there");
        stopped.start();
    }
}
