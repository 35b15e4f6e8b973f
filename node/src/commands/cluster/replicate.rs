//! CLUSTER REPLICATE: asks the meta group to make this node a replica of the shard that a node leads.
//!
//! OK is said once the change is committed and in force here; what the meta group refuses (a primary cannot leave its
//! shard) is said in its words.

use super::super::{Args, Ctx, Outcome};
use super::named;
use crate::cluster::view::View;
use crate::core::Mode;
use crate::resp::Error;
use crate::session::{Answer, Later};
use capstan_proto::ids::ShardId;

pub(super) fn run(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let shard = judge(&ctx.core.view_now(), args.at(2))?;
    let refused = |why: &dyn std::fmt::Display| Error::err(format!("CLUSTER REPLICATE failed: {why}"));
    if ctx.core.mode == Mode::Emulated {
        return Err(refused(&"this node belongs to no cluster"));
    }
    let Some(admin) = ctx.core.admin.get().cloned() else {
        return Err(refused(&"the node has not joined its cluster yet"));
    };
    ctx.session.later = Some(Later(Box::pin(async move {
        let answered = admin.replicate(shard).await;
        let answer: Answer = Box::new(move |out| match answered {
            Ok(()) => {
                out.ok();
                Ok(())
            }
            Err(error) => Err(Error::err(format!("CLUSTER REPLICATE failed: {error}"))),
        });
        answer
    })));
    Ok(())
}

/// The shard of the primary that was named, or Redis' words why not.
fn judge(view: &View, id: &[u8]) -> Result<ShardId, Error> {
    let row = named(view, id)?;
    if row.id == view.me() {
        return Err(Error::err("Can't replicate myself"));
    }
    let shard = view.shard_of(row).filter(|shard| shard.primary == row.id);
    shard.map(|shard| shard.id).ok_or_else(|| Error::err("I can only replicate a master, not a replica."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::tests::{cluster, node, seen_by};

    #[test]
    fn only_another_node_that_is_a_primary_can_be_replicated() {
        let view = seen_by(4, cluster());
        let judged = |byte| judge(&view, node(byte).to_string().as_bytes());
        let told = |byte| judged(byte).expect_err("refused").to_string();
        assert!(judged(2).is_ok());
        assert_eq!(told(4), "ERR Can't replicate myself");
        assert!(told(9).starts_with("ERR Unknown node "), "{}", told(9));
        let view = seen_by(1, cluster());
        let of_a_replica = judge(&view, node(4).to_string().as_bytes()).expect_err("refused");
        assert_eq!(of_a_replica.to_string(), "ERR I can only replicate a master, not a replica.");
    }
}
