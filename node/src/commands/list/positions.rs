//! LPOS: where in a list an element is.

use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;

/// What LPOS was asked for.
struct Options {
    /// Which match is the first to be shown; negative: counted from the tail.
    rank: i64,
    /// How many to show: 0 is all, none is one that is not in an array.
    count: Option<usize>,
    /// How many elements to look at; 0 is all.
    looks: usize,
}

impl Options {
    fn read(args: Args<'_>) -> Result<Self, Error> {
        let mut options = Self { rank: 1, count: None, looks: 0 };
        for i in (3..args.len()).step_by(2) {
            if i + 1 == args.len() {
                return Err(Error::Syntax);
            } else if args.is(i, "RANK") {
                options.rank = args.int_between(i + 1, -i64::MAX, i64::MAX)?;
                if options.rank == 0 {
                    return Err(Error::err(
                        "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
            } else if args.is(i, "COUNT") {
                options.count = Some(args.int_from(i + 1, 0, "COUNT can't be negative")? as usize);
            } else if args.is(i, "MAXLEN") {
                options.looks = args.int_from(i + 1, 0, "MAXLEN can't be negative")? as usize;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// `LPOS key element [RANK rank] [COUNT matches] [MAXLEN len]`
pub(super) fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let options = Options::read(args)?;
    let element = args.at(2);
    let list = typed::list(ctx.data.read(args.key(0)))?;
    let len = list.map_or(0, |list| list.len());
    let looks = if options.looks == 0 { usize::MAX } else { options.looks };
    let skip = usize::try_from(options.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let most = match options.count {
        Some(0) => usize::MAX,
        Some(count) => count,
        None => 1,
    };
    let matching = |(at, there): (usize, &[u8])| (there == element).then_some(at);
    let all = list.into_iter().flat_map(|list| list.iter_from(0));
    let found: Vec<usize> = if options.rank > 0 {
        all.enumerate().take(looks).filter_map(matching).skip(skip).take(most).collect()
    } else {
        let from_end = list.into_iter().flat_map(|list| list.iter_from(0).rev());
        let counted = from_end.enumerate().map(|(i, there)| (len - 1 - i, there));
        counted.take(looks).filter_map(matching).skip(skip).take(most).collect()
    };
    match (options.count, found.first()) {
        (None, Some(at)) => ctx.out.count(*at),
        (None, None) => ctx.out.null(),
        (Some(_), _) => {
            ctx.out.array(found.len());
            found.into_iter().for_each(|at| ctx.out.count(at));
        }
    }
    Ok(())
}
