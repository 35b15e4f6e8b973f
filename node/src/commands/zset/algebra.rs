//! Several sorted sets: ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD. A plain set counts as one whose
//! scores are all 1.

use super::{Shown, begin, element, replace};
use crate::commands::args::{Key, parse_float, parse_int};
use crate::commands::{Args, Ctx, Outcome};
use crate::resp::Error;
use crate::store::Data;
use crate::store::object::{Object, Score};
use std::collections::HashMap;

/// What is made of several sorted sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combine {
    Inter,
    Union,
    Diff,
}

/// What becomes of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Answered,
    Stored,
    Counted,
}

/// What becomes of the scores of a member that several sets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: Score, b: Score) -> Score {
        match self {
            Self::Sum => a.plus(b),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

/// Members with their scores: a map to look them up, and their order of arrival.
type Elements = Vec<(Box<[u8]>, Score)>;

/// What one of these commands is.
#[derive(Debug, Clone, Copy)]
struct Shape {
    combine: Combine,
    purpose: Purpose,
    name: &'static str,
}

/// Its options.
struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    shown: Shown,
    limit: usize,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident: $combine:ident $purpose:ident;)*) => {
        $($(#[$doc])*
        pub(super) fn $name(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
            let (combine, purpose) = (Combine::$combine, Purpose::$purpose);
            run(ctx, args, Shape { combine, purpose, name: stringify!($name) })
        })*
    };
}

