//! What people call nodes, shards and slots, and which one they mean. Pure.
//!
//! A name that fits two things is an error that lists both, never a guess.

use super::view::{View, address};
use capstan_proto::ids::{NodeId, ShardId};
use capstan_proto::slot::Slot;
use capstan_proto::topology::SlotRun;

/// The fewest digits that may stand for an id.
const PREFIX_MIN: usize = 4;
/// Longer numbers are starts of ids.
const SHARD_DIGITS_MAX: usize = 5;

/// The node that a text means: its id, the start of it, `host:port`, or `:port` where that is unique.
pub(crate) fn node(view: &View, text: &str) -> Result<NodeId, String> {
    let fits = |id: &NodeId, at: &str| {
        let by_id = text.len() >= PREFIX_MIN && id.to_string().starts_with(&text.to_ascii_lowercase());
        by_id || at == text || text.starts_with(':') && at.ends_with(text)
    };
    let nodes = view.topology.nodes.values();
    let found: Vec<NodeId> = nodes.filter(|n| fits(&n.id, &address(&n.addresses))).map(|n| n.id).collect();
    only(&found, "node", text, |id| format!("{id} at {}", view.address(id)))
}

/// The shard that a text means: its number, its id, or the start of its id.
pub(crate) fn shard(view: &View, text: &str) -> Result<ShardId, String> {
    let number = text.parse::<u32>().ok().filter(|_| text.len() <= SHARD_DIGITS_MAX);
    let fits = |id: &ShardId, own: u32| match number {
        Some(number) => own == number,
        None => text.len() >= PREFIX_MIN && id.to_string().starts_with(&text.to_ascii_lowercase()),
    };
    let shards = view.topology.shards.values();
    let found: Vec<ShardId> = shards.filter(|s| fits(&s.id, s.number)).map(|s| s.id).collect();
    only(&found, "shard", text, |id| id.to_string())
}

fn only<T: Copy>(found: &[T], what: &str, text: &str, show: impl Fn(T) -> String) -> Result<T, String> {
    match found {
        [] => Err(format!("no {what} '{text}' in the cluster")),
        [one] => Ok(*one),
        many => {
            let list: Vec<String> = many.iter().map(|one| show(*one)).collect();
            Err(format!("'{text}' fits more than one {what}: {}", list.join(", ")))
        }
    }
}

/// `77` or `0-5460`.
pub(crate) fn slots(text: &str) -> Result<SlotRun, String> {
    let bad = || format!("'{text}' is no slot and no FIRST-LAST within 0-16383");
    let slot = |text: &str| text.parse().ok().and_then(Slot::new).ok_or_else(bad);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let run = SlotRun { first: slot(first)?, last: slot(last)?, owner: None };
    if run.first <= run.last { Ok(run) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::{ConfigEpoch, Incarnation, ShardEpoch, SpawnToken};
    use capstan_proto::topology::{Addresses, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow};

    fn view() -> View {
        let mut view = View::default();
        for (byte, port) in [(0xab, 7000), (0xac, 17000)] {
            let incarnation = Incarnation { counter: 1, token: SpawnToken([byte; 16]) };
            view.topology.set(Row::Node(NodeRow {
                id: NodeId([byte; 20]),
                incarnation,
                place: ProcessPlace::default(),
                addresses: Addresses { ip: "127.0.0.1".into(), port, ..Addresses::default() },
                shard: None,
                dead: false,
                whole: true,
                software: String::new(),
            }));
            view.topology.set(Row::Shard(ShardRow {
                id: ShardId([byte; 20]),
                number: u32::from(port) / 7000,
                primary: NodeId([byte; 20]),
                incarnation,
                epoch: ShardEpoch(1),
                config_epoch: ConfigEpoch(1),
                replicas: Vec::new(),
                phase: ShardPhase::Steady,
                last_attempt: Default::default(),
                floor: None,
            }));
        }
        view
    }

    #[test]
    fn a_node_is_found_by_id_start_of_id_and_address() {
        let view = view();
        for text in ["ABAB", &"ab".repeat(20), "127.0.0.1:7000", ":7000"] {
            assert_eq!(node(&view, text), Ok(NodeId([0xab; 20])), "{text}");
        }
        for text in ["", "ab", "7000", "127.0.0.1", "zzzz", ":9"] {
            assert!(node(&view, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_fits_two_is_refused_with_both() {
        let mut view = view();
        let mut twin = view.topology.nodes[&NodeId([0xab; 20])].clone();
        twin.id.0[19] = 0;
        view.topology.set(Row::Node(twin));
        let error = node(&view, "abab").expect_err("two");
        assert!(error.contains("more than one") && error.contains("ab00"), "{error}");
    }

    #[test]
    fn a_shard_is_found_by_number_and_by_id() {
        let view = view();
        assert_eq!(shard(&view, "1"), Ok(ShardId([0xab; 20])));
        assert_eq!(shard(&view, "acac"), Ok(ShardId([0xac; 20])));
        assert!(shard(&view, "3").is_err() && shard(&view, "").is_err());
    }

    #[test]
    fn slots_are_read_alone_or_as_a_run_and_nothing_else_is() {
        let run = slots("0-5460").expect("a run");
        assert_eq!((run.first.number(), run.last.number()), (0, 5460));
        assert_eq!(slots("77").map(|run| run.first), slots("77-77").map(|run| run.last));
        for text in ["", "-", "5-", "16384", "9-3", "1-2-3", "a"] {
            assert!(slots(text).is_err(), "{text}");
        }
    }
}
