//! LCS: what two strings have in common.

use super::lcs as table;
use crate::commands::limits::value_bytes_max;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: i64,
}

impl Options {
    fn read(args: Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut i = 3;
        while i < args.len() {
            if args.is(i, "IDX") {
                options.idx = true;
            } else if args.is(i, "LEN") {
                options.len = true;
            } else if args.is(i, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if args.is(i, "MINMATCHLEN") && i + 1 < args.len() {
                i += 1;
                options.min_match_len = args.int(i)?;
            } else {
                return Err(Error::Syntax);
            }
            i += 1;
        }
        if options.idx && options.len {
            return Err(Error::err("If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]`
pub(super) fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let value = |entry: Option<&crate::store::Entry>| match typed::text(entry) {
        Ok(text) => Ok(text.unwrap_or_default().to_vec()),
        Err(_) => Err(Error::err("The specified keys must contain string values")),
    };
    let a = value(ctx.data.read(args.key(0)))?;
    let b = value(ctx.data.read(args.key(1)))?;
    let options = Options::read(args)?;
    if table::table_size(a.len(), b.len()) as u64 > value_bytes_max(ctx.core) {
        return Err(Error::err("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    if options.len {
        ctx.out.count(table::length(&a, &b));
        return Ok(());
    }
    let common = table::common(&a, &b);
    if !options.idx {
        ctx.out.bulk(&common.bytes);
        return Ok(());
    }
    let long_enough = |m: &&table::Match| m.bytes() as i64 >= options.min_match_len;
    let shown: Vec<_> = common.matches.iter().filter(long_enough).collect();
    ctx.out.map(2);
    ctx.out.bulk(b"matches");
    ctx.out.array(shown.len());
    for m in shown {
        ctx.out.array(if options.with_match_len { 3 } else { 2 });
        for (first, last) in [m.a, m.b] {
            ctx.out.array(2);
            ctx.out.count(first);
            ctx.out.count(last);
        }
        if options.with_match_len {
            ctx.out.count(m.bytes());
        }
    }
    ctx.out.bulk(b"len");
    ctx.out.count(common.bytes.len());
    Ok(())
}
