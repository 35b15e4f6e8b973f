//! Runs of seeds in processes of their own, as many at once as there are cores.

use crate::stage::Outcome;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const SEED: &str = "CAPSTAN_SIM_SEED";
const WITHOUT: &str = "CAPSTAN_SIM_WITHOUT";
/// Set by the parent: the outcome is handed over as a line, and nothing else is printed.
const CHILD: &str = "CAPSTAN_SIM_CHILD";
/// Before the outcome.
const MARK: &str = "OUTCOME ";

/// What a process is asked to run.
pub(crate) struct Wanted {
    /// The seed.
    pub(crate) seed: u64,
    /// The number of a rule that is off.
    pub(crate) without: Option<u8>,
    /// A person asked: tell the story.
    pub(crate) aloud: bool,
}

impl Wanted {
    /// As the environment says.
    pub(crate) fn of_environment() -> Option<Self> {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let without = number(WITHOUT).and_then(|rule| u8::try_from(rule).ok());
        Some(Self { seed: number(SEED)?, without, aloud: std::env::var_os(CHILD).is_none() })
    }
}

/// Gives an outcome to the parent process.
pub(crate) fn hand_over(outcome: &Outcome) {
    println!("\n{MARK}{}", serde_json::to_string(outcome).expect("plain data"));
}

/// What to say of an outcome in which something does not hold.
pub(crate) fn complaint(outcome: &Outcome) -> Option<String> {
    let first = outcome.broken.first()?;
    let seed = outcome.seed;
    Some(format!(
        "seed {seed}: {first}\n    replay: {SEED}={seed} cargo test -p capstan-tests --test sim -- --exact one_seed --nocapture"
    ))
}

/// Runs one seed.
pub(crate) fn one(seed: u64, without: Option<u8>) -> Outcome {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "one_seed", "--nocapture", "--test-threads", "1"]).stdin(Stdio::null());
    command.env(SEED, seed.to_string()).env(CHILD, "1").env_remove(WITHOUT);
    if let Some(rule) = without {
        command.env(WITHOUT, rule.to_string());
    }
    let output = command.output().expect("this binary runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(MARK));
    let line = line.unwrap_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("seed {seed} ended without an outcome ({}):\n{text}\n{said}", output.status)
    });
    serde_json::from_str(line).expect("an outcome")
}

/// Runs seeds side by side, until all are done or one is enough.
pub(crate) fn many(
    seeds: RangeInclusive<u64>,
    without: Option<u8>,
    enough: fn(&Outcome) -> bool,
) -> Vec<Outcome> {
    let (next, last) = (AtomicU64::new(*seeds.start()), *seeds.end());
    let (stop, outcomes) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    let outcome = one(seed, without);
                    if enough(&outcome) {
                        stop.store(true, Ordering::Relaxed);
                    }
                    outcomes.lock().expect("no panic holds it").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no panic holds it");
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}
