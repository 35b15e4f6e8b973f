//! Decides whether two replies count as the same. Pure.

use crate::pair::Replies;

/// How strictly two replies are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every byte.
    Exact,
    /// Every byte, but integers may differ by this much: what is left of a time to live.
    Near(i64),
    /// Arrays without an order of their own: the same elements.
    Sorted,
    /// The same lines in any order, integers near as with `Near`: what EXEC answers for commands without an order.
    Lines(i64),
    /// The same kind of reply only: what is meant to be random.
    Kind,
}

/// Are they the same?
pub(crate) fn same(check: Check, replies: &Replies) -> bool {
    let (redis, capstan) = (&replies.redis, &replies.capstan);
    match check {
        Check::Exact => redis == capstan,
        Check::Near(slack) => near(redis, capstan, slack),
        Check::Sorted => sorted(redis) == sorted(capstan),
        Check::Lines(slack) => near(&in_order(redis), &in_order(capstan), slack),
        Check::Kind => redis.first() == capstan.first(),
    }
}

fn near(a: &[u8], b: &[u8], slack: i64) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (lines(a).collect(), lines(b).collect());
    a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| {
            a == b
                || match (integer(a), integer(b)) {
                    // A negative integer is an answer of another kind: no expiry, no key.
                    (Some(a), Some(b)) => a >= 0 && b >= 0 && (a - b).abs() <= slack,
                    _ => false,
                }
        })
}

/// The texts of a reply in order of their bytes, then its integers as they came.
fn in_order(reply: &[u8]) -> Vec<u8> {
    let (integers, mut texts): (Vec<_>, Vec<_>) = lines(reply).partition(|line| integer(line).is_some());
    texts.sort();
    texts.extend(integers);
    texts.join(&b'\n')
}

fn lines(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    reply.split(|&b| b == b'\n')
}

fn integer(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.trim_end().strip_prefix(':')?.parse().ok()
}

/// The elements of a flat array of bulk strings in order of their bytes; another reply as it is.
pub(crate) fn sorted(reply: &[u8]) -> Vec<Vec<u8>> {
    match bulks(reply) {
        Some(mut elements) => {
            elements.sort();
            elements
        }
        None => vec![reply.to_vec()],
    }
}

/// The elements of a flat array, set, push or map of bulk strings.
pub(crate) fn bulks(reply: &[u8]) -> Option<Vec<Vec<u8>>> {
    let head = |rest: &[u8], kinds: &[u8]| -> Option<(usize, usize)> {
        let end = rest.iter().position(|&b| b == b'\n')?;
        kinds.contains(rest.first()?).then_some(())?;
        Some((std::str::from_utf8(&rest[1..end]).ok()?.trim_end().parse().ok()?, end + 1))
    };
    let (count, mut at) = head(reply, b"*~>%")?;
    // A map has a key and a value for each that it counts.
    let count = if reply.first() == Some(&b'%') { 2 * count } else { count };
    let mut elements = Vec::new();
    for _ in 0..count {
        let (length, used) = head(&reply[at..], b"$")?;
        at += used;
        elements.push(reply.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    Some(elements)
}

#[test]
fn integers_may_be_near_but_signs_and_texts_may_not() {
    let replies = |a: &str, b: &str| Replies { redis: a.into(), capstan: b.into() };
    assert!(same(Check::Near(5), &replies(":100\r\n", ":97\r\n")));
    assert!(!same(Check::Near(5), &replies(":3\r\n", ":-1\r\n")));
    assert!(!same(Check::Near(5), &replies("+3\r\n", "+4\r\n")));
    assert!(same(Check::Sorted, &replies("*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n")));
    assert!(!same(Check::Sorted, &replies("*1\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n")));
}