commands! {
    /// `ZUNION numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
    zunion: Union Answered;
    /// `ZINTER numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
    zinter: Inter Answered;
    /// `ZDIFF numkeys key [key ...] [WITHSCORES]`
    zdiff: Diff Answered;
    /// `ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX]`
    zunionstore: Union Stored;
    /// `ZINTERSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX]`
    zinterstore: Inter Stored;
    /// `ZDIFFSTORE destination numkeys key [key ...]`
    zdiffstore: Diff Stored;
    /// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`
    zintercard: Inter Counted;
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, shape: Shape) -> Outcome {
    let stored = usize::from(shape.purpose == Purpose::Stored);
    let count_at = 1 + stored;
    let count = parse_int(args.at(count_at)).ok_or(Error::NotInteger)?;
    if count < 1 {
        return Err(Error::err(format!("at least 1 input key is needed for '{}' command", shape.name)));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > args.len() - (count_at + 1) {
        return Err(Error::Syntax);
    }
    let keys = || args.keys().skip(stored);
    for key in keys() {
        if ctx
            .data
            .read(key)
            .is_some_and(|entry| !matches!(entry.object(), Some(Object::Set(_) | Object::Zset(_))))
        {
            return Err(Error::WrongType);
        }
    }
    let options = Options::read(args, count_at + 1 + count, count, shape)?;
    let mut elements = match shape.combine {
        Combine::Union => union(&mut ctx.data, keys(), &options),
        Combine::Inter => inter(&mut ctx.data, keys(), &options),
        Combine::Diff => diff(&mut ctx.data, keys()),
    };
    match shape.purpose {
        Purpose::Stored => {
            replace(&mut ctx.data, args.key(0), &elements);
            ctx.out.count(elements.len());
        }
        Purpose::Counted => ctx.out.count(elements.len().min(options.limit)),
        Purpose::Answered => {
            elements.sort_unstable_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
            begin(ctx.out, elements.len(), options.shown);
            elements.iter().for_each(|(member, score)| element(ctx.out, (member, *score), options.shown));
        }
    }
    Ok(())
}

impl Options {
    fn read(args: Args<'_>, from: usize, keys: usize, shape: Shape) -> Result<Self, Error> {
        let mut options = Self {
            weights: vec![1.0; keys],
            aggregate: Aggregate::Sum,
            shown: Shown::Members,
            limit: usize::MAX,
        };
        let weighs = shape.combine != Combine::Diff && shape.purpose != Purpose::Counted;
        let mut i = from;
        while i < args.len() {
            let left = args.len() - i;
            if weighs && left > keys && args.is(i, "WEIGHTS") {
                for (n, weight) in options.weights.iter_mut().enumerate() {
                    let read = parse_float(args.at(i + 1 + n));
                    *weight = read.ok_or_else(|| Error::err("weight value is not a float"))?;
                }
                i += keys;
            } else if weighs && left >= 2 && args.is(i, "AGGREGATE") {
                i += 1;
                options.aggregate = if args.is(i, "SUM") {
                    Aggregate::Sum
                } else if args.is(i, "MIN") {
                    Aggregate::Min
                } else if args.is(i, "MAX") {
                    Aggregate::Max
                } else {
                    return Err(Error::Syntax);
                };
            } else if shape.purpose == Purpose::Answered && args.is(i, "WITHSCORES") {
                options.shown = Shown::Scores;
            } else if shape.purpose == Purpose::Counted && left >= 2 && args.is(i, "LIMIT") {
                i += 1;
                let limit = args.int_from(i, 0, "LIMIT can't be negative")?;
                options.limit =
                    if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
            } else {
                return Err(Error::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }
}

/// Shows every member of a set or a sorted set, unweighted.
fn each(data: &mut Data<'_>, key: Key<'_>, mut show: impl FnMut(&[u8], Score)) {
    match data.peek(key).and_then(|entry| entry.object()) {
        Some(Object::Zset(zset)) => zset.iter().for_each(|(member, score)| show(member, score)),
        Some(Object::Set(set)) => set.iter().for_each(|member| show(&member, Score::ONE)),
        Some(Object::Hash(_) | Object::List(_)) | None => {}
    }
}

fn score_in(object: Option<&Object>, member: &[u8]) -> Option<Score> {
    match object {
        Some(Object::Zset(zset)) => zset.score(member),
        Some(Object::Set(set)) => set.contains(member).then_some(Score::ONE),
        Some(Object::Hash(_) | Object::List(_)) | None => None,
    }
}

fn union<'k>(data: &mut Data<'_>, keys: impl Iterator<Item = Key<'k>>, options: &Options) -> Elements {
    let mut scores: HashMap<Box<[u8]>, usize> = HashMap::new();
    let mut elements = Elements::new();
    for (key, weight) in keys.zip(&options.weights) {
        each(data, key, |member, score| {
            let score = score.times(*weight);
            if let Some(at) = scores.get(member) {
                let there = &mut elements[*at].1;
                *there = options.aggregate.of(*there, score);
            } else {
                scores.insert(member.into(), elements.len());
                elements.push((member.into(), score));
            }
        });
    }
    elements
}

/// The members of the smallest, sieved and weighed by one after the other in the order of the keys.
fn inter<'k>(data: &mut Data<'_>, keys: impl Iterator<Item = Key<'k>>, options: &Options) -> Elements {
    let keys: Vec<(Key<'k>, f64)> = keys.zip(options.weights.iter().copied()).collect();
    let len = |data: &mut Data<'_>, key| data.peek(key).and_then(|e| e.object()).map_or(0, Object::len);
    let sized = keys.iter().map(|(key, _)| (len(data, *key), *key));
    let Some((1.., smallest)) = sized.min_by_key(|(len, _)| *len) else { return Elements::new() };
    let mut members: Vec<(Box<[u8]>, Option<Score>)> = Vec::new();
    each(data, smallest, |member, _| members.push((member.into(), None)));
    for (key, weight) in keys {
        let object = data.peek(key).and_then(|entry| entry.object());
        members.retain_mut(|(member, sum)| {
            let Some(score) = score_in(object, member) else { return false };
            let score = score.times(weight);
            *sum = Some(sum.map_or(score, |sum| options.aggregate.of(sum, score)));
            true
        });
    }
    members.into_iter().filter_map(|(member, score)| Some((member, score?))).collect()
}

/// The elements of the first that no other one has.
fn diff<'k>(data: &mut Data<'_>, mut keys: impl Iterator<Item = Key<'k>>) -> Elements {
    let mut elements = Elements::new();
    let Some(first) = keys.next() else { return elements };
    each(data, first, |member, score| elements.push((member.into(), score)));
    for key in keys {
        let object = data.peek(key).and_then(|entry| entry.object());
        elements.retain(|(member, _)| score_in(object, member).is_none());
    }
    elements
}
