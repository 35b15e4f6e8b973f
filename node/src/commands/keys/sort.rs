//! SORT and SORT_RO: the elements of a list, a set or a sorted set in another order.
//!
//! As in a cluster, an order or an answer that is looked up in other keys (BY and GET with a `*`) is refused: which keys
//! those are is known only while the command runs, and they may be anywhere.

use crate::commands::args::parse_float;
use crate::commands::{Args, Ctx, Outcome};
use crate::resp::Error;
use crate::store::Change;
use crate::store::object::{End, Object};
use std::cmp::Ordering;

/// Whether the command may store its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Writes,
    ReadOnly,
}

/// What is shown of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Get {
    /// The element.
    Itself,
    /// Nothing: a pattern without a place for the element names no key.
    Null,
}

#[derive(Debug)]
struct Options {
    descending: bool,
    alpha: bool,
    sorts: bool,
    offset: i64,
    count: i64,
    get: Vec<Get>,
    stores: bool,
}

impl Options {
    fn read(args: Args<'_>, variant: Variant) -> Result<Self, Error> {
        let mut options = Self {
            descending: false,
            alpha: false,
            sorts: true,
            offset: 0,
            count: -1,
            get: Vec::new(),
            stores: false,
        };
        let mut i = 2;
        while i < args.len() {
            let left = args.len() - i - 1;
            if args.is(i, "ASC") {
                options.descending = false;
            } else if args.is(i, "DESC") {
                options.descending = true;
            } else if args.is(i, "ALPHA") {
                options.alpha = true;
            } else if args.is(i, "LIMIT") && left >= 2 {
                (options.offset, options.count) = (args.int(i + 1)?, args.int(i + 2)?);
                i += 2;
            } else if variant == Variant::Writes && args.is(i, "STORE") && left >= 1 {
                options.stores = true;
                i += 1;
            } else if args.is(i, "BY") && left >= 1 {
                i += 1;
                if args.at(i).contains(&b'*') {
                    return Err(Error::err("BY option of SORT denied in cluster mode."));
                }
                options.sorts = false;
            } else if args.is(i, "GET") && left >= 1 {
                i += 1;
                if args.at(i).contains(&b'*') {
                    return Err(Error::err("GET option of SORT denied in cluster mode."));
                }
                options.get.push(if args.at(i) == b"#" { Get::Itself } else { Get::Null });
            } else {
                return Err(Error::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }

    /// Which of so many elements are shown, as begin and exclusive end.
    fn window(&self, len: usize) -> (usize, usize) {
        let begin = usize::try_from(self.offset.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        (begin, begin.saturating_add(count).min(len))
    }
}

/// The keys: the first argument, and what follows the last STORE.
pub(super) fn keys(args: Args<'_>, found: &mut Vec<u32>) -> Outcome {
    found.push(1);
    let (mut i, mut store) = (2, None);
    while i < args.len() {
        if args.is(i, "LIMIT") {
            i += 2;
        } else if args.is(i, "BY") || args.is(i, "GET") {
            i += 1;
        } else if args.is(i, "STORE") && i + 1 < args.len() {
            i += 1;
            store = Some(i as u32);
        }
        i += 1;
    }
    found.extend(store);
    Ok(())
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE destination]`
pub(super) fn sort(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    run(ctx, args, Variant::Writes)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA]`
pub(super) fn sort_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    run(ctx, args, Variant::ReadOnly)
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, variant: Variant) -> Outcome {
    let mut options = Options::read(args, variant)?;
    let entry = ctx.data.read(args.key(0));
    let mut elements: Vec<Box<[u8]>> =
        match entry.map(|entry| entry.object().ok_or(Error::WrongType)).transpose()? {
            None => Vec::new(),
            Some(Object::Hash(_)) => return Err(Error::WrongType),
            Some(Object::List(list)) => list.iter_from(0).map(Into::into).collect(),
            Some(Object::Set(set)) => {
                // What is stored has to have an order that anybody can foresee.
                if options.stores && !options.sorts {
                    (options.sorts, options.alpha) = (true, true);
                }
                set.iter().map(|member| (*member).into()).collect()
            }
            Some(Object::Zset(zset)) => {
                let all: Vec<Box<[u8]>> = zset.iter().map(|(member, _)| member.into()).collect();
                // Its own order has a direction; that of the others has none.
                if !options.sorts && options.descending { all.into_iter().rev().collect() } else { all }
            }
        };
    if options.sorts {
        put_in_order(&mut elements, &options)?;
    }
    let (begin, end) = options.window(elements.len());
    let shown = &elements[begin..end];
    let get: &[Get] = if options.get.is_empty() { &[Get::Itself] } else { &options.get };
    if options.stores {
        return store(ctx, args, shown, get);
    }
    ctx.out.array(shown.len() * get.len());
    for element in shown {
        for get in get {
            ctx.out.bulk_or_null((*get == Get::Itself).then_some(&**element));
        }
    }
    Ok(())
}

fn put_in_order(elements: &mut Vec<Box<[u8]>>, options: &Options) -> Outcome {
    let directed = |order: Ordering| if options.descending { order.reverse() } else { order };
    if options.alpha {
        elements.sort_unstable_by(|a, b| directed(a.cmp(b)));
        return Ok(());
    }
    let number = |element: &[u8]| {
        let text = element.trim_ascii_start();
        // As C's strtod reads it: nothing at all is 0.
        if text.is_empty() { Some(0.0) } else { parse_float(text) }
    };
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements.drain(..) {
        let weight = number(&element);
        let weight = weight.ok_or_else(|| Error::err("One or more scores can't be converted into double"))?;
        weighed.push((weight, element));
    }
    weighed.sort_unstable_by(|a, b| directed(a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1))));
    elements.extend(weighed.into_iter().map(|(_, element)| element));
    Ok(())
}

/// The destination is a list of what would have been shown, or is gone if that is nothing.
fn store(ctx: &mut Ctx<'_>, args: Args<'_>, shown: &[Box<[u8]>], get: &[Get]) -> Outcome {
    let target = args.key(1);
    if ctx.data.peek(target).is_some() {
        ctx.data.apply(target, Change::Delete);
    }
    for element in shown {
        for get in get {
            let value: &[u8] = if *get == Get::Itself { element } else { b"" };
            ctx.data.apply(target, Change::ListPush { end: End::Right, value });
        }
    }
    ctx.out.count(shown.len() * get.len());
    Ok(())
}
