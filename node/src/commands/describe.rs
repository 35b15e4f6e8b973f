//! How a command's row is shown: the ten elements of COMMAND INFO and the map of COMMAND DOCS.
//!
//! Everything here derives from the row; what the row does not say is not shown. go-redis refuses an entry with any
//! other number of elements, redis-cli takes its hints from the arguments, redis-py takes key positions from both.

use super::Args;
use super::table::{Arg, ArgKind, Flags, Group, Keys, Spec};
use crate::resp::Reply;

/// The ACL categories of a command, in the order of Redis.
#[must_use]
pub fn categories(spec: &Spec) -> Vec<&'static str> {
    let flags = spec.flags;
    let keyed = !matches!(spec.keys, Keys::None);
    let admin = flags.has(Flags::ADMIN);
    let of_group = |group: Group| spec.group == group;
    [
        (of_group(Group::Generic) && (keyed || flags.has(Flags::READONLY.and(Flags::WRITE))), "@keyspace"),
        (flags.has(Flags::READONLY) && !of_group(Group::Scripting), "@read"),
        (flags.has(Flags::WRITE) && !of_group(Group::Scripting), "@write"),
        (of_group(Group::Set), "@set"),
        (of_group(Group::SortedSet), "@sortedset"),
        (of_group(Group::List), "@list"),
        (of_group(Group::Hash), "@hash"),
        (of_group(Group::String), "@string"),
        (of_group(Group::Bitmap), "@bitmap"),
        (of_group(Group::Hyperloglog), "@hyperloglog"),
        (of_group(Group::Geo), "@geo"),
        (of_group(Group::Stream), "@stream"),
        (flags.has(Flags::PUBSUB), "@pubsub"),
        (admin, "@admin"),
        (flags.has(Flags::FAST), "@fast"),
        (!flags.has(Flags::FAST), "@slow"),
        (flags.has(Flags::BLOCKING), "@blocking"),
        (admin || flags.has(Flags::WHOLE_NODE) && flags.has(Flags::WRITE.and(Flags::LONG)), "@dangerous"),
        (of_group(Group::Connection), "@connection"),
        (of_group(Group::Transactions), "@transaction"),
        (of_group(Group::Scripting), "@scripting"),
    ]
    .into_iter()
    .filter_map(|(is, name)| is.then_some(name))
    .collect()
}

/// The first and the last key and the step, as the oldest clients want them.
fn shown(keys: Keys) -> (i32, i32, i32) {
    match keys {
        Keys::None => (0, 0, 0),
        Keys::Range { first, last, step } => (first.into(), last.into(), step.into()),
        Keys::Custom { shown, .. } => shown,
    }
}

/// Which arguments of a command are its keys.
pub fn key_places(keys: Keys, args: Args<'_>) -> Result<Vec<u32>, crate::resp::Error> {
    let mut found = Vec::new();
    match keys {
        Keys::None => {}
        Keys::Range { first, last, step } => {
            let last = if last < 0 { args.len() as i64 + i64::from(last) } else { i64::from(last) };
            let range = i64::from(first)..=last.min(args.len() as i64 - 1);
            found.extend(range.step_by(usize::from(step.max(1))).map(|at| at as u32));
        }
        Keys::Custom { find, .. } => find(args, &mut found)?,
    }
    Ok(found)
}

/// The entry of COMMAND and COMMAND INFO.
pub fn entry(out: &mut Reply, spec: &Spec) {
    out.array(10);
    out.bulk(spec.full_name().as_bytes());
    out.int(spec.arity.into());
    let flags: Vec<_> = Flags::SHOWN.iter().filter(|(flag, _)| spec.flags.has(*flag)).collect();
    out.set(flags.len());
    flags.iter().for_each(|(_, name)| out.simple(name));
    let (first, last, step) = shown(spec.keys);
    [first, last, step].into_iter().for_each(|number| out.int(number.into()));
    let categories = categories(spec);
    out.set(categories.len());
    categories.iter().for_each(|name| out.simple(name));
    out.array(spec.tips.len());
    spec.tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    key_specs(out, spec);
    out.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| entry(out, sub));
}

