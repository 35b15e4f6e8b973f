//! What goes wrong in a run, and when: a pure function of the seed.
//!
//! Swarm: each seed draws which kinds of faults it has at all and how dense they are, so that runs differ in kind. The
//! last part of each run heals: everything is up and connected, and the cluster must come back by itself.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Meta servers.
pub(crate) const METAS: usize = 3;
/// Data nodes; each has a machine and a spare one.
pub(crate) const NODES: usize = 3;
/// A run lasts so long.
pub(crate) const RUN_MS: u64 = 60_000;
/// Before this the cluster forms.
const FIRST_MS: u64 = 4_000;
/// After this everything heals.
pub(crate) const HEAL_MS: u64 = 46_000;
/// Clocks differ by less than 1 % between any two machines (DESIGN 5, the assumption).
const DRIFT_MAX_PPM: i64 = 4_900;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A meta server's machine loses power.
    KillMeta { meta: usize, down_ms: u64 },
    /// Whoever leads the meta group loses power.
    KillLeader { down_ms: u64 },
    /// All meta servers lose power.
    KillAllMetas { down_ms: u64 },
    /// A data node's process is killed and started again on its machine.
    KillNode { node: usize, down_ms: u64 },
    /// A data node reaches no meta server, or only this one.
    CutNode { node: usize, but: Option<usize>, for_ms: u64 },
    /// A meta server reaches nobody.
    CutMeta { meta: usize, for_ms: u64 },
    /// Messages between a data node and the meta servers take up to this long.
    SlowNode { node: usize, latency_ms: u64, for_ms: u64 },
    /// A data node is cut off and its disk is attached to the spare machine, where the node is started again: the first
    /// process lives on. Perhaps the meta leader dies at about that time.
    MoveNode { node: usize, start_ms: u64, kill_leader_ms: Option<u64>, for_ms: u64 },
    /// An operator changes the lease.
    SetTtl { ms: u64 },
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Faults by the millisecond in which they begin.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Of the machines, in the order of the world.
    pub(crate) drifts_ppm: Vec<i64>,
}

/// The run of a seed.
pub(crate) fn plan(seed: u64) -> Plan {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut kinds: Vec<u32> = (0..9).collect();
    kinds.shuffle(&mut rng);
    kinds.truncate(rng.gen_range(3..=9));
    let pause = rng.gen_range(1_500..6_000);
    let mut faults = Vec::new();
    let mut at = FIRST_MS + rng.gen_range(0..pause);
    while at < HEAL_MS {
        let kind = kinds[rng.gen_range(0..kinds.len())];
        faults.push((at, fault(kind, &mut rng)));
        at += rng.gen_range(pause / 4..pause * 2);
    }
    let machines = METAS + 2 * NODES;
    let drifts_ppm = (0..machines).map(|_| rng.gen_range(-DRIFT_MAX_PPM..=DRIFT_MAX_PPM)).collect();
    Plan { faults, drifts_ppm }
}

fn fault(kind: u32, rng: &mut SmallRng) -> Fault {
    let (meta, node) = (rng.gen_range(0..METAS), rng.gen_range(0..NODES));
    let down_ms = *[50, 400, 1_500, 4_000, 8_000].choose(rng).unwrap_or(&400);
    let for_ms = rng.gen_range(200..9_000);
    match kind {
        0 => Fault::KillMeta { meta, down_ms },
        1 => Fault::KillLeader { down_ms },
        2 => Fault::KillAllMetas { down_ms },
        3 => Fault::KillNode { node, down_ms },
        4 => Fault::CutNode { node, but: rng.gen_bool(0.3).then_some(meta), for_ms },
        5 => Fault::CutMeta { meta, for_ms },
        6 => Fault::SlowNode { node, latency_ms: rng.gen_range(20..800), for_ms },
        7 => Fault::SetTtl { ms: rng.gen_range(3_000..7_000) },
        _ => Fault::MoveNode {
            node,
            start_ms: rng.gen_range(10..1_500),
            kill_leader_ms: rng.gen_bool(0.6).then(|| rng.gen_range(0..1_500)),
            for_ms: rng.gen_range(4_000..12_000),
        },
    }
}

#[test]
fn a_seed_is_always_the_same_run_and_runs_differ() {
    assert_eq!(plan(7).faults, plan(7).faults);
    assert_ne!(plan(7).faults, plan(8).faults);
    let all: Vec<Fault> = (0..100).flat_map(|seed| plan(seed).faults).map(|(_, fault)| fault).collect();
    let kinds: std::collections::BTreeSet<_> =
        all.iter().map(std::mem::discriminant).map(|d| format!("{d:?}")).collect();
    assert_eq!(kinds.len(), 9, "every kind of fault comes up");
}
