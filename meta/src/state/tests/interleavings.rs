//! Random interleavings of fresh, stale, duplicate and foreign-leader commands: I1, I2 and I3 hold after each.
//!
//! A failure prints its seed; `CAPSTAN_SEED=<seed>` runs that one alone.

use super::builders::LEADER;
use super::generator::Generator;
use crate::state::{Applied, Body, Command, Done, Outcome, Rejection, State, Switches, invariants};
use capstan_proto::topology::Topology;
use rand::Rng;
use std::collections::{BTreeMap, VecDeque};

const SEEDS: u64 = 60;
const COMMANDS: u64 = 400;
/// How many finished requests these states remember, so that some are forgotten.
const REMEMBERED: u32 = 64;
/// A command is mostly sent again soon after its first time.
const LATELY: usize = 12;

#[derive(Default)]
struct Tally {
    accepted: u64,
    judged: u64,
    by_code: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        self.judged += 1;
        match outcome {
            Outcome::Done { .. } => self.accepted += 1,
            Outcome::Rejected(why) => *self.by_code.entry(why.code()).or_default() += 1,
        }
    }
}

/// A model of the table of finished requests: the newest ones, in the order of their first use.
#[derive(Default)]
struct Memory(VecDeque<(Command, Outcome)>);

impl Memory {
    /// Whether the request was known; an error if its answer is not the one that it must get.
    fn recall(&mut self, command: &Command, outcome: &Outcome) -> Result<bool, String> {
        let Some((first, answer)) = self.0.iter().find(|(first, _)| first.request == command.request) else {
            self.0.push_back((command.clone(), outcome.clone()));
            if self.0.len() > REMEMBERED as usize {
                self.0.pop_front();
            }
            return Ok(false);
        };
        let expected = match first.body == command.body {
            true => answer.clone(),
            false => Outcome::Rejected(Rejection::RequestIdReused),
        };
        match *outcome == expected {
            true => Ok(true),
            false => Err(format!("a known request id was answered otherwise: {outcome:?}, not {expected:?}")),
        }
    }
}

/// One run: the state, what a watcher made of its rows, and everything needed to replay it.
struct Run {
    switches: Switches,
    generator: Generator,
    state: State,
    watcher: Topology,
    /// States that were true once: what a stale proposer still believes.
    seen: Vec<State>,
    log: Vec<(u64, Command)>,
    memory: Memory,
    snapshots: Vec<(usize, Vec<u8>)>,
    tally: Tally,
}

