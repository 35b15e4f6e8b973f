//! What goes wrong in a run, and when: a pure function of the seed.
//!
//! Swarm: each seed draws which kinds of faults it has at all and how dense they are, so that runs differ in kind. The
//! last part of each run heals: everything is up and connected, and the cluster must come back by itself, every shard with
//! a primary under a lease and a replica that holds the same.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Meta servers.
pub(crate) const METAS: usize = 3;
/// Shards.
pub(crate) const SHARDS: usize = 3;
/// Data nodes, two for each shard; each has a machine and a spare one.
pub(crate) const NODES: usize = 2 * SHARDS;
/// A run lasts so long.
pub(crate) const RUN_MS: u64 = 60_000;
/// Before this the cluster forms.
const FIRST_MS: u64 = 4_000;
/// After this everything heals.
pub(crate) const HEAL_MS: u64 = 44_000;
/// After this no client sends anything, so that the copies of a shard can be compared.
pub(crate) const QUIET_MS: u64 = 58_500;
/// Clocks differ by less than 1 % between any two machines (DESIGN 5, the assumption).
const DRIFT_MAX_PPM: i64 = 4_900;
/// Kinds of faults.
const KINDS: u32 = 19;

/// Which data node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// This one, whatever it is then.
    Node(usize),
    /// Whoever leads this shard then.
    Primary(usize),
}

/// A death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// A meta server's machine loses power.
    Meta { meta: usize, down_ms: u64 },
    /// Whoever leads the meta group loses power.
    Leader { down_ms: u64 },
    /// All meta servers lose power.
    AllMetas { down_ms: u64 },
    /// A data node's worker is killed. Its supervisor tells the meta group, and starts the next. Perhaps the meta leader
    /// dies in the same moment.
    Worker { who: Who, respawn_ms: u64, leader: bool },
    /// A data node's worker and its supervisor are killed: only the next life can prove the end.
    WithSupervisor { who: Who, down_ms: u64 },
    /// A data node's machine loses power: nobody is told anything, and the next boot proves nothing.
    Machine { who: Who, down_ms: u64 },
    /// Both workers of a shard are killed at once.
    Shard { shard: usize, respawn_ms: u64 },
    /// Every server is killed.
    Everything { down_ms: u64 },
}

/// A link that breaks, or is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A data node reaches no meta server, or only this one.
    FromMeta { who: Who, but: Option<usize>, for_ms: u64 },
    /// The nodes of a shard do not reach each other.
    Peers { shard: usize, for_ms: u64 },
    /// A data node reaches nobody.
    Off { who: Who, for_ms: u64 },
    /// A meta server reaches nobody.
    Meta { meta: usize, for_ms: u64 },
    /// Messages between a data node and the meta servers take up to this long.
    Slow { who: Who, latency_ms: u64, for_ms: u64 },
    /// Messages between the nodes of a shard take up to this long.
    SlowPeers { shard: usize, latency_ms: u64, for_ms: u64 },
}

/// Something that goes wrong, or that an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A death.
    Kill(Kill),
    /// A link.
    Cut(Cut),
    /// A data node is cut off and its disk is attached to the spare machine, where the node is started again: the first
    /// process lives on. Perhaps the meta leader dies at about that time.
    MoveNode { node: usize, start_ms: u64, kill_leader_ms: Option<u64>, for_ms: u64 },
    /// An operator changes the lease.
    SetTtl { ms: u64 },
    /// An operator has a shard fail over; forced: whether its replica has caught up or not.
    Failover { shard: usize, forced: bool },
    /// A data node is told to hand over and end (SIGTERM), and is started again.
    HandOver { who: Who, down_ms: u64 },
    /// A primary's worker is killed while an operator has its shard fail over.
    KillInFailover { shard: usize, after_ms: u64 },
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
    let mut kinds: Vec<u32> = (0..KINDS).collect();
    kinds.shuffle(&mut rng);
    kinds.truncate(rng.gen_range(4..=KINDS as usize));
    let pause = rng.gen_range(1_200..5_000);
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
    let (meta, node, shard) = (rng.gen_range(0..METAS), rng.gen_range(0..NODES), rng.gen_range(0..SHARDS));
    let who = if rng.gen_bool(0.6) { Who::Primary(shard) } else { Who::Node(node) };
    let down_ms = *[50, 400, 1_500, 4_000, 8_000].choose(rng).unwrap_or(&400);
    let for_ms = rng.gen_range(200..9_000);
    let respawn_ms = rng.gen_range(10..400);
    match kind {
        0 => Fault::Kill(Kill::Meta { meta, down_ms }),
        1 => Fault::Kill(Kill::Leader { down_ms }),
        2 => Fault::Kill(Kill::AllMetas { down_ms }),
        3 => Fault::Kill(Kill::Worker { who, respawn_ms, leader: rng.gen_bool(0.25) }),
        4 => Fault::Kill(Kill::WithSupervisor { who, down_ms }),
        5 => Fault::Kill(Kill::Machine { who, down_ms }),
        6 => Fault::Kill(Kill::Shard { shard, respawn_ms }),
        7 => Fault::Kill(Kill::Everything { down_ms }),
        8 => Fault::Cut(Cut::FromMeta { who, but: rng.gen_bool(0.3).then_some(meta), for_ms }),
        9 => Fault::Cut(Cut::Peers { shard, for_ms }),
        10 => Fault::Cut(Cut::Off { who, for_ms }),
        11 => Fault::Cut(Cut::Meta { meta, for_ms }),
        12 => Fault::Cut(Cut::Slow { who, latency_ms: rng.gen_range(20..800), for_ms }),
        13 => Fault::Cut(Cut::SlowPeers { shard, latency_ms: rng.gen_range(20..800), for_ms }),
        14 => Fault::SetTtl { ms: rng.gen_range(3_000..7_000) },
        15 => Fault::Failover { shard, forced: rng.gen_bool(0.3) },
        16 => Fault::HandOver { who, down_ms },
        17 => Fault::KillInFailover { shard, after_ms: rng.gen_range(0..30) },
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
        all.iter().map(|fault| format!("{fault:?}").split([' ', '{']).next().map(str::to_owned)).collect();
    assert_eq!(kinds.len(), KINDS as usize, "every kind of fault comes up");
}
