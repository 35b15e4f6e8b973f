//! ZADD in all its forms, ZINCRBY.

use super::score;
use crate::commands::args::Key;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::object::Score;
use crate::store::{Change, Data};

/// Which members ZADD may touch, and what it answers.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    counts_changed: bool,
    increments: bool,
}

impl Options {
    /// Reads the options and says where the scores begin.
    fn read(args: Args<'_>) -> (Self, usize) {
        let mut options = Self::default();
        let mut i = 2;
        while i < args.len() {
            let flag = if args.is(i, "NX") {
                &mut options.only_new
            } else if args.is(i, "XX") {
                &mut options.only_present
            } else if args.is(i, "CH") {
                &mut options.counts_changed
            } else if args.is(i, "INCR") {
                &mut options.increments
            } else if args.is(i, "GT") {
                &mut options.only_greater
            } else if args.is(i, "LT") {
                &mut options.only_less
            } else {
                break;
            };
            *flag = true;
            i += 1;
        }
        (options, i)
    }

    fn check(self, elements: usize) -> Outcome {
        let Self { only_new, only_present, only_greater, only_less, .. } = self;
        if only_new && only_present {
            return Err(Error::err("XX and NX options at the same time are not compatible"));
        }
        if (only_new && (only_greater || only_less)) || (only_greater && only_less) {
            return Err(Error::err("GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.increments && elements > 1 {
            return Err(Error::err("INCR option supports a single increment-element pair"));
        }
        Ok(())
    }
}

/// What became of one member.
enum Added {
    /// Nothing: the options forbid it, or the score is what it was.
    Nothing(Option<Score>),
    New(Score),
    Updated(Score),
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]`
pub(super) fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (options, from) = Options::read(args);
    let rest = args.len() - from;
    if rest == 0 || !rest.is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    options.check(rest / 2)?;
    add(ctx, args, from, options)
}

/// `ZINCRBY key increment member`
pub(super) fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args, 2, Options { increments: true, ..Options::default() })
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, from: usize, options: Options) -> Outcome {
    let scores = (from..args.len()).step_by(2).map(|i| score(args.at(i))).collect::<Result<Vec<_>, _>>()?;
    let key = args.key(0);
    typed::zset(ctx.data.peek(key))?;
    let (mut new, mut updated, mut last) = (0, 0, None);
    for (i, score) in scores.into_iter().enumerate() {
        last = match add_one(&mut ctx.data, key, (args.at(from + 2 * i + 1), score), options)? {
            Added::Nothing(score) => score,
            Added::New(score) => {
                new += 1;
                Some(score)
            }
            Added::Updated(score) => {
                updated += 1;
                Some(score)
            }
        };
    }
    match (options.increments, last) {
        (true, Some(score)) => ctx.out.double(score.value()),
        (true, None) => ctx.out.null(),
        (false, _) => ctx.out.int(if options.counts_changed { new + updated } else { new }),
    }
    Ok(())
}

fn add_one(
    data: &mut Data<'_>,
    key: Key<'_>,
    (member, given): (&[u8], Score),
    options: Options,
) -> Result<Added, Error> {
    let Some(old) = typed::zset(data.peek(key))?.and_then(|zset| zset.score(member)) else {
        if options.only_present {
            return Ok(Added::Nothing(None));
        }
        data.apply(key, Change::ZsetSet { member, score: given });
        return Ok(Added::New(given));
    };
    if options.only_new {
        return Ok(Added::Nothing(None));
    }
    let new = if options.increments {
        let sum = Score::new(old.value() + given.value());
        sum.ok_or_else(|| Error::err("resulting score is not a number (NaN)"))?
    } else {
        given
    };
    if (options.only_less && new >= old) || (options.only_greater && new <= old) {
        return Ok(Added::Nothing(None));
    }
    if new == old {
        return Ok(Added::Nothing(Some(new)));
    }
    data.apply(key, Change::ZsetSet { member, score: new });
    Ok(Added::Updated(new))
}
