//! Ranges: ZRANGE in all its forms, the older commands that are one of them each, ZRANGESTORE.

use super::bounds::{ByLex, ByScore};
use super::{Shown, begin, element, replace};
use crate::commands::list::between;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::object::{Score, Zset};

/// What the two ends of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// From low to high, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Reverse,
}

/// What a command's name says already; `None` is left to its options.
#[derive(Debug, Clone, Copy)]
struct Fixed {
    by: Option<By>,
    direction: Option<Direction>,
    /// It stores its result: the key and the ends stand one argument later, and scores are never shown.
    stores: bool,
}

/// What a range command was asked for.
#[derive(Debug)]
struct Asked<'a> {
    by: By,
    direction: Direction,
    shown: Shown,
    offset: i64,
    limit: i64,
    ends: Ends<'a>,
}

#[derive(Debug)]
enum Ends<'a> {
    Ranks(i64, i64),
    Scores(ByScore),
    Members(ByLex<'a>),
}

/// The options, before defaults.
#[derive(Debug)]
struct Options {
    by: Option<By>,
    direction: Option<Direction>,
    shown: Shown,
    offset: i64,
    limit: i64,
}

impl Options {
    fn read(args: Args<'_>, from: usize, fixed: Fixed) -> Result<Self, Error> {
        let Fixed { by, direction, stores } = fixed;
        let mut options = Self { by, direction, shown: Shown::Members, offset: 0, limit: -1 };
        let mut i = from;
        while i < args.len() {
            if !stores && args.is(i, "WITHSCORES") {
                options.shown = Shown::Scores;
            } else if args.is(i, "LIMIT") && i + 2 < args.len() {
                (options.offset, options.limit) = (args.int(i + 1)?, args.int(i + 2)?);
                i += 2;
            } else if options.direction.is_none() && args.is(i, "REV") {
                options.direction = Some(Direction::Reverse);
            } else if options.by.is_none() && args.is(i, "BYLEX") {
                options.by = Some(By::Lex);
            } else if options.by.is_none() && args.is(i, "BYSCORE") {
                options.by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }
}

impl<'a> Asked<'a> {
    fn read(args: Args<'a>, fixed: Fixed) -> Result<Self, Error> {
        let first = if fixed.stores { 3 } else { 2 };
        let options = Options::read(args, first + 2, fixed)?;
        let by = options.by.unwrap_or(By::Rank);
        let direction = options.direction.unwrap_or(Direction::Forward);
        if options.limit != -1 && by == By::Rank {
            return Err(Error::err(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if options.shown == Shown::Scores && by == By::Lex {
            return Err(Error::err("syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (low, high) = match (by, direction) {
            (By::Rank, _) | (_, Direction::Forward) => (first, first + 1),
            (By::Score | By::Lex, Direction::Reverse) => (first + 1, first),
        };
        let ends = match by {
            By::Rank => Ends::Ranks(args.int(low)?, args.int(high)?),
            By::Score => Ends::Scores(ByScore::read(args.at(low), args.at(high))?),
            By::Lex => Ends::Members(ByLex::read(args.at(low), args.at(high))?),
        };
        let Options { shown, offset, limit, .. } = options;
        Ok(Self { by, direction, shown, offset, limit, ends })
    }

    /// The ranks to show, as begin and exclusive end, counted from the lowest score.
    fn ranks(&self, zset: &Zset) -> (usize, usize) {
        let (begin, end) = match &self.ends {
            Ends::Ranks(start, stop) => {
                let (begin, end) = between(zset.len(), *start, *stop);
                return match self.direction {
                    Direction::Forward => (begin, end),
                    Direction::Reverse => (zset.len() - end, zset.len() - begin),
                };
            }
            Ends::Scores(range) => range.ranks(zset),
            Ends::Members(range) => range.ranks(zset),
        };
        // As in Redis a negative offset skips everything, and a negative limit is none.
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX).min(end - begin);
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX).min(end - begin - skip);
        match self.direction {
            Direction::Forward => (begin + skip, begin + skip + most),
            Direction::Reverse => (end - skip - most, end - skip),
        }
    }
}

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, by: Option<By>, direction: Option<Direction>) -> Outcome {
    let asked = Asked::read(args, Fixed { by, direction, stores: false })?;
    let Some(zset) = typed::zset(ctx.data.read(args.key(0)))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let (first, end) = asked.ranks(zset);
    begin(ctx.out, end - first, asked.shown);
    let range = zset.range(first, end);
    match asked.direction {
        Direction::Forward => range.for_each(|one| element(ctx.out, one, asked.shown)),
        Direction::Reverse => range.rev().for_each(|one| element(ctx.out, one, asked.shown)),
    }
    debug_assert!(asked.by != By::Lex || asked.shown == Shown::Members);
    Ok(())
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub(super) fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, None, None)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub(super) fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Some(By::Rank), Some(Direction::Reverse))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Some(By::Score), Some(Direction::Forward))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Some(By::Score), Some(Direction::Reverse))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub(super) fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Some(By::Lex), Some(Direction::Forward))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub(super) fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Some(By::Lex), Some(Direction::Reverse))
}

/// `ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]`
pub(super) fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let asked = Asked::read(args, Fixed { by: None, direction: None, stores: true })?;
    let elements: Vec<(Box<[u8]>, Score)> = match typed::zset(ctx.data.read(args.key(1)))? {
        Some(zset) => {
            let (first, end) = asked.ranks(zset);
            zset.range(first, end).map(|(member, score)| (member.into(), score)).collect()
        }
        None => Vec::new(),
    };
    replace(&mut ctx.data, args.key(0), &elements);
    ctx.out.count(elements.len());
    Ok(())
}
