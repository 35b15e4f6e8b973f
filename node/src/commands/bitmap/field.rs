//! BITFIELD and BITFIELD_RO: integers of any width inside a string.

use super::bits::{Field, Overflow};
use super::offset;
use crate::commands::args::parse_int;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::Change;

/// One operation of a BITFIELD.
#[derive(Debug, Clone, Copy)]
struct Operation {
    field: Field,
    /// Of its first bit.
    offset: u64,
    what: What,
}

/// What is done with an integer.
#[derive(Debug, Clone, Copy)]
enum What {
    Get,
    Set(i64, Overflow),
    IncrBy(i64, Overflow),
}

/// Which of the two commands runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Full,
    ReadOnly,
}

/// `BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET | INCRBY type offset value ...]`
pub(super) fn bitfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    run(ctx, args, Variant::Full)
}

/// `BITFIELD_RO key [GET type offset ...]`
pub(super) fn bitfield_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    run(ctx, args, Variant::ReadOnly)
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, variant: Variant) -> Outcome {
    let operations = operations(ctx, args, variant)?;
    let key = args.key(0);
    let len = typed::text(ctx.data.peek(key))?.map_or(0, |value| value.len() as u64);
    ctx.out.array(operations.len());
    // Redis makes the string long enough for every write of the command before the first one.
    let is_write = |operation: &&Operation| !matches!(operation.what, What::Get);
    let end = |operation: &Operation| (operation.offset + u64::from(operation.field.width)).div_ceil(8);
    let needed = operations.iter().filter(is_write).map(end).max().unwrap_or(0);
    if needed > len {
        ctx.data.apply(key, Change::Write { offset: (needed - 1) as u32, bytes: &[0] });
    }
    for operation in operations {
        execute(ctx, key, operation);
    }
    Ok(())
}

/// Does one operation, writes its answer.
fn execute(ctx: &mut Ctx<'_>, key: crate::commands::args::Key<'_>, operation: Operation) {
    let Operation { field, offset, what } = operation;
    let value = ctx.data.peek(key).map(|entry| entry.value()).unwrap_or_default();
    let old = field.read(value, offset);
    let (wanted, answer_is_old) = match what {
        What::Get => {
            ctx.out.int(old);
            return;
        }
        What::Set(number, overflow) => (field.fit(field.given(number), overflow), true),
        What::IncrBy(increment, overflow) => {
            (field.fit(i128::from(old) + i128::from(increment), overflow), false)
        }
    };
    let Some(new) = wanted else {
        ctx.out.null();
        return;
    };
    let (from, bytes) = field.written(value, offset, new);
    if value.get(from..from + bytes.len()) != Some(bytes.as_slice()) {
        ctx.data.apply(key, Change::Write { offset: from as u32, bytes: &bytes });
    }
    ctx.out.int(if answer_is_old { old } else { new });
}

fn operations(ctx: &Ctx<'_>, args: Args<'_>, variant: Variant) -> Result<Vec<Operation>, Error> {
    let (mut operations, mut overflow, mut i) = (Vec::new(), Overflow::default(), 2);
    while i < args.len() {
        let more = args.len() - i - 1;
        if args.is(i, "OVERFLOW") && more >= 1 {
            overflow = overflow_named(args, i + 1)?;
            i += 2;
            continue;
        }
        let (takes, is_get, is_set) = if args.is(i, "GET") && more >= 2 {
            (3, true, false)
        } else if args.is(i, "SET") && more >= 3 {
            (4, false, true)
        } else if args.is(i, "INCRBY") && more >= 3 {
            (4, false, false)
        } else {
            return Err(Error::Syntax);
        };
        let field = field_type(args.at(i + 1))?;
        let offset = field_offset(ctx, args.at(i + 2), field)?;
        let what = if is_get {
            What::Get
        } else if is_set {
            What::Set(args.int(i + 3)?, overflow)
        } else {
            What::IncrBy(args.int(i + 3)?, overflow)
        };
        operations.push(Operation { field, offset, what });
        i += takes;
    }
    let writes = operations.iter().any(|operation| !matches!(operation.what, What::Get));
    if variant == Variant::ReadOnly && writes {
        return Err(Error::err("BITFIELD_RO only supports the GET subcommand"));
    }
    Ok(operations)
}

fn overflow_named(args: Args<'_>, i: usize) -> Result<Overflow, Error> {
    if args.is(i, "WRAP") {
        Ok(Overflow::Wrap)
    } else if args.is(i, "SAT") {
        Ok(Overflow::Saturate)
    } else if args.is(i, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(Error::err("Invalid OVERFLOW type specified"))
    }
}

/// `i5`, `u63`
fn field_type(text: &[u8]) -> Result<Field, Error> {
    let field = match text {
        [b'i', width @ ..] => parse_int(width).map(|width| (true, width)),
        [b'u', width @ ..] => parse_int(width).map(|width| (false, width)),
        _ => None,
    };
    match field {
        Some((true, width @ 1..=64)) => Ok(Field { signed: true, width: width as u32 }),
        Some((false, width @ 1..=63)) => Ok(Field { signed: false, width: width as u32 }),
        _ => Err(Error::err(
            "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        )),
    }
}

/// A bit, or with `#` the number of a field.
fn field_offset(ctx: &Ctx<'_>, text: &[u8], field: Field) -> Result<u64, Error> {
    match text {
        [b'#', number @ ..] => offset(ctx, parse_int(number), i64::from(field.width)),
        number => offset(ctx, parse_int(number), 1),
    }
}