/// The key specifications: one or none. Keys that only the command itself can find are `unknown`, as in Redis.
fn key_specs(out: &mut Reply, spec: &Spec) {
    if matches!(spec.keys, Keys::None) {
        out.array(0);
        return;
    }
    out.array(1);
    out.map(3);
    out.bulk(b"flags");
    let flags = key_flags(spec);
    out.set(flags.len());
    flags.iter().for_each(|flag| out.simple(flag));
    out.bulk(b"begin_search");
    match spec.keys {
        Keys::Range { first, last, step } => {
            kind_and_spec(out, "index", &[("index", first.into())]);
            out.bulk(b"find_keys");
            // Counted from the first key, unless counted from the end.
            let last = i64::from(last);
            let last = if last < 0 { last } else { last - i64::from(first) };
            kind_and_spec(out, "range", &[("lastkey", last), ("keystep", step.into()), ("limit", 0)]);
        }
        Keys::Custom { .. } | Keys::None => {
            kind_and_spec(out, "unknown", &[]);
            out.bulk(b"find_keys");
            kind_and_spec(out, "unknown", &[]);
        }
    }
}

/// What is done with the keys: `RO` and `access`, or `RW` and what kind of writing, as far as the row says it.
#[must_use]
pub fn key_flags(spec: &Spec) -> &'static [&'static str] {
    let unsure = matches!(spec.keys, Keys::Custom { .. });
    match (spec.flags.has(Flags::WRITE), unsure) {
        (true, false) => &["RW", "access", "update"],
        (true, true) => &["RW", "access", "update", "incomplete"],
        (false, false) => &["RO", "access"],
        (false, true) => &["RO", "access", "incomplete"],
    }
}

fn kind_and_spec(out: &mut Reply, kind: &str, numbers: &[(&str, i64)]) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(numbers.len());
    for (name, number) in numbers {
        out.bulk(name.as_bytes());
        out.int(*number);
    }
}

/// The name and the map of COMMAND DOCS.
pub fn docs(out: &mut Reply, spec: &Spec) {
    out.bulk(spec.full_name().as_bytes());
    let (history, args, subs) = (spec.history, spec.args, spec.subcommands);
    out.map(
        4 + [history.is_empty(), args.is_empty(), subs.is_empty()].iter().filter(|empty| !**empty).count(),
    );
    for (name, text) in [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.text()),
        ("complexity", spec.complexity),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(text.as_bytes());
    }
    if !history.is_empty() {
        out.bulk(b"history");
        out.set(history.len());
        for (version, change) in history {
            out.array(2);
            out.bulk(version.as_bytes());
            out.bulk(change.as_bytes());
        }
    }
    if !args.is_empty() {
        out.bulk(b"arguments");
        arguments(out, args, !matches!(spec.keys, Keys::None));
    }
    if !subs.is_empty() {
        out.bulk(b"subcommands");
        out.map(subs.len());
        subs.iter().for_each(|sub| docs(out, sub));
    }
}

fn arguments(out: &mut Reply, args: &[Arg], has_key_spec: bool) {
    out.array(args.len());
    args.iter().for_each(|arg| argument(out, arg, has_key_spec));
}

fn argument(out: &mut Reply, arg: &Arg, has_key_spec: bool) {
    let flags: Vec<&str> =
        [(arg.optional, "optional"), (arg.multiple, "multiple"), (arg.multiple_token, "multiple_token")]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect();
    let plain = !matches!(arg.kind, ArgKind::OneOf | ArgKind::Block);
    let key_spec = arg.kind == ArgKind::Key && has_key_spec;
    let shown = [
        plain,
        key_spec,
        !arg.token.is_empty(),
        !arg.since.is_empty(),
        !flags.is_empty(),
        !arg.args.is_empty(),
    ];
    out.map(2 + shown.iter().filter(|shown| **shown).count());
    let mut text = |name: &str, value: &str| {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    };
    text("name", arg.name);
    text("type", arg.kind.text());
    if plain {
        text("display_text", arg.name);
    }
    if !arg.token.is_empty() {
        text("token", arg.token);
    }
    if !arg.since.is_empty() {
        text("since", arg.since);
    }
    if key_spec {
        out.bulk(b"key_spec_index");
        out.int(0);
    }
    if !flags.is_empty() {
        out.bulk(b"flags");
        out.set(flags.len());
        flags.iter().for_each(|flag| out.simple(flag));
    }
    if !arg.args.is_empty() {
        out.bulk(b"arguments");
        arguments(out, arg.args, has_key_spec);
    }
}
