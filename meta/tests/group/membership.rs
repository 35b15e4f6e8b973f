//! Servers added, removed and replaced while the group works on.

use crate::asker::{Answer, Asker};
use crate::servers::{Server, free_address, group};
use capstan_meta::server::MetaError;
use capstan_proto::rpc::v1::change_members_request::Change;
use capstan_proto::rpc::v1::{Member, ReplaceMember};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn newcomer(id: u64) -> Server {
    let mut server = Server::in_memory(id, &free_address(), &[]);
    server.config.joins = true;
    server
}

fn add(id: u64, server: &Server) -> Change {
    Change::Add(Member { id, address: server.address().to_owned(), ..Member::default() })
}

fn replace(old: u64, id: u64, server: &Server) -> Change {
    let fresh = Some(Member { id, address: server.address().to_owned(), ..Member::default() });
    Change::Replace(ReplaceMember { old, fresh })
}

async fn done(asker: &mut Asker) {
    let id = asker.fresh_id();
    assert_eq!(asker.set(id, "1000", SOON).await, Answer::Done { repeated: false });
}

async fn voters(asker: &mut Asker) -> Vec<u64> {
    let members = asker.members().await.expect("a group");
    members.members.into_iter().filter(|member| member.voter).map(|member| member.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_grows_from_one_to_three_and_survives_its_founder() {
    let mut servers = group(1);
    let mut asker = Asker::of(&servers);
    for _ in 0..1200 {
        done(&mut asker).await;
    }
    for id in [2, 3] {
        let mut server = newcomer(id);
        server.start();
        server.listens().await;
        let reply = asker.change(add(id, &server)).await.expect("it is taken in");
        assert!(reply.members.iter().any(|member| member.id == id && member.voter));
        // Asked again it is done already.
        asker.change(add(id, &server)).await.expect("nothing is left to do");
        asker.knows(server.address());
        servers.push(server);
    }
    assert_eq!(voters(&mut asker).await, [1, 2, 3]);
    let before = asker.done_by().await;
    servers[0].kill();
    done(&mut asker).await;
    let after = asker.done_by().await;
    assert!(
        before.keys().all(|author| after.contains_key(author)),
        "a newcomer lacks what was there before it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_ends_and_says_so_and_its_number_is_not_given_again() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    let leader = asker.leader().await;
    // The leader too can be removed: it hands the change to its own successor.
    for gone in [if leader == 1 { 2 } else { 1 }, leader] {
        asker.change(Change::Remove(gone)).await.expect("it is removed");
        let server = servers.iter().find(|server| server.config.id == gone).expect("it was there");
        let how = server.end().await.expect_err("it has nothing to serve any more");
        assert!(matches!(how, MetaError::Removed), "{how}");
        done(&mut asker).await;
    }
    let left = voters(&mut asker).await;
    assert_eq!(left.len(), 1, "{left:?}");
    let refused = asker.change(Change::Remove(left[0])).await.expect_err("the last one stays");
    assert!(refused.message().contains("last meta server"), "{refused}");
    let mut server = newcomer(1);
    server.start();
    server.listens().await;
    let refused = asker.change(add(leader, &server)).await.expect_err("that number was used");
    assert!(refused.message().contains("used before"), "{refused}");
    asker.change(add(0, &server)).await.expect("it gets a number of its own");
    assert!(voters(&mut asker).await.contains(&4));
    servers.push(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_folder_takes_no_part_until_it_replaces_itself_under_a_new_number() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    done(&mut asker).await;
    let leader = asker.leader().await;
    let lost = if leader == 3 { 2 } else { 3 };
    let server = servers.iter_mut().find(|server| server.config.id == lost).expect("it was there");
    server.kill();
    server.lose_folder();
    server.start();
    done(&mut asker).await;
    let members = asker.members().await.expect("a group");
    let row = members.members.iter().find(|member| member.id == lost).expect("it is still a member");
    assert!(!row.reachable, "an empty folder is taken for the lost one");
    let server = servers.iter().find(|server| server.config.id == lost).expect("it was there");
    let refused = asker.change(replace(lost, lost, server)).await.expect_err("a number is given once");
    assert!(refused.message().contains("used before"), "{refused}");
    asker.change(replace(lost, 4, server)).await.expect("it is taken in under a new number");
    let left = voters(&mut asker).await;
    assert!(left.contains(&4) && !left.contains(&lost) && left.len() == 3, "{left:?}");
    asker.change(replace(lost, 4, server)).await.expect("asked again it is done already");
    // The newcomer counts: with another one gone there is still a quorum.
    let other = (1..=3).find(|id| *id != lost && *id != leader).expect("one is left");
    servers.iter_mut().find(|server| server.config.id == other).expect("it was there").kill();
    done(&mut asker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_would_leave_no_quorum_or_name_nobody_are_refused() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    let leader = asker.leader().await;
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    servers.iter_mut().find(|server| server.config.id == followers[0]).expect("it was there").kill();
    let refused =
        asker.change(Change::Remove(followers[1])).await.expect_err("a dead and a living would be left");
    assert!(refused.message().contains("no majority"), "{refused}");
    for (change, why) in [
        (Change::Remove(77), "no meta server 77"),
        (
            Change::Add(Member { id: 9, address: free_address(), ..Member::default() }),
            "no meta server answers",
        ),
        (replace(77, 9, &servers[0]), "no meta server 77"),
    ] {
        let refused = asker.change(change).await.expect_err("it makes no sense");
        assert!(refused.message().contains(why), "{refused}");
    }
    asker.change(Change::Remove(followers[0])).await.expect("the dead one can go");
    done(&mut asker).await;
}
