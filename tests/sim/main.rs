//! The whole failover in virtual time: the shipped meta servers, and the nodes' control path, log and replication, on
//! simulated machines, three shards of two nodes; with kills, restarts, cuts, slow links, clocks that differ, failovers by
//! command, and disks that move while their process lives on.
//!
//! A seed decides everything. Each runs in a process of its own (this test binary, executed again), because what one
//! run leaves behind in a process changes the next. A failure prints its seed and how to replay it:
//! `CAPSTAN_SIM_SEED=N cargo test -p capstan-tests --test sim -- --exact one_seed --nocapture`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // counts, and the story of a failed seed

mod checks;
mod clients;
mod contents;
#[path = "../../cli/src/supervisor/deaths.rs"]
#[allow(dead_code)] // the supervisor itself uses the rest
mod deaths;
mod faults;
mod healed;
mod histogram;
mod ledger;
mod logs;
mod node;
mod operator;
mod plan;
mod process;
mod seams;
mod seeds;
mod stage;
mod world;

use capstan_proto::rules::{Rule, Rules};
use seeds::{Wanted, many, one};

/// How many seeds are run when nobody asks for more; CAPSTAN_SIM_SEEDS changes it, and `.ci/sim` asks for a hundred.
const SEEDS: u64 = 8;

/// From so many seeds on the sums must reach their floors.
const ENOUGH_SEEDS: usize = 100;
/// What so many seeds must have in sum, by the beginning of its name.
const FLOORS: [(&str, u64); 8] = [
    ("promotion: planned", 20),
    ("promotion: forced", 5),
    ("promotion: the end was proved", 20),
    ("promotion: the lease was over", 20),
    ("kill: a primary", 20),
    ("kill: a replica", 20),
    ("kill: the meta leader", 20),
    ("cut: ", 20),
];
/// Commands that so many seeds must have executed.
const EXECUTED_FLOOR: u64 = 10_000;
/// Seeds within which a planted bug must be found.
const BUDGET: u64 = 100;

/// The rules of a run: all, but for the one that CAPSTAN_SIM_WITHOUT names by its number.
fn rules(without: Option<u8>) -> Rules {
    let rule = [
        Rule::DecisionsNameTheirLeader,
        Rule::PromotionIsJudged,
        Rule::LeaderCountsLonger,
        Rule::NewLeaderWaits,
        Rule::StopGrantingFirst,
        Rule::GrantWaitsForVersion,
        Rule::CheckUnderLaneLock,
        Rule::CheckBeforeReply,
        Rule::EpochOpensWithBatch,
        Rule::DeathNeedsProof,
        Rule::AttemptEndsByCommit,
        Rule::MarkerBeginsCopy,
    ]
    .into_iter()
    .find(|rule| Some(*rule as u8) == without);
    rule.map_or(Rules::ALL, |rule| Rules::ALL.without(rule))
}

/// The run of the seed that the environment names; nothing without one.
#[test]
fn one_seed() {
    let Some(wanted) = Wanted::of_environment() else { return };
    let outcome = world::run(wanted.seed, rules(wanted.without), wanted.aloud);
    seeds::hand_over(&outcome);
    assert!(!wanted.aloud || outcome.broken.is_empty(), "{:#?}", outcome.broken);
}

#[test]
fn every_seed_keeps_one_server_loses_nothing_that_is_held_and_heals() {
    let count = std::env::var("CAPSTAN_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let outcomes = many(1..=count, None, |_| false);
    println!("{} seeds of {} virtual seconds", outcomes.len(), plan::RUN_MS / 1000);
    println!("{}", histogram::of(&outcomes));
    let broken: Vec<String> = outcomes.iter().filter_map(seeds::complaint).collect();
    assert!(broken.is_empty(), "{} seeds failed:\n{}", broken.len(), broken.join("\n"));
    assert_eq!(outcomes.len() as u64, count);
    if outcomes.len() < ENOUGH_SEEDS {
        return;
    }
    for (group, floor) in FLOORS {
        let sum = histogram::sum(&outcomes, |name| name.starts_with(group));
        assert!(sum >= floor, "{sum} of '{group}', wanted are {floor}");
    }
    let executed = histogram::sum(&outcomes, |name| name == "executed");
    assert!(executed >= EXECUTED_FLOOR, "{executed} commands executed");
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in [3, 41] {
        let (first, second) = (one(seed, None), one(seed, None));
        assert_eq!(first, second, "seed {seed} ran differently the second time");
    }
}

/// A rule is switched off: some seed notices by a check that speaks of `signs`, and does so again.
fn is_found_and_replays(rule: Rule, signs: &[&str]) {
    let number = rule as u8;
    let outcomes = many(1..=BUDGET, Some(number), |outcome| !outcome.broken.is_empty());
    let found = outcomes.iter().find(|outcome| !outcome.broken.is_empty());
    let found = found.unwrap_or_else(|| panic!("no seed of {BUDGET} notices that ►{number} is off"));
    println!(
        "►{number} switched off: found by seed {}, {} were run: {}",
        found.seed,
        outcomes.len(),
        found.broken[0]
    );
    assert!(signs.iter().any(|sign| found.broken[0].starts_with(sign)), "{:?}", found.broken);
    assert_eq!(*found, one(found.seed, Some(number)), "the seed does not replay");
}

#[test]
fn a_new_meta_leader_that_does_not_wait_is_found_and_replays_from_its_seed() {
    is_found_and_replays(Rule::NewLeaderWaits, &["I4"]);
}

#[test]
fn a_death_that_nobody_has_proved_is_found_and_replays_from_its_seed() {
    // Two servers at once, or a node that lives on and counts as dead for ever.
    is_found_and_replays(Rule::DeathNeedsProof, &["I4", "liveness"]);
}

#[test]
fn a_reply_that_leaves_after_its_lease_is_found_and_replays_from_its_seed() {
    is_found_and_replays(Rule::CheckBeforeReply, &["►9"]);
}

#[test]
fn a_copy_whose_marker_comes_too_late_is_found_and_replays_from_its_seed() {
    is_found_and_replays(Rule::MarkerBeginsCopy, &["lost", "I6"]);
}

/// tokio's `select!` draws from chance that no seed reaches, unless it is `biased`.
#[test]
fn every_choice_on_the_control_path_is_biased() {
    let top =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    let folders = ["proto/src", "meta/src", "node/src/cluster", "node/src/replication", "node/src/log"];
    let mut open: Vec<_> = folders.map(|dir| top.join(dir)).to_vec();
    let (mut looked_at, mut drawn) = (0, Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        for after in text.split("select! {").skip(1) {
            looked_at += 1;
            if !after.trim_start().starts_with("biased;") {
                drawn.push(path.display().to_string());
            }
        }
    }
    assert!(looked_at > 0, "the sources have moved");
    assert_eq!(drawn, Vec::<String>::new());
}
