//! What was written, and which of it a new primary must have.
//!
//! Every written value is a number that grows over the whole run, so a key that shows an older one has lost a write. A
//! write is *held* by a replica once its primary has counted the replica's acknowledgement, or was taken by the socket of
//! a level replica over a link that nothing has happened to, a moment before: whatever kind of failover then makes that
//! very process the primary, the write is there. What else was acknowledged and is gone is counted: a planned failover
//! may lose none of that either (I10), the others may (DESIGN 8, asynchronous).

use capstan_proto::ids::{Incarnation, NodeId, ShardEpoch, ShardId};
use std::collections::BTreeMap;

/// One process of a node, as the cluster knows it.
pub(crate) type Life = (NodeId, Incarnation);

#[derive(Debug, Clone, Copy)]
struct Written {
    serial: u64,
    /// The batch that holds it.
    batch: u64,
    acknowledged: bool,
}

#[derive(Debug, Default)]
struct Shard {
    epoch: ShardEpoch,
    written: BTreeMap<String, Written>,
    /// Up to which batch each replica must have everything.
    held: BTreeMap<Life, u64>,
}

/// A promotion as its new primary began with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Which shard, by its number.
    pub(crate) number: u32,
    /// Which epoch it opened.
    pub(crate) epoch: ShardEpoch,
    /// The process.
    pub(crate) by: String,
    /// It has held a complete copy in this life.
    pub(crate) whole: bool,
    /// Acknowledged writes that it does not have.
    pub(crate) lost: u64,
}

/// A new primary and what it begins with.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    /// The shard.
    pub(crate) shard: ShardId,
    /// Its number.
    pub(crate) number: u32,
    /// The epoch.
    pub(crate) epoch: ShardEpoch,
    /// The process.
    pub(crate) by: &'a str,
    /// As the cluster knows it.
    pub(crate) life: Life,
    /// It has held a complete copy in this life.
    pub(crate) whole: bool,
    /// The last batch of its log.
    pub(crate) batch: u64,
    /// The numbers that it has under the keys that count.
    pub(crate) contents: &'a BTreeMap<String, u64>,
}

/// All shards.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    shards: BTreeMap<ShardId, Shard>,
    /// Every epoch after a shard's first, in the order seen.
    pub(crate) opened: Vec<Opened>,
    /// Writes that clients were told of.
    pub(crate) acknowledged: u64,
}

impl Ledger {
    /// A process leads a shard in an epoch from now on. Says what it should have and has not.
    pub(crate) fn opens(&mut self, opening: &Opening<'_>) -> Option<String> {
        let shard = self.shards.entry(opening.shard).or_default();
        if opening.epoch <= shard.epoch {
            return None;
        }
        let held = shard.held.get(&opening.life).copied().unwrap_or(0);
        let (mut missing, mut lost) = (Vec::new(), 0);
        for (key, written) in &shard.written {
            let there = opening.contents.get(key).copied().unwrap_or(0);
            if there >= written.serial {
                continue;
            }
            lost += u64::from(written.acknowledged);
            if written.batch <= held && held > 0 {
                missing
                    .push(format!("{key} = {} of batch {}, it has {there}", written.serial, written.batch));
            }
        }
        if shard.epoch > ShardEpoch(0) {
            let Opening { number, epoch, by, whole, .. } = *opening;
            self.opened.push(Opened { number, epoch, by: by.to_owned(), whole, lost });
        }
        let entry = |(key, &serial): (&String, &u64)| {
            (key.clone(), Written { serial, batch: opening.batch, acknowledged: true })
        };
        let written = opening.contents.iter().map(entry).collect();
        *shard = Shard { epoch: opening.epoch, written, held: BTreeMap::new() };
        let first = missing.first()?;
        Some(format!(
            "lost: {} opens epoch {} of shard {} without {} writes up to batch {held} that it held: {first}",
            opening.by,
            opening.epoch,
            opening.number,
            missing.len()
        ))
    }

    /// A write was executed.
    pub(crate) fn wrote(
        &mut self,
        shard: ShardId,
        epoch: ShardEpoch,
        key: &str,
        (serial, batch): (u64, u64),
    ) {
        if let Some(shard) = self.shards.get_mut(&shard).filter(|shard| shard.epoch == epoch) {
            shard.written.insert(key.to_owned(), Written { serial, batch, acknowledged: false });
        }
    }

