//! MEMORY: what a key occupies, and giving free memory back to the system at once.

use super::{Arg, Args, Ctx, Flags, Group, Keys, Outcome, Spec, help as container};
use crate::resp::Error;

/// The lines of MEMORY HELP that are its own.
const HELP: [&str; 5] = [
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    counted whole, whatever <count> says.",
];

/// What every row of this family has in common.
const BASE: Spec = Spec { group: Group::Server, since: "4.0.0", ..Spec::DEFAULT };

/// The family.
pub static ROWS: &[Spec] = &[Spec {
    name: "memory",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "A container for memory diagnostics commands.",
    subcommands: &[
        Spec {
            name: "help",
            container: "memory",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            summary: "Returns helpful text about the different subcommands.",
            run: help,
            ..BASE
        },
        Spec {
            name: "purge",
            container: "memory",
            arity: 2,
            complexity: "Depends on how much memory is allocated, could be slow",
            summary: "Asks the allocator to release memory.",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            run: purge,
            ..BASE
        },
        Spec {
            name: "usage",
            container: "memory",
            arity: -3,
            flags: Flags::READONLY,
            keys: Keys::Range { first: 2, last: 2, step: 1 },
            complexity: "O(N) where N is the number of samples.",
            summary: "Estimates the memory usage of a key.",
            args: &[Arg::key("key"), Arg::integer("count").with_token("SAMPLES").optional()],
            run: usage,
            ..BASE
        },
    ],
    ..BASE
}];

/// What a table of entries needs for each: its pointer and its control byte.
const IN_TABLE: usize = size_of::<usize>() + 1;

/// `MEMORY USAGE key [SAMPLES count]`: what is accounted for the key, collections whole.
fn usage(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        3 => {}
        5 if args.is(3, "samples") && args.int(4)? >= 0 => {}
        _ => return Err(Error::Syntax),
    }
    match ctx.data.peek(args.key(0)) {
        Some(entry) => ctx.out.count(entry.allocated() + IN_TABLE),
        None => ctx.out.null(),
    }
    Ok(())
}

/// `MEMORY PURGE`: the background thread gives free memory back now rather than a while after the last garbage.
fn purge(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.core.lanes.give_memory_back();
    ctx.out.ok();
    Ok(())
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    container::write(ctx.out, "MEMORY", &HELP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::desk::Desk;

    #[test]
    fn the_usage_of_a_key_grows_with_its_value_and_a_missing_key_has_none() {
        let mut desk = Desk::new();
        let mut usage = |make: &str, key: &str| {
            desk.say(make);
            let reply = desk.say(&format!("MEMORY USAGE {key} SAMPLES 0"));
            reply.trim_start_matches(':').trim_end_matches("\\r\\n").parse::<usize>().unwrap_or(0)
        };
        let (short, long) = (usage("SET short v", "short"), usage(&format!("SET long {:0999}", 7), "long"));
        assert!((20..64).contains(&short) && (1000..1400).contains(&long), "{short} {long}");
        let elements = "0123456789 ".repeat(100);
        let (one, many) = (usage("RPUSH one e", "one"), usage(&format!("RPUSH many {elements}"), "many"));
        assert!(one > short && many > one + 1000, "{one} {many}");
        assert_eq!(desk.say("MEMORY USAGE nokey"), "$-1\\r\\n");
    }

    #[test]
    fn what_usage_cannot_read_is_refused() {
        let mut desk = Desk::new();
        for wrong in ["MEMORY USAGE k SAMPLES", "MEMORY USAGE k SAMPLE 5", "MEMORY USAGE k SAMPLES -1"] {
            assert_eq!(desk.say(wrong), "-ERR syntax error\\r\\n", "{wrong}");
        }
        let reply = desk.say("MEMORY USAGE k SAMPLES many");
        assert_eq!(reply, "-ERR value is not an integer or out of range\\r\\n");
    }

    #[test]
    fn purging_is_acknowledged() {
        assert_eq!(Desk::new().say("MEMORY PURGE"), "+OK\\r\\n");
    }
}
