//! This node's copy of the cluster state: kept by a stream from any meta server, resumed where it broke.
//!
//! It decides which events make a newer copy: versions only grow, a gap or a row that cannot be read means reading
//! everything again, rows of unknown kinds are skipped. It refuses another group's state (►20). It puts nothing into
//! effect: `install.rs` does.

use super::life::Life;
use bytes::Bytes;
use capstan_proto::ids::{GroupId, Version};
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::v1::watch_client::WatchClient;
use capstan_proto::rpc::{redirect, v1};
use capstan_proto::topology::{Row, Topology};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::Streaming;

/// A meta server answers the request for a stream within this, or another is asked.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// Why an event made no newer copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It cannot be read: read everything again.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// Another group's state (►20).
    #[error("the state of group {theirs} came, this node obeys group {ours}")]
    OtherGroup {
        /// Whom the node obeys.
        ours: GroupId,
        /// Whose state it is.
        theirs: GroupId,
    },
}

/// The next copy after an event, or nothing if the event is old. `group` is the one that this node obeys.
pub fn follow(
    copy: &Topology,
    event: v1::WatchEvent,
    group: GroupId,
) -> Result<Option<Topology>, WatchError> {
    let version: Version = event.version.ok_or(BadMessage::Missing("version"))?.try_into()?;
    if version <= copy.version {
        return Ok(None);
    }
    let mut next = if event.whole { Topology::default() } else { copy.clone() };
    for row in event.rows {
        match Row::try_from(row) {
            Ok(row) => next.set(row),
            // A newer meta group knows more kinds of rows: this node does without them.
            Err(BadMessage::UnknownRow) => {}
            Err(bad) => return Err(bad.into()),
        }
    }
    if let Some(theirs) = next.group.filter(|theirs| *theirs != group) {
        return Err(WatchError::OtherGroup { ours: group, theirs });
    }
    next.version = version;
    Ok(Some(next))
}

/// Follows the cluster state until the life ends. `known` is what this node knew before; it is resumed from there.
pub async fn run(life: Arc<Life>, group: GroupId, known: Topology, states: watch::Sender<Arc<Topology>>) {
    let mut copy = known;
    let mut resume = copy.version > Version::default();
    if resume {
        states.send_replace(Arc::new(copy.clone()));
    }
    loop {
        let from = resume.then_some(copy.version);
        match open(&life, from).await {
            Ok((address, events)) => {
                resume = follow_stream(&life, &address, events, group, &mut copy, &states).await;
            }
            Err(why) => tracing::debug!(why, "no watch yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(life: &Life, from: Option<Version>) -> Result<(String, Streaming<v1::WatchEvent>), String> {
    let (address, channel) = life.watch_group.pick().map_err(|error| error.to_string())?;
    let mut client =
        WatchClient::new(channel).max_decoding_message_size(capstan_proto::rpc::transport::MESSAGE_MAX);
    let node = Bytes::copy_from_slice(&life.node.0);
    let request = v1::WatchRequest { from: from.as_ref().map(Into::into), node };
    match tokio::time::timeout(OPEN_LIMIT, client.watch(request)).await {
        Ok(Ok(events)) => Ok((address, events.into_inner())),
        Ok(Err(status)) => {
            life.watch_group.failed(&address, &status);
            Err(format!("{address}: {}", redirect::reason(&status)))
        }
        Err(_) => {
            life.watch_group.silent(&address);
            Err(format!("{address} does not answer"))
        }
    }
}

/// Returns whether the next stream may go on from the copy, rather than read everything.
async fn follow_stream(
    life: &Life,
    address: &str,
    mut events: Streaming<v1::WatchEvent>,
    group: GroupId,
    copy: &mut Topology,
    states: &watch::Sender<Arc<Topology>>,
) -> bool {
    loop {
        let event = tokio::select! {
            biased;
            () = life.rewatch.notified() => {
                tracing::warn!(address, version = %copy.version, "the watch lags behind: connecting anew");
                life.watch_group.silent(address);
                return false;
            }
            event = events.message() => event,
        };
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) => return true,
            Err(status) => {
                life.watch_group.failed(address, &status);
                tracing::debug!(address, why = redirect::reason(&status), "the watch broke");
                return true;
            }
        };
        match follow(copy, event, group) {
            Ok(Some(next)) => {
                *copy = next;
                states.send_replace(Arc::new(copy.clone()));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(address, %error, "a cluster state that cannot be taken over");
                life.watch_group.silent(address);
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::ConfigEpoch;

    const OURS: GroupId = GroupId([1; 16]);

    fn event(index: u64, whole: bool, rows: &[Row]) -> v1::WatchEvent {
        let version = Version { generation: 0, index };
        v1::WatchEvent {
            version: Some((&version).into()),
            whole,
            rows: rows.iter().map(Into::into).collect(),
        }
    }

    fn setting(name: &str) -> Row {
        Row::Setting { name: name.into(), value: "1".into() }
    }

    fn names(topology: &Topology) -> Vec<&str> {
        topology.settings.keys().map(String::as_str).collect()
    }

    #[test]
    fn changes_add_up_and_a_whole_state_replaces_everything() {
        let first = follow(&Topology::default(), event(1, true, &[setting("a")]), OURS).expect("good");
        let first = first.expect("newer");
        let second = follow(&first, event(2, false, &[setting("b")]), OURS).expect("good").expect("newer");
        assert_eq!(names(&second), ["a", "b"]);
        let third = follow(&second, event(5, true, &[setting("c")]), OURS).expect("good").expect("newer");
        assert_eq!(names(&third), ["c"]);
        assert_eq!(third.version.index, 5);
    }

    #[test]
    fn an_old_or_repeated_event_changes_nothing_not_even_a_whole_state_of_a_server_that_lags() {
        let copy = follow(&Topology::default(), event(7, true, &[setting("a")]), OURS).expect("good");
        let copy = copy.expect("newer");
        for old in [event(7, false, &[setting("b")]), event(3, true, &[])] {
            assert_eq!(follow(&copy, old, OURS), Ok(None));
        }
    }

    #[test]
    fn rows_of_unknown_kinds_are_skipped_and_damaged_ones_refuse_the_event() {
        let mut strange = event(1, false, &[setting("a")]);
        strange.rows.push(v1::Row { row: None });
        let copy = follow(&Topology::default(), strange, OURS).expect("good").expect("newer");
        assert_eq!(names(&copy), ["a"]);
        let mut damaged = event(2, false, &[]);
        damaged.rows.push(v1::Row { row: Some(v1::row::Row::NodeGone(Bytes::from_static(b"short"))) });
        assert!(matches!(follow(&copy, damaged, OURS), Err(WatchError::Bad(_))));
        assert!(follow(&copy, v1::WatchEvent::default(), OURS).is_err());
    }

    #[test]
    fn the_state_of_another_group_is_refused() {
        let theirs = GroupId([2; 16]);
        let row = Row::Cluster { group: theirs, config_epoch: ConfigEpoch(1) };
        let error = WatchError::OtherGroup { ours: OURS, theirs };
        assert_eq!(follow(&Topology::default(), event(1, true, &[row]), OURS), Err(error));
    }
}
