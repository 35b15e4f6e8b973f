//! Finished requests by id: what makes a command that is sent again an answer and not a second deed.
//!
//! A ring: the oldest outcome is forgotten when a new one comes in. What is forgotten could be done again; the epochs
//! and incarnations in the command then still stand in the way. It judges no command, it only remembers.

use super::outcome::Outcome;
use capstan_proto::ids::RequestId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How many outcomes are remembered.
pub const REQUESTS_KEPT: u32 = 10_000;

/// The first half of the SHA-256 of a command's body: the same id with another body is another command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest(pub(super) [u8; 16]);

/// One finished request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) request: RequestId,
    pub(super) digest: Digest,
    pub(super) outcome: Outcome,
}

/// The newest finished requests.
///
/// *Invariants:* `index` names every entry of `ring` by `first + position`, and nothing else; `ring` is no longer
/// than `kept`, which is not 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(super) struct Requests {
    kept: u32,
    first: u64,
    ring: VecDeque<Arc<Finished>>,
    index: BTreeMap<RequestId, u64>,
}

/// As it stands in a snapshot.
#[derive(Serialize, Deserialize)]
struct Kept {
    kept: u32,
    ring: Vec<Finished>,
}

impl From<Kept> for Requests {
    fn from(read: Kept) -> Self {
        let mut requests = Self::new(read.kept);
        read.ring.into_iter().for_each(|finished| requests.remember(finished));
        requests
    }
}

impl From<Requests> for Kept {
    fn from(requests: Requests) -> Self {
        let ring = requests.ring.iter().map(|finished| Finished::clone(finished)).collect();
        Self { kept: requests.kept, ring }
    }
}

impl Requests {
    pub(super) fn new(kept: u32) -> Self {
        Self { kept: kept.max(1), first: 0, ring: VecDeque::new(), index: BTreeMap::new() }
    }

    pub(super) fn find(&self, request: &RequestId) -> Option<&Finished> {
        let at = self.index.get(request)?.checked_sub(self.first)?;
        self.ring.get(usize::try_from(at).ok()?).map(AsRef::as_ref)
    }

    /// Remembers an outcome. An id that is known keeps its first one.
    pub(super) fn remember(&mut self, finished: Finished) {
        if self.index.contains_key(&finished.request) {
            return;
        }
        self.index.insert(finished.request, self.first + self.ring.len() as u64);
        self.ring.push_back(Arc::new(finished));
        while self.ring.len() > self.kept as usize {
            if let Some(oldest) = self.ring.pop_front() {
                self.index.remove(&oldest.request);
                self.first += 1;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn limit(&self) -> u32 {
        self.kept
    }

    /// Forgets everything: a planted bug, never a feature.
    pub(super) fn forget_all(&mut self) {
        *self = Self::new(self.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Rejection;
    use super::*;

    fn finished(n: u8) -> Finished {
        let outcome = Outcome::Rejected(Rejection::NoSlots);
        Finished { request: RequestId([n; 16]), digest: Digest([n; 16]), outcome }
    }

    #[test]
    fn the_last_ones_are_found_and_the_oldest_is_forgotten() {
        let mut requests = Requests::new(3);
        (1..=5).for_each(|n| requests.remember(finished(n)));
        assert!(requests.find(&RequestId([2; 16])).is_none());
        for n in 3..=5 {
            assert_eq!(requests.find(&RequestId([n; 16])), Some(&finished(n)));
        }
        assert_eq!((requests.len(), requests.limit()), (3, 3));
    }

    #[test]
    fn an_id_keeps_its_first_outcome() {
        let mut requests = Requests::new(3);
        requests.remember(finished(1));
        requests.remember(Finished { digest: Digest([9; 16]), ..finished(1) });
        assert_eq!(requests.find(&RequestId([1; 16])), Some(&finished(1)));
        assert_eq!(requests.len(), 1);
    }
}
