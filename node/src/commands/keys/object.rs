//! OBJECT: how a value is stored.

use crate::commands::args::parse_int;
use crate::commands::{Args, Ctx, Outcome, help as container};
use crate::resp::Error;
use crate::store::Entry;

/// The longest string that Redis keeps in one allocation with its object, and calls embstr.
const EMBEDDED_MAX: usize = 44;

/// The lines of OBJECT HELP that are its own.
const HELP: [&str; 12] = [
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

/// `OBJECT ENCODING key`
pub(super) fn encoding(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.peek(args.key(0)) {
        Some(entry) => ctx.out.bulk(encoding_of(entry).as_bytes()),
        None => ctx.out.null(),
    }
    Ok(())
}

/// What Redis calls the way in which it would store this string after SET, or this collection.
fn encoding_of(entry: &Entry) -> &'static str {
    if let Some(object) = entry.object() {
        return object.encoding();
    }
    let value = entry.value();
    if parse_int(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_MAX {
        "embstr"
    } else {
        "raw"
    }
}

/// `OBJECT REFCOUNT key`: values are never shared.
pub(super) fn refcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.peek(args.key(0)) {
        Some(_) => ctx.out.int(1),
        None => ctx.out.null(),
    }
    Ok(())
}

/// `OBJECT IDLETIME key`: no access clock is kept while nothing can be evicted, and no number is made up.
pub(super) fn idletime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.peek(args.key(0)) {
        Some(_) => {
            Err(Error::err("Access times are not tracked: this server has no eviction policy but noeviction"))
        }
        None => {
            ctx.out.null();
            Ok(())
        }
    }
}

/// `OBJECT FREQ key`
pub(super) fn freq(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.peek(args.key(0)) {
        Some(_) => Err(Error::err(
            "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        )),
        None => {
            ctx.out.null();
            Ok(())
        }
    }
}

/// `OBJECT HELP`
pub(super) fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    container::write(ctx.out, "OBJECT", &HELP);
    Ok(())
}