    /// A client was told of it.
    pub(crate) fn acknowledged(&mut self, shard: ShardId, epoch: ShardEpoch, key: &str, serial: u64) {
        self.acknowledged += 1;
        let shard = self.shards.get_mut(&shard).filter(|shard| shard.epoch == epoch);
        let written = shard.and_then(|shard| shard.written.get_mut(key));
        if let Some(written) = written.filter(|written| written.serial == serial) {
            written.acknowledged = true;
        }
    }

    /// A read was executed; says what it should have seen.
    pub(crate) fn read(&self, shard: ShardId, epoch: ShardEpoch, key: &str, seen: u64) -> Option<String> {
        let shard = self.shards.get(&shard).filter(|shard| shard.epoch == epoch)?;
        let written = shard.written.get(key).map_or(0, |written| written.serial);
        (written != seen)
            .then(|| format!("a read of {key} in epoch {epoch} saw {seen}, written was {written}"))
    }

    /// A replica must have everything up to a batch.
    pub(crate) fn holds(&mut self, shard: ShardId, epoch: ShardEpoch, life: Life, batch: u64) {
        if let Some(shard) = self.shards.get_mut(&shard).filter(|shard| shard.epoch == epoch) {
            let held = shard.held.entry(life).or_default();
            *held = (*held).max(batch);
        }
    }

    /// The epoch that a shard has reached.
    pub(crate) fn epoch(&self, shard: ShardId) -> ShardEpoch {
        self.shards.get(&shard).map(|shard| shard.epoch).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::SpawnToken;

    const SHARD: ShardId = ShardId([1; 20]);

    fn life(byte: u8) -> Life {
        (NodeId([byte; 20]), Incarnation { counter: 1, token: SpawnToken([byte; 16]) })
    }

    fn open(ledger: &mut Ledger, epoch: u64, byte: u8, contents: &[(&str, u64)]) -> Option<String> {
        let contents = contents.iter().map(|(key, serial)| ((*key).to_owned(), *serial)).collect();
        ledger.opens(&Opening {
            shard: SHARD,
            number: 1,
            epoch: ShardEpoch(epoch),
            by: "n",
            life: life(byte),
            whole: true,
            batch: 9,
            contents: &contents,
        })
    }

    #[test]
    fn what_a_replica_held_must_be_there_and_what_it_did_not_hold_is_counted() {
        for (held, complains) in [(1, false), (2, true)] {
            let mut ledger = Ledger::default();
            assert_eq!(open(&mut ledger, 1, 1, &[]), None);
            for (key, serial, batch) in [("a", 5, 1), ("b", 6, 2)] {
                ledger.wrote(SHARD, ShardEpoch(1), key, (serial, batch));
                ledger.acknowledged(SHARD, ShardEpoch(1), key, serial);
            }
            ledger.holds(SHARD, ShardEpoch(1), life(2), held);
            assert_eq!(open(&mut ledger, 2, 2, &[("a", 5)]).is_some(), complains);
            assert_eq!((ledger.opened.len(), ledger.opened[0].lost), (1, 1));
        }
    }

    #[test]
    fn what_a_new_primary_began_with_must_be_at_the_next() {
        let mut ledger = Ledger::default();
        assert_eq!(open(&mut ledger, 1, 1, &[("a", 3)]), None);
        ledger.holds(SHARD, ShardEpoch(1), life(2), 9);
        assert!(open(&mut ledger, 2, 2, &[]).is_some());
        assert_eq!(open(&mut ledger, 2, 3, &[]), None, "an epoch is opened once");
    }

    #[test]
    fn a_read_sees_the_last_write_of_its_epoch() {
        let mut ledger = Ledger::default();
        assert_eq!(open(&mut ledger, 1, 1, &[]), None);
        ledger.wrote(SHARD, ShardEpoch(1), "a", (4, 1));
        assert_eq!(ledger.read(SHARD, ShardEpoch(1), "a", 4), None);
        assert!(ledger.read(SHARD, ShardEpoch(1), "a", 3).is_some());
        assert_eq!(ledger.read(SHARD, ShardEpoch(2), "a", 3), None, "another epoch's ledger says nothing");
    }
}