impl Run {
    fn new(seed: u64, switches: Switches) -> Self {
        Self {
            switches,
            generator: Generator::new(seed),
            state: State::remembering(REMEMBERED),
            watcher: Topology::default(),
            seen: vec![State::remembering(REMEMBERED)],
            log: Vec::new(),
            memory: Memory::default(),
            snapshots: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn go(mut self) -> Result<Tally, String> {
        for index in 1..=COMMANDS {
            let command = self.draw();
            let before = self.state.clone();
            let applied = self.state.apply_with(self.switches, index, LEADER, &command);
            self.log.push((index, command.clone()));
            self.check(&before, &command, &applied)
                .map_err(|why| format!("{why}\n  after command {index}: {command:?}\n  -> {applied:?}"))?;
            match &applied.outcome {
                Outcome::Done { done: Done::Batch(outcomes), .. } => {
                    outcomes.iter().for_each(|outcome| self.tally.count(outcome));
                }
                outcome => self.tally.count(outcome),
            }
            if self.generator.rng.gen_ratio(1, 8) {
                self.seen.push(self.state.clone());
            }
            if self.generator.rng.gen_ratio(1, 60) {
                let bytes = self.state.encode_with(self.switches).map_err(|e| e.to_string())?;
                self.snapshots.push((self.log.len(), bytes));
            }
        }
        self.replay()?;
        Ok(self.tally)
    }

    /// A fresh command, a stale one, one that was sent before, or another one under a known id.
    fn draw(&mut self) -> Command {
        if self.log.is_empty() {
            let group = capstan_proto::ids::GroupId([1; 16]);
            return Command {
                leader: None,
                body: Body::Found { group },
                ..self.generator.command(&self.state)
            };
        }
        let rng = &mut self.generator.rng;
        match rng.gen_range(0..10) {
            0 => {
                let lately = rng.gen_range(1..=LATELY.min(self.log.len()));
                self.log[self.log.len() - lately].1.clone()
            }
            1 => self.log[rng.gen_range(0..self.log.len())].1.clone(),
            2 => {
                let lately = rng.gen_range(1..=LATELY.min(self.log.len()));
                let request = self.log[self.log.len() - lately].1.request;
                Command { request, ..self.generator.command(&self.state) }
            }
            3 | 4 => {
                let old = rng.gen_range(0..self.seen.len());
                self.generator.command(&self.seen[old])
            }
            _ => self.generator.command(&self.state),
        }
    }

    fn check(&mut self, before: &State, command: &Command, applied: &Applied) -> Result<(), String> {
        invariants::check(before, &self.state).map_err(|broken| broken.to_string())?;
        self.check_rows(before, command, applied)?;
        self.check_memory(before, command, applied)?;
        let foreign = command.leader.is_some_and(|leader| leader != LEADER);
        match &applied.outcome {
            Outcome::Done { .. } if foreign && !applied.repeated => {
                Err("►2: a decision of another leader was accepted".to_owned())
            }
            Outcome::Done { .. } => Ok(()),
            Outcome::Rejected(_) if !applied.rows.is_empty() => Err("a refusal changed rows".to_owned()),
            Outcome::Rejected(_) if unrequested(&self.state) != unrequested(before) => {
                Err("a refusal changed more than the finished requests".to_owned())
            }
            Outcome::Rejected(_) => Ok(()),
        }
    }

    /// `rows` are exactly what changed: a watcher that takes them over holds the same topology, and none is idle.
    fn check_rows(&mut self, before: &State, command: &Command, applied: &Applied) -> Result<(), String> {
        // In a batch a later command may put back what an earlier one changed.
        let single = !matches!(command.body, Body::Batch(_));
        for row in &applied.rows {
            let was = self.watcher.clone();
            self.watcher.set(row.clone());
            if single && was == self.watcher {
                return Err(format!("a row that changes nothing: {row:?}"));
            }
        }
        if applied.rows.is_empty() != (self.state.version() == before.version()) {
            return Err("the version moves with the rows, and only with them".to_owned());
        }
        self.watcher.version = self.state.version();
        match self.watcher == *self.state.topology() {
            true => Ok(()),
            false => Err("a watcher of the rows holds another topology".to_owned()),
        }
    }

    /// What is sent again is answered again, not done again; the same id with another body is refused.
    fn check_memory(&mut self, before: &State, command: &Command, applied: &Applied) -> Result<(), String> {
        let Body::Batch(members) = &command.body else {
            let known = self.memory.recall(command, &applied.outcome)?;
            return match known && self.state != *before {
                true => Err("a known request id changed the state".to_owned()),
                false => Ok(()),
            };
        };
        match &applied.outcome {
            Outcome::Done { done: Done::Batch(outcomes), .. } if outcomes.len() == members.len() => members
                .iter()
                .zip(outcomes)
                .try_for_each(|(member, outcome)| self.memory.recall(member, outcome).map(|_| ())),
            Outcome::Done { .. } => Err("a batch without an outcome for each member".to_owned()),
            Outcome::Rejected(_) => Ok(()),
        }
    }

    /// I1: the log from empty, and from any snapshot, yields the same bytes.
    fn replay(&self) -> Result<(), String> {
        let encode = |state: &State| state.encode_with(self.switches).map_err(|e| e.to_string());
        let last = encode(&self.state)?;
        let empty = (0, State::remembering(REMEMBERED));
        let decoded = self.snapshots.iter().map(|(from, bytes)| Ok((*from, State::decode(bytes)?)));
        let decoded: Result<Vec<_>, crate::state::BadSnapshot> = decoded.collect();
        for (from, mut state) in decoded.map_err(|e| e.to_string())?.into_iter().chain([empty]) {
            for (index, command) in &self.log[from..] {
                state.apply_with(self.switches, *index, LEADER, command);
            }
            if encode(&state)? != last {
                return Err(format!("I1: a replay from entry {from} yields other bytes"));
            }
        }
        Ok(())
    }
}

/// Everything of a state but its finished requests.
fn unrequested(state: &State) -> State {
    let mut state = state.clone();
    state.requests = crate::state::requests::Requests::new(1);
    state
}

fn seeds() -> Vec<u64> {
    match std::env::var("CAPSTAN_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=SEEDS).collect(),
    }
}

#[test]
fn after_every_command_of_a_random_interleaving_the_invariants_hold_and_replays_are_byte_equal() {
    let mut tally = Tally::default();
    let seeds = seeds();
    for seed in &seeds {
        let run = Run::new(*seed, Switches::default()).go().unwrap_or_else(|why| {
            panic!("seed {seed}: {why}\n  replay: CAPSTAN_SEED={seed} cargo test -p capstan-meta --lib interleaving")
        });
        tally.accepted += run.accepted;
        tally.judged += run.judged;
        for (code, count) in run.by_code {
            *tally.by_code.entry(code).or_default() += count;
        }
    }
    let share = 100 * tally.accepted / tally.judged.max(1);
    println!("{} commands, {share} % accepted, refused: {:?}", tally.judged, tally.by_code);
    if seeds.len() > 1 {
        assert!((30..=70).contains(&share), "{share} % accepted: the generator tests one side only");
        let rare = ["REQUESTIDREUSED", "FOREIGNLEADER", "STALEEPOCH", "STALEINCARNATION", "MUSTWAIT"];
        for code in rare.into_iter().chain(["SLOTBUSY", "ATTEMPTOVER", "NOTFENCED", "NOTWHOLE", "COPYLEFT"]) {
            assert!(tally.by_code.contains_key(code), "no interleaving met {code}");
        }
    }
}

#[cfg(debug_assertions)]
mod nets {
    use super::*;
    use crate::state::{Bug, Planted};
    use capstan_proto::rules::{Rule, Rules};

    /// The first seed that finds it, and what it says.
    fn found_by(switches: Switches) -> Option<(u64, String)> {
        (1..=SEEDS).find_map(|seed| Run::new(seed, switches).go().err().map(|why| (seed, why)))
    }

    #[test]
    fn each_planted_bug_is_found_within_the_budget_of_the_interleavings() {
        let bugs = [
            (Bug::StaleEpochAccepted, "I3"),
            (Bug::OwnedSlotTaken, "I2"),
            (Bug::RequestForgotten, "known request id"),
            (Bug::RequestsNotInSnapshot, "I1"),
        ];
        for (bug, named) in bugs {
            let switches = Switches { planted: Planted::bug(bug), ..Switches::default() };
            let (seed, why) = found_by(switches).unwrap_or_else(|| panic!("{bug:?} was not found"));
            println!("{bug:?}: seed {seed}: {}", why.lines().next().unwrap_or_default());
            assert!(why.contains(named), "{bug:?} was found for another reason: {why}");
        }
    }

    #[test]
    fn without_rule_2_a_decision_of_another_leader_is_accepted_and_found() {
        let rules = Rules::ALL.without(Rule::DecisionsNameTheirLeader);
        let (_, why) = found_by(Switches { rules, ..Switches::default() }).expect("found");
        assert!(why.contains("►2"), "{why}");
    }
}

#[test]
fn the_leader_of_a_batch_stands_for_all_of_it_and_each_member_for_itself() {
    use super::builders::{Bench, OTHER};
    let mut bench = Bench::cluster();
    let set = |value: &str| Body::SetSetting { name: "hold-limit".into(), value: value.into() };
    let ours = bench.command(Some(LEADER), set("500"));
    let theirs = bench.command(Some(OTHER), set("600"));
    let nested = bench.command(None, Body::Batch(vec![ours.clone()]));
    let batch = bench.command(None, Body::Batch(vec![ours.clone(), theirs, nested]));
    let applied = bench.apply(&batch);
    let Outcome::Done { done: Done::Batch(outcomes), .. } = applied.outcome else {
        panic!("a batch is done, whatever its members are")
    };
    assert!(matches!(outcomes[0], Outcome::Done { .. }));
    assert!(matches!(outcomes[1], Outcome::Rejected(Rejection::ForeignLeader { .. })));
    assert!(matches!(outcomes[2], Outcome::Rejected(Rejection::BadBatch { .. })));
    assert_eq!(bench.state.topology().setting("hold-limit"), Some("500"));
    // Sent again alone, the member is answered as it was in the batch.
    let again = bench.apply(&ours);
    assert!(again.repeated && again.rows.is_empty() && again.outcome == outcomes[0]);
    let foreign = bench.command(Some(OTHER), Body::Batch(vec![ours]));
    assert!(matches!(bench.apply(&foreign).outcome, Outcome::Rejected(Rejection::ForeignLeader { .. })));
    let empty = bench.command(None, Body::Batch(Vec::new()));
    assert!(matches!(bench.apply(&empty).outcome, Outcome::Rejected(Rejection::BadBatch { .. })));
}
