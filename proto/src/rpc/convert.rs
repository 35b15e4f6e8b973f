//! Messages to domain types and back, one pair of functions a type.

use super::v1;
use crate::ids::{
    AttemptId, BadId, BatchNumber, ConfigEpoch, GroupId, Incarnation, NodeId, Position, ShardEpoch, ShardId,
    SpawnToken, Version,
};
use crate::slot::Slot;
use crate::topology::{Addresses, EndpointType, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow, SlotRun};
use bytes::Bytes;

/// A message that another version of this program, or no program at all, has sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// A field that must be there is not.
    #[error("message without {0}")]
    Missing(&'static str),
    /// A field that does not hold what it should.
    #[error("{field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A row of a kind that this version does not know: a watcher skips it.
    #[error("a row of a kind that this version does not know")]
    UnknownRow,
}

impl From<BadId> for BadMessage {
    fn from(bad: BadId) -> Self {
        Self::Field { field: bad.what, why: bad.to_string() }
    }
}

fn out(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn narrow<T: TryFrom<u32>>(field: &'static str, number: u32) -> Result<T, BadMessage> {
    T::try_from(number).map_err(|_| BadMessage::Field { field, why: format!("{number} is too large") })
}

macro_rules! both_ways {
    ($domain:ty, $wire:ty, |$d:ident| $to:expr, |$w:ident| $from:expr) => {
        impl From<&$domain> for $wire {
            fn from($d: &$domain) -> Self {
                $to
            }
        }
        impl TryFrom<$wire> for $domain {
            type Error = BadMessage;
            fn try_from($w: $wire) -> Result<Self, BadMessage> {
                $from
            }
        }
    };
}

both_ways!(Version, v1::Version, |d| Self { generation: d.generation, index: d.index }, |w| Ok(Self {
    generation: w.generation,
    index: w.index
}));
both_ways!(Position, v1::Position, |d| Self { epoch: d.epoch.0, batch: d.batch.0 }, |w| Ok(Self {
    epoch: ShardEpoch(w.epoch),
    batch: BatchNumber(w.batch)
}));
both_ways!(Incarnation, v1::Incarnation, |d| Self { counter: d.counter, token: out(&d.token.0) }, |w| Ok(
    Self { counter: w.counter, token: SpawnToken::from_slice(&w.token)? }
));
both_ways!(
    Addresses,
    v1::Addresses,
    |d| Self {
        ip: d.ip.clone(),
        port: d.port.into(),
        peer_port: d.peer_port.into(),
        hostname: d.hostname.clone(),
        preferred: match d.preferred {
            EndpointType::Ip => 0,
            EndpointType::Hostname => 1,
            EndpointType::UnknownEndpoint => 2,
        },
    },
    |w| Ok(Self {
        ip: w.ip,
        port: narrow("port", w.port)?,
        peer_port: narrow("peer port", w.peer_port)?,
        hostname: w.hostname,
        preferred: match w.preferred {
            1 => EndpointType::Hostname,
            2 => EndpointType::UnknownEndpoint,
            // 0, and whatever a later version adds.
            _ => EndpointType::Ip,
        },
    })
);
both_ways!(
    ProcessPlace,
    v1::ProcessPlace,
    |d| Self {
        machine: d.machine.clone(),
        boot: d.boot.clone(),
        pid_namespace: d.pid_namespace,
        folder_device: d.folder.0,
        folder_inode: d.folder.1,
    },
    |w| Ok(Self {
        machine: w.machine,
        boot: w.boot,
        pid_namespace: w.pid_namespace,
        folder: (w.folder_device, w.folder_inode),
    })
);
both_ways!(
    NodeRow,
    v1::NodeRow,
    |d| Self {
        id: out(&d.id.0),
        incarnation: Some((&d.incarnation).into()),
        place: Some((&d.place).into()),
        addresses: Some((&d.addresses).into()),
        shard: d.shard.map(|s| out(&s.0)),
        dead: d.dead,
        whole: d.whole,
        software: d.software.clone(),
    },
    |w| Ok(Self {
        id: NodeId::from_slice(&w.id)?,
        incarnation: w.incarnation.ok_or(BadMessage::Missing("incarnation"))?.try_into()?,
        place: w.place.unwrap_or_default().try_into()?,
        addresses: w.addresses.unwrap_or_default().try_into()?,
        shard: w.shard.as_deref().map(ShardId::from_slice).transpose()?,
        dead: w.dead,
        whole: w.whole,
        software: w.software,
    })
);
both_ways!(
    ShardRow,
    v1::ShardRow,
    |d| {
        let planned = d.phase.planned();
        let forced_by = match &d.phase {
            ShardPhase::Steady | ShardPhase::Planned { .. } => String::new(),
            ShardPhase::Forced { who, .. } => who.clone(),
        };
        Self {
            id: out(&d.id.0),
            number: d.number,
            primary: out(&d.primary.0),
            incarnation: Some((&d.incarnation).into()),
            epoch: d.epoch.0,
            config_epoch: d.config_epoch.0,
            replicas: d.replicas.iter().map(|r| out(&r.0)).collect(),
            planned_attempt: planned.map_or(0, |(attempt, _)| attempt.0),
            planned_candidate: planned.map(|(_, candidate)| out(&candidate.0)),
            last_attempt: d.last_attempt.0,
            floor: d.floor.as_ref().map(Into::into),
            forced_by,
        }
    },
    |w| Ok(Self {
        id: ShardId::from_slice(&w.id)?,
        number: w.number,
        primary: NodeId::from_slice(&w.primary)?,
        incarnation: w.incarnation.ok_or(BadMessage::Missing("incarnation"))?.try_into()?,
        epoch: ShardEpoch(w.epoch),
        config_epoch: ConfigEpoch(w.config_epoch),
        replicas: w.replicas.iter().map(|r| NodeId::from_slice(r)).collect::<Result<_, _>>()?,
        phase: match w.planned_candidate {
            None => ShardPhase::Steady,
            Some(id) => {
                let (attempt, candidate) = (AttemptId(w.planned_attempt), NodeId::from_slice(&id)?);
                match w.forced_by {
                    who if who.is_empty() => ShardPhase::Planned { attempt, candidate },
                    who => ShardPhase::Forced { attempt, candidate, who },
                }
            }
        },
        last_attempt: AttemptId(w.last_attempt),
        floor: w.floor.map(TryInto::try_into).transpose()?,
    })
);
both_ways!(
    SlotRun,
    v1::SlotRun,
    |d| Self {
        first: d.first.number().into(),
        last: d.last.number().into(),
        owner: d.owner.map(|s| out(&s.0)),
    },
    |w| {
        let slot = |field, number| {
            Slot::new(narrow(field, number)?)
                .ok_or(BadMessage::Field { field, why: format!("{number} is no slot") })
        };
        let run = Self {
            first: slot("first slot", w.first)?,
            last: slot("last slot", w.last)?,
            owner: w.owner.as_deref().map(ShardId::from_slice).transpose()?,
        };
        if run.first > run.last {
            return Err(BadMessage::Field {
                field: "slots",
                why: format!("{}-{} runs backwards", w.first, w.last),
            });
        }
        Ok(run)
    }
);
both_ways!(
    Row,
    v1::Row,
    |d| {
        use v1::row::Row as W;
        Self {
            row: Some(match d {
                Row::Node(node) => W::Node(node.into()),
                Row::NodeGone(id) => W::NodeGone(out(&id.0)),
                Row::Shard(shard) => W::Shard(shard.into()),
                Row::ShardGone(id) => W::ShardGone(out(&id.0)),
                Row::Slots(run) => W::Slots(run.into()),
                Row::Setting { name, value } => {
                    W::Setting(v1::Setting { name: name.clone(), value: value.clone() })
                }
                Row::Cluster { group, config_epoch } => {
                    W::Cluster(v1::Cluster { group: out(&group.0), config_epoch: config_epoch.0 })
                }
                Row::Drain { node, on } => W::Drain(v1::Drain { node: out(&node.0), on: *on }),
            }),
        }
    },
    |w| {
        use v1::row::Row as W;
        Ok(match w.row.ok_or(BadMessage::UnknownRow)? {
            W::Node(node) => Self::Node(node.try_into()?),
            W::NodeGone(id) => Self::NodeGone(NodeId::from_slice(&id)?),
            W::Shard(shard) => Self::Shard(shard.try_into()?),
            W::ShardGone(id) => Self::ShardGone(ShardId::from_slice(&id)?),
            W::Slots(run) => Self::Slots(run.try_into()?),
            W::Setting(v1::Setting { name, value }) => Self::Setting { name, value },
            W::Cluster(c) => Self::Cluster {
                group: GroupId::from_slice(&c.group)?,
                config_epoch: ConfigEpoch(c.config_epoch),
            },
            W::Drain(drain) => Self::Drain { node: NodeId::from_slice(&drain.node)?, on: drain.on },
        })
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_row_survives_the_way_over_the_wire() {
        let incarnation = Incarnation { counter: 3, token: SpawnToken([5; 16]) };
        let shard = ShardRow {
            id: ShardId([1; 20]),
            number: 1,
            primary: NodeId([2; 20]),
            incarnation,
            epoch: ShardEpoch(9),
            config_epoch: ConfigEpoch(4),
            replicas: vec![NodeId([3; 20])],
            phase: ShardPhase::Planned { attempt: AttemptId(2), candidate: NodeId([3; 20]) },
            last_attempt: AttemptId(2),
            floor: Some(Position { epoch: ShardEpoch(8), batch: BatchNumber(100) }),
        };
        let forced = ShardPhase::Forced {
            attempt: AttemptId(2),
            candidate: NodeId([3; 20]),
            who: "an operator".into(),
        };
        let forced = ShardRow { phase: forced, ..shard.clone() };
        let node = NodeRow {
            id: NodeId([2; 20]),
            incarnation,
            place: ProcessPlace { machine: "m".into(), boot: "b".into(), pid_namespace: 4, folder: (5, 6) },
            addresses: Addresses {
                ip: "127.0.0.1".into(),
                port: 7000,
                peer_port: 17000,
                hostname: "a.example".into(),
                preferred: EndpointType::Hostname,
            },
            shard: Some(ShardId([1; 20])),
            dead: true,
            whole: true,
            software: "0.1.0".into(),
        };
        let run = SlotRun {
            first: Slot::new(0).expect("a slot"),
            last: Slot::new(16383).expect("a slot"),
            owner: Some(shard.id),
        };
        let rows = [
            Row::Node(node),
            Row::NodeGone(NodeId([2; 20])),
            Row::ShardGone(shard.id),
            Row::Shard(shard),
            Row::Shard(forced),
            Row::Drain { node: NodeId([2; 20]), on: true },
            Row::Slots(run),
            Row::Setting { name: "n".into(), value: "v".into() },
            Row::Cluster { group: GroupId([9; 16]), config_epoch: ConfigEpoch(1) },
        ];
        for row in rows {
            assert_eq!(Row::try_from(v1::Row::from(&row)), Ok(row));
        }
    }

    #[test]
    fn slots_out_of_range_or_backwards_are_refused() {
        let run = |first, last| SlotRun::try_from(v1::SlotRun { first, last, owner: None });
        assert!(run(0, 16384).is_err());
        assert!(run(0, 1 << 20).is_err());
        assert!(run(2, 1).is_err());
        assert!(run(1, 1).is_ok());
    }
}
