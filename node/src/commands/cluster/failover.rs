//! CLUSTER FAILOVER: asks the meta group for a failover to this replica.
//!
//! OK is said at once, as Redis does; the meta group decides, and the history tells what came of it. TAKEOVER is FORCE:
//! it gives up what this replica lacks, and waits for the primary's end like every promotion (I4).

use super::super::{Args, Ctx, Outcome};
use crate::cluster::admin::FailoverKind;
use crate::cluster::view::View;
use crate::core::Mode;
use crate::resp::Error;
use capstan_proto::ids::ShardId;

pub(super) fn run(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let kind = match args.len() {
        2 => FailoverKind::Planned,
        3 if args.is(2, "FORCE") || args.is(2, "TAKEOVER") => FailoverKind::Forced,
        _ => return Err(Error::Syntax),
    };
    let view = ctx.core.view_now();
    let shard = judge(&view, kind)?;
    let refused = |why: &dyn std::fmt::Display| Error::err(format!("CLUSTER FAILOVER failed: {why}"));
    if ctx.core.mode == Mode::Emulated {
        return Err(refused(&"this node belongs to no cluster"));
    }
    let Some(admin) = ctx.core.admin.get().cloned() else {
        return Err(refused(&"the node has not joined its cluster yet"));
    };
    let runtime = tokio::runtime::Handle::try_current().map_err(|error| refused(&error))?;
    runtime.spawn(async move {
        match admin.failover(shard, kind).await {
            Ok(()) => {
                tracing::info!(%shard, ?kind, "a client asked for a failover to this node: it has begun")
            }
            Err(error) => tracing::warn!(%shard, ?kind, %error, "a client asked for a failover to this node"),
        }
    });
    ctx.out.ok();
    Ok(())
}

/// The shard that this replica may take over, or Redis' words why not.
fn judge(view: &View, kind: FailoverKind) -> Result<ShardId, Error> {
    let shard = view.shard().filter(|shard| shard.primary != view.me());
    let shard = shard.ok_or_else(|| Error::err("You should send CLUSTER FAILOVER to a replica"))?;
    let primary =
        view.node(shard.primary).ok_or_else(|| Error::err("I'm a replica but my master is unknown to me"))?;
    let gone = primary.dead || primary.incarnation != shard.incarnation;
    match kind {
        FailoverKind::Planned if gone => {
            Err(Error::err("Master is down or failed, please use CLUSTER FAILOVER FORCE"))
        }
        FailoverKind::Planned | FailoverKind::Forced => Ok(shard.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::Standing;
    use crate::commands::desk::Desk;
    use capstan_proto::env::UnixMs;
    use capstan_proto::ids::NodeId;
    use capstan_proto::topology::{Addresses, Row, Topology};
    use std::sync::Arc;

    const PRIMARY: NodeId = NodeId([1; 20]);
    const REPLICA: NodeId = NodeId([2; 20]);

    /// Two nodes of one shard as one of them sees them.
    fn seen_by(me: NodeId, primary_is_dead: bool) -> View {
        let alone = View::alone(PRIMARY, Addresses::default(), UnixMs(0));
        let mut topology = Topology::clone(alone.topology());
        let mut primary = topology.nodes[&PRIMARY].clone();
        topology.set(Row::Node(capstan_proto::topology::NodeRow { id: REPLICA, ..primary.clone() }));
        let mut shard = topology.shards.values().next().expect("one").clone();
        shard.replicas.push(REPLICA);
        topology.set(Row::Shard(shard));
        primary.dead = primary_is_dead;
        topology.set(Row::Node(primary));
        View::new(Arc::new(topology), me, None, Standing::Live, UnixMs(0))
    }

    fn text(judged: Result<ShardId, Error>) -> String {
        judged.expect_err("refused").to_string()
    }

    #[test]
    fn a_replica_may_take_over_a_primary_is_told_to_ask_one() {
        let planned = FailoverKind::Planned;
        assert!(judge(&seen_by(REPLICA, false), planned).is_ok());
        let told = text(judge(&seen_by(PRIMARY, false), planned));
        assert_eq!(told, "ERR You should send CLUSTER FAILOVER to a replica");
    }

    #[test]
    fn a_primary_that_has_ended_can_only_be_taken_over_by_force() {
        let told = text(judge(&seen_by(REPLICA, true), FailoverKind::Planned));
        assert_eq!(told, "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE");
        assert!(judge(&seen_by(REPLICA, true), FailoverKind::Forced).is_ok());
    }

    #[test]
    fn a_node_alone_has_nobody_to_take_over_from_and_other_words_are_a_syntax_error() {
        let mut desk = Desk::new();
        for (words, told) in [
            ("cluster failover", "-ERR You should send CLUSTER FAILOVER to a replica"),
            ("cluster failover force", "-ERR You should send CLUSTER FAILOVER to a replica"),
            ("cluster failover now", "-ERR syntax error"),
            ("cluster failover force takeover", "-ERR syntax error"),
        ] {
            assert_eq!(desk.say(words), format!("{told}\\r\\n"), "{words}");
        }
    }
}
