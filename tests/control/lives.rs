//! Registrations that arrive late, over the real RPC, while the present life serves.

use super::harness::{Metas, Node, until};
use capstan_proto::ids::{Incarnation, SpawnToken};
use capstan_proto::rpc::v1;
use capstan_proto::topology::NodeRow;

/// The registration of a life, as its process sent it from its folder.
fn registration(row: &NodeRow, token: SpawnToken, last: Option<&Incarnation>) -> v1::RegisterRequest {
    v1::RegisterRequest {
        node: row.id.0.to_vec().into(),
        token: token.0.to_vec().into(),
        place: Some((&row.place).into()),
        addresses: Some((&row.addresses).into()),
        software: row.software.clone(),
        group: Vec::new().into(),
        last: last.map(Into::into),
    }
}

/// ►13 Its process held the folder's lock when it sent this, and that proves nothing any more: another life holds it now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_arrives_after_the_next_life_has_registered_changes_nothing() {
    let (metas, dir) = (Metas::start(1), tempfile::tempdir().expect("a temporary folder"));
    let folder = dir.path().join("node");
    let first = Node::start(&metas, folder.clone());
    let id = first.registered().await;
    metas.give_all_slots(id).await;
    until("the first life serves", || first.serves() && first.owns(0)).await;
    let old = first.core.topology.load().nodes[&id].clone();
    first.stop().await;
    let second = Node::start(&metas, folder);
    second.registered().await;
    until("the second life serves", || second.serves() && second.owns(0)).await;
    let before = second.core.topology.load().clone();
    assert!(before.nodes[&id].incarnation.counter > old.incarnation.counter);
    let decided = metas.history().await.len();

    for late in [
        // The first life's own request, sent again.
        registration(&old, old.incarnation.token, None),
        // That of a life between the two, which knew the first and died before it was heard.
        registration(&old, SpawnToken([0xaa; 16]), Some(&old.incarnation)),
        // That of one which never heard of any.
        registration(&old, SpawnToken([0xbb; 16]), None),
    ] {
        let reply = metas.register(&late).await;
        assert_eq!(reply.rejected_code, "STALEINCARNATION", "{reply:?}");
        let present = reply.current.map(|life| Incarnation::try_from(life).expect("a life"));
        assert_eq!(present, Some(before.nodes[&id].incarnation), "it is told who lives");
        assert!(!metas.dead(id, SpawnToken::from_slice(&late.token).expect("a token")).await.known);
    }
    // Whatever they had done would be seen before this.
    metas.set("cluster-require-full-coverage", "no").await;
    until("the node sees what came after", || !second.core.topology.load().settings.is_empty()).await;
    let after = second.core.topology.load();
    assert_eq!((&after.nodes, &after.shards), (&before.nodes, &before.shards));
    assert!(second.serves() && second.owns(0));
    let history = metas.history().await;
    assert_eq!(history.len(), decided + 1, "{history:#?}");
    second.stop().await;
}
