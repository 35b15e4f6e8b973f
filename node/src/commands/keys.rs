//! Keys of any type.

use super::{Arg, Args, Ctx, Flags, Group, Keys, Outcome, Spec};
use crate::store::Change;

/// The family.
pub static ROWS: &[Spec] = &[Spec {
    name: "del",
    arity: -2,
    flags: Flags::WRITE,
    keys: Keys::ALL,
    group: Group::Generic,
    complexity: "O(N) where N is the number of keys that will be removed.",
    summary: "Deletes one or more keys.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: del,
    ..Spec::DEFAULT
}];

fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let mut deleted = 0;
    for key in args.keys() {
        if ctx.data.peek(key).is_some() {
            ctx.data.apply(key, Change::Delete);
            deleted += 1;
        }
    }
    ctx.out.int(deleted);
    Ok(())
}
