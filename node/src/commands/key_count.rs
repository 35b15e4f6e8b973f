//! The keys of commands that say how many they have. What is wrong with the number, the command itself says.

use super::args::parse_int;
use super::{Args, Outcome};
use crate::resp::Error;

/// `COMMAND numkeys key [key ...] ...`
pub(super) fn first(args: Args<'_>, found: &mut Vec<u32>) -> Outcome {
    counted(args, 1, found)
}

/// `COMMAND something numkeys key [key ...] ...`
pub(super) fn second(args: Args<'_>, found: &mut Vec<u32>) -> Outcome {
    counted(args, 2, found)
}

/// `COMMAND destination numkeys key [key ...] ...`
pub(super) fn after_destination(args: Args<'_>, found: &mut Vec<u32>) -> Outcome {
    found.push(1);
    counted(args, 2, found)
}

fn counted(args: Args<'_>, at: usize, found: &mut Vec<u32>) -> Outcome {
    let count = parse_int(args.at(at)).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    if count == 0 || count > args.len().saturating_sub(at + 1) {
        found.clear();
        return Err(Error::err("Invalid number of arguments specified for command"));
    }
    found.extend((at + 1..=at + count).map(|i| i as u32));
    Ok(())
}
