//! When keys expire: EXPIRE, TTL and their kin, PERSIST. The effect is the moment in milliseconds since 1970, or the
//! deletion of a key whose moment has passed already.

use crate::commands::deadline::{From, Stated, Unit};
use crate::commands::{Args, Ctx, Outcome};
use crate::resp::Error;
use crate::store::Change;
use capstan_proto::env::UnixMs;

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set(ctx, args, Stated { unit: Unit::Seconds, from: From::Now, command: "expire" })
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set(ctx, args, Stated { unit: Unit::Milliseconds, from: From::Now, command: "pexpire" })
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
pub(super) fn expireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set(ctx, args, Stated { unit: Unit::Seconds, from: From::Epoch, command: "expireat" })
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set(ctx, args, Stated { unit: Unit::Milliseconds, from: From::Epoch, command: "pexpireat" })
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>, stated: Stated) -> Outcome {
    let conditions = Conditions::read(args)?;
    let at = stated.moment(args.int(2)?, ctx.now)?;
    let key = args.key(0);
    let wanted = match ctx.data.peek(key) {
        Some(entry) => conditions.hold(entry.expires(), at),
        None => false,
    };
    if wanted {
        let change = match u64::try_from(at) {
            Ok(at) if at > ctx.now.0 => Change::Expire { at: Some(UnixMs(at)) },
            // Passed already, perhaps before 1970.
            Ok(_) | Err(_) => Change::Delete,
        };
        ctx.data.apply(key, change);
    }
    ctx.out.int(i64::from(wanted));
    Ok(())
}

/// The words after the time.
#[derive(Debug, Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn read(args: Args<'_>) -> Result<Self, Error> {
        let mut said = Self::default();
        for i in 3..args.len() {
            if args.is(i, "NX") {
                said.nx = true;
            } else if args.is(i, "XX") {
                said.xx = true;
            } else if args.is(i, "GT") {
                said.gt = true;
            } else if args.is(i, "LT") {
                said.lt = true;
            } else {
                return Err(Error::UnsupportedOption(args.at(i).into()));
            }
        }
        if said.nx && (said.xx || said.gt || said.lt) {
            return Err(Error::err("NX and XX, GT or LT options at the same time are not compatible"));
        }
        if said.gt && said.lt {
            return Err(Error::err("GT and LT options at the same time are not compatible"));
        }
        Ok(said)
    }

    /// Whether a key with this expiry gets the new one. No expiry is later than every other.
    fn hold(self, current: Option<UnixMs>, at: i64) -> bool {
        let current = current.map(|current| i64::try_from(current.0).unwrap_or(i64::MAX));
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|current| at <= current)
            || self.lt && current.is_some_and(|current| at >= current))
    }
}

/// `PERSIST key`
pub(super) fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let expires = ctx.data.peek(key).is_some_and(|entry| entry.expires().is_some());
    if expires {
        ctx.data.apply(key, Change::Expire { at: None });
    }
    ctx.out.int(i64::from(expires));
    Ok(())
}

/// `TTL key`
pub(super) fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    show(ctx, args, Unit::Seconds, From::Now)
}

/// `PTTL key`
pub(super) fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    show(ctx, args, Unit::Milliseconds, From::Now)
}

/// `EXPIRETIME key`
pub(super) fn expiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    show(ctx, args, Unit::Seconds, From::Epoch)
}

/// `PEXPIRETIME key`
pub(super) fn pexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    show(ctx, args, Unit::Milliseconds, From::Epoch)
}

/// -2 without the key, -1 without an expiry; seconds are rounded to the nearest.
fn show(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, from: From) -> Outcome {
    let answer = match ctx.data.read(args.key(0)).map(|entry| entry.expires()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let milliseconds = match from {
                From::Now => at.0.saturating_sub(ctx.now.0),
                From::Epoch => at.0,
            };
            let value = match unit {
                Unit::Seconds => milliseconds.saturating_add(500) / 1000,
                Unit::Milliseconds => milliseconds,
            };
            i64::try_from(value).unwrap_or(i64::MAX)
        }
    };
    ctx.out.int(answer);
    Ok(())
}
