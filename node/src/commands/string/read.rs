//! Reading values: GET, MGET, STRLEN, GETRANGE and its old name SUBSTR.

use crate::commands::{Args, Ctx, Outcome, typed};

/// `GET key`
#[inline]
pub(super) fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match typed::text(ctx.data.read(args.key(0)))? {
        Some(value) => ctx.out.bulk(value),
        None => ctx.out.null(),
    }
    Ok(())
}

/// `MGET key [key ...]`
pub(super) fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.array(args.key_count());
    for key in args.keys() {
        ctx.out.bulk_or_null(ctx.data.read(key).and_then(|entry| entry.text()));
    }
    Ok(())
}

/// `STRLEN key`
pub(super) fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.count(typed::text(ctx.data.read(args.key(0)))?.map_or(0, <[u8]>::len));
    Ok(())
}

/// `GETRANGE key start end`, `SUBSTR key start end`
pub(super) fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (args.int(2)?, args.int(3)?);
    let value = typed::text(ctx.data.read(args.key(0)))?.unwrap_or_default();
    ctx.out.bulk(range(value, start, end));
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = value.len() as i64;
    let from_end = |i: i64| if i < 0 { (len.saturating_add(i)).max(0) } else { i };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { b"" } else { &value[start as usize..=end as usize] }
}

#[test]
fn ranges_count_from_both_ends_and_are_cut_to_the_value() {
    let value = b"Hello World";
    for (start, end, expected) in [
        (0, 3, "Hell"),
        (-5, -1, "World"),
        (-1, -5, ""),
        (5, 3, ""),
        (0, i64::MAX, "Hello World"),
        (i64::MIN, 2, "Hel"),
        (-100, -90, "H"),
        (20, 30, ""),
    ] {
        assert_eq!(range(value, start, end), expected.as_bytes(), "{start} {end}");
    }
    assert_eq!(range(b"", 0, -1), b"");
}
