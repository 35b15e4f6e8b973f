//! What can happen next in the model.

use super::committed::Committed;
use super::world::{A, Bounds, Process, Story, World};
use capstan_meta::state::Switches;
use stateright::{Model, Property};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Time,
    /// A heartbeat of a process reaches the newest leader. If the quorum confirms that, it is answered and the answer
    /// arrives; else the leader has only heard it.
    Beat {
        process: usize,
        answered: bool,
    },
    /// A process learns the committed state, and every lane of it is locked once.
    Learn {
        process: usize,
    },
    /// The newest leader plans, and does what comes out of it up to the proposal.
    Look,
    /// What the newest leader has proposed is committed.
    Commit,
    /// A proposal of a leader that lost its office is committed after all, if Raft still lets it.
    CommitLate {
        which: usize,
    },
    /// The next leader. What the old one had proposed is on its way.
    Elect,
    Die {
        process: usize,
    },
    /// A supervisor's word about a process that has ended is committed.
    Dead {
        process: usize,
    },
    /// A late duplicate of a supervisor's word about the life before this one.
    DeadLate {
        process: usize,
    },
    /// The next life in the same folder, after the old process has ended.
    Restart {
        process: usize,
    },
    /// A copy of the folder is started elsewhere while the old process may go on.
    Copy {
        process: usize,
    },
    /// A life registers: with proof, or because the newest leader counts the old lease as over, or without either.
    Register {
        process: usize,
    },
    Write {
        process: usize,
    },
    Replicate,
    Begin,
    HandOver {
        process: usize,
    },
    /// Only without ►14 on the node: it lets its clients go because time has passed.
    LetGo {
        process: usize,
    },
}

pub(super) struct Failover {
    pub(super) bounds: Bounds,
    pub(super) committed: Committed,
}

impl Failover {
    pub(super) fn new(bounds: Bounds) -> Self {
        let switches = Switches { rules: bounds.meta, ..Switches::default() };
        Self { bounds, committed: Committed::new(switches) }
    }

    fn deaths(&self, world: &World, number: usize, steps: &mut Vec<Step>) {
        let process = &world.processes[number];
        let later = |other: &Process| other.node == process.node && other.incarnation > process.incarnation;
        let newest = !world.processes.iter().any(later);
        if process.runs && newest && !process.copied && world.deaths < self.bounds.deaths {
            steps.push(Step::Die { process: number });
        }
        if !process.runs {
            steps.push(Step::Dead { process: number });
        }
        if newest && world.processes.len() < 2 + self.bounds.lives {
            if !process.runs {
                steps.push(Step::Restart { process: number });
            }
            if process.node == A && process.incarnation.counter == 1 {
                steps.push(Step::Copy { process: number });
            }
        }
        if process.runs && process.incarnation.counter > 1 {
            steps.push(Step::Register { process: number });
            let before = |other: &&Process| {
                other.node == process.node && other.incarnation.counter + 1 == process.incarnation.counter
            };
            if world.processes.iter().filter(before).all(|other| !other.runs) {
                steps.push(Step::DeadLate { process: number });
            }
        }
    }

    fn attempts(&self, world: &World, number: usize, steps: &mut Vec<Step>) {
        let process = &world.processes[number];
        if process.serves(world.now()) && world.acknowledged < self.bounds.writes {
            steps.push(Step::Write { process: number });
        }
        if process.hold.is_some_and(|hold| !hold.handed_over) {
            steps.push(Step::HandOver { process: number });
        }
        if process.hold.is_some() {
            steps.push(Step::LetGo { process: number });
        }
    }
}

impl Model for Failover {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::start(&self.bounds, &self.committed)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.time < self.bounds.time {
            steps.push(Step::Time);
        }
        for (number, process) in world.processes.iter().enumerate() {
            if process.runs && process.beats < self.bounds.beats {
                let beat = |answered| Step::Beat { process: number, answered };
                steps.push(beat(false));
                // Who claims nothing is granted nothing: whether it is answered makes no difference.
                steps.extend(process.lease.claim().map(|_| beat(true)));
            }
            if process.runs && process.knows != world.state {
                steps.push(Step::Learn { process: number });
            }
            match self.bounds.story {
                Story::Deaths => self.deaths(world, number, steps),
                Story::Attempts => self.attempts(world, number, steps),
            }
        }
        let present = &world.leaders[world.leaders.len() - 1];
        steps.push(Step::Look);
        if present.pending.is_some() {
            steps.push(Step::Commit);
        }
        if world.leaders.len() < self.bounds.leaders {
            steps.push(Step::Elect);
        }
        steps.extend((0..world.late.len()).map(|which| Step::CommitLate { which }));
        if self.bounds.story == Story::Attempts {
            steps.push(Step::Replicate);
            if world.begun < self.bounds.attempts {
                steps.push(Step::Begin);
            }
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        self.take(&mut world, step)?;
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = Property::always;
        let mut properties = vec![
            always("I4", |_: &Self, world: &World| world.one_server_at_a_time()),
            always("whole", |_: &Self, world: &World| world.copies_are_whole()),
            always("I10", |_: &Self, world: &World| world.nothing_is_lost()),
            Property::sometimes("the first primary serves", |_: &Self, world: &World| served_by(world, 0)),
        ];
        // It takes its first beat to be chosen and a second one to get its lease.
        if self.bounds.beats > 1 {
            properties.push(Property::sometimes("the replica serves", |_: &Self, world: &World| {
                served_by(world, 1)
            }));
        }
        if self.bounds.story == Story::Deaths && self.bounds.lives > 0 {
            properties.push(Property::sometimes("a next life serves", |_: &Self, world: &World| {
                served_by(world, 2)
            }));
            properties
                .push(Property::sometimes("the loss is said", |_: &Self, world: &World| world.loss_said));
        }
        if self.bounds.story == Story::Attempts {
            properties.push(Property::sometimes("it is handed over", |_: &Self, world: &World| {
                world.planned && world.acknowledged > 0 && served_by(world, 1)
            }));
        }
        properties
    }
}

fn served_by(world: &World, process: usize) -> bool {
    world.processes.get(process).is_some_and(|process| process.serves(world.now()))
}
