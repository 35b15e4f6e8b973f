//! What can happen next in the model, and what it changes.
//!
//! Every decision about a lease is a call into the product's two pure files. What is modelled is the world around them:
//! time, loss, delay, repetition, elections, and a log that commits a leader's proposal or loses it with the leader.

use super::world::{
    A, B, Beat, Bounds, Command, Owner, Reply, Rows, SHARD, Story, TTL, World, life, stream, version,
};
use capstan_meta::lease::{Heartbeat, Read, Verdict};
use capstan_node::cluster::lease::{Grant, Lead};
use stateright::{Model, Property};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    BigTime,
    TinyTime,
    Send {
        process: usize,
        to: usize,
    },
    Arrive {
        beat: usize,
    },
    /// The round begins and the quorum confirms the leader; its state is what is applied now.
    Read {
        leader: usize,
    },
    /// The leader hears of it, possibly long after, and answers.
    Answer {
        leader: usize,
    },
    Receive {
        reply: usize,
    },
    Learn {
        process: usize,
    },
    EveryLaneLocked {
        process: usize,
    },
    /// Only where the check is not made in the lane.
    LetIn {
        process: usize,
    },
    /// A's process ends and its next life starts in the same folder, or a copy starts while it goes on.
    SecondLife {
        proof: bool,
    },
    Propose {
        leader: usize,
        command: Command,
    },
    Commit {
        leader: usize,
    },
    /// The next leader; what the old one had proposed is lost (the other outcome is `Commit` just before).
    Elect,
}

pub(super) struct Leases {
    pub(super) bounds: Bounds,
}

impl Leases {
    fn commands(&self, world: &World) -> Vec<Command> {
        let rows = world.rows();
        if world.history.len() > self.bounds.commits {
            return Vec::new();
        }
        match self.bounds.story {
            Story::Take => match rows.owner {
                Owner::Shard => vec![Command::Revoke],
                Owner::Revoked => vec![Command::Take],
                Owner::Other => vec![],
            },
            Story::Promote => {
                let mut next = Vec::new();
                if world.processes.len() > 2 && rows.life_of_a == 1 {
                    next.push(Command::Register(2));
                }
                for (to, life) in [(A, rows.registered(A)), (B, life(1))] {
                    if (to, life) != (rows.primary, rows.promoted) {
                        next.push(Command::Promote { to, life, expected: rows.epoch });
                    }
                }
                next
            }
        }
    }

    /// What a leader checks before it proposes: `stop` of the product's table, unless the end is known otherwise.
    fn permitted(&self, world: &mut World, leader: usize, command: Command) -> bool {
        let now = world.now_of_leaders();
        let rows = world.rows().clone();
        let first_life_ended = !world.processes[0].runs;
        let table = &mut world.leaders[leader].table;
        match command {
            Command::Revoke => true,
            Command::Take => {
                // Confirmed by the primary at the version of `Revoke`, or its lease is over.
                let revoked = version(world.history.len() - 1);
                table.confirmed(rows.primary, rows.promoted) >= revoked
                    || table.stop(rows.holder(), TTL, now).is_ok()
            }
            // Proved by the folder's lock (►13), or the old life's lease is over wherever it leads.
            Command::Register(_) if first_life_ended => true,
            Command::Register(_) if rows.primary != A => true,
            Command::Register(_) => table.stop(rows.holder(), TTL, now).is_ok(),
            // A life that is not the registered one is over: that is what its registration waited for (►13).
            Command::Promote { .. } if rows.registered(rows.primary) != rows.promoted => {
                table.stop_ended(rows.holder());
                true
            }
            Command::Promote { .. } => table.stop(rows.holder(), TTL, now).is_ok(),
        }
    }

    fn commit(&self, world: &mut World, leader: usize) -> Option<()> {
        let command = world.leaders[leader].proposed.take()?;
        let old = world.rows().clone();
        let mut rows = old.clone();
        let fits = match command {
            Command::Register(counter) => {
                rows.life_of_a = counter;
                counter == old.life_of_a + 1
            }
            Command::Promote { to, life, expected } => {
                rows = Rows { primary: to, promoted: life, epoch: expected.next(), ..rows };
                old.epoch == expected && old.registered(to) == life
            }
            Command::Revoke => {
                rows.owner = Owner::Revoked;
                old.owner == Owner::Shard
            }
            Command::Take => {
                rows.owner = Owner::Other;
                old.owner == Owner::Revoked
            }
        };
        if fits {
            world.history.push(rows);
        }
        let known = version(world.history.len() - 1);
        // Rejected, or the holder is still what it was: the leader grants again (►6).
        world.leaders[leader].table.resume(old.holder(), known);
        Some(())
    }

    fn answer(&self, world: &mut World, leader: usize) -> Option<()> {
        let now = world.now_of_leaders();
        let story = self.bounds.story;
        let (round, index) = world.leaders[leader].read.take()?;
        let rows = world.history[index].clone();
        let read = Read { version: version(index), ttl: TTL };
        let table = &mut world.leaders[leader].table;
        let answers = table.round_confirmed(round, read, |node| Some(rows.standing(story, node)), now);
        for answer in answers {
            let Verdict::Granted(grant) = answer.verdict else { continue };
            let from = (0..world.processes.len()).find(|p| stream(*p, leader).0 == answer.stream)?;
            let lead = Lead { shard: grant.holder.shard, epoch: grant.holder.epoch };
            world.replies.insert(Reply {
                to: from,
                stream: stream(from, leader).1,
                sequence: answer.sequence,
                grant: Grant {
                    node: grant.holder.node,
                    incarnation: grant.holder.incarnation,
                    lead,
                    duration: grant.duration,
                    version: grant.version,
                },
            });
        }
        Some(())
    }

    fn send(world: &mut World, from: usize, to: usize) {
        let now = world.now();
        let (id, number) = stream(from, to);
        let process = &mut world.processes[from];
        process.sent += 1;
        let sequence = process.lease.send(number, now);
        let heartbeat = Heartbeat {
            stream: id,
            sequence,
            node: process.node,
            incarnation: process.incarnation,
            claim: process.lease.claim().map(|lead| (lead.shard, lead.epoch)),
            confirmed: process.lease.confirmed(),
        };
        world.beats.push(Beat { to, heartbeat, arrived: 0 });
    }

    fn steps_of_processes(&self, world: &World, steps: &mut Vec<Step>) {
        for (number, process) in world.processes.iter().enumerate().filter(|(_, p)| p.runs) {
            // Two that change nothing are left out: a heartbeat to a leader that cannot confirm itself any more, and
            // one that claims no shard (in *take*: one of B).
            let useful = process.lease.claim().is_some_and(|lead| lead.shard == SHARD);
            if useful && process.sent < self.bounds.heartbeats {
                steps.push(Step::Send { process: number, to: world.leaders.len() - 1 });
            }
            let reached = process.lease.reached();
            if process.lanes.is_some_and(|index| version(index) < reached)
                || (process.lanes.is_none() && reached.index > 0)
            {
                steps.push(Step::EveryLaneLocked { process: number });
            } else if (reached.index as usize) < world.history.len() {
                steps.push(Step::Learn { process: number });
            }
            if !self.bounds.checked_in_lane && !process.let_in && world.lets_in(&self.bounds, process) {
                steps.push(Step::LetIn { process: number });
            }
        }
    }

    fn steps_of_leaders(&self, world: &World, steps: &mut Vec<Step>) {
        let present = world.leaders.len() - 1;
        for (number, leader) in world.leaders.iter().enumerate() {
            if leader.read.is_some() {
                steps.push(Step::Answer { leader: number });
            } else if number == present && leader.rounds < self.bounds.rounds {
                steps.push(Step::Read { leader: number });
            }
        }
        match world.leaders[present].proposed {
            Some(_) => steps.push(Step::Commit { leader: present }),
            None => {
                let propose = |command| Step::Propose { leader: present, command };
                steps.extend(self.commands(world).into_iter().map(propose));
            }
        }
        if world.leaders.len() < self.bounds.leaders {
            steps.push(Step::Elect);
        }
    }
}

impl Model for Leases {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::start(&self.bounds)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.big < self.bounds.big {
            steps.push(Step::BigTime);
        }
        if world.tiny < self.bounds.tiny {
            steps.push(Step::TinyTime);
        }
        if self.bounds.second_life && world.processes.len() == 2 {
            steps.extend([Step::SecondLife { proof: true }, Step::SecondLife { proof: false }]);
        }
        self.steps_of_processes(world, steps);
        self.steps_of_leaders(world, steps);
        let late = world.beats.iter().enumerate().filter(|(_, beat)| beat.arrived < self.bounds.arrivals);
        steps.extend(late.map(|(beat, _)| Step::Arrive { beat }));
        steps.extend((0..world.replies.len()).map(|reply| Step::Receive { reply }));
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::BigTime => world.big += 1,
            Step::TinyTime => world.tiny += 1,
            Step::Send { process, to } => Self::send(&mut world, process, to),
            Step::Arrive { beat } => {
                let now = world.now_of_leaders();
                let beat = &mut world.beats[beat];
                beat.arrived += 1;
                world.leaders[beat.to].table.arrived(beat.heartbeat.clone(), now);
            }
            Step::Read { leader } => {
                let round = world.leaders[leader].table.start_round()?;
                world.leaders[leader].rounds += 1;
                world.leaders[leader].read = Some((round, world.history.len() - 1));
            }
            Step::Answer { leader } => self.answer(&mut world, leader)?,
            Step::Receive { reply } => {
                let Reply { to, stream, sequence, grant } = world.replies.iter().nth(reply)?.clone();
                let now = world.now();
                world.processes[to].lease.answered(stream, sequence, Some(grant), now);
            }
            Step::Learn { process } => {
                let index = world.processes[process].lease.reached().index as usize;
                let rows = world.history.get(index)?.clone();
                let process = &mut world.processes[process];
                let lead = rows.lead(self.bounds.story, process.node, process.incarnation);
                process.lease.reach(version(index), lead);
                if !self.bounds.slow_lanes {
                    process.lanes = Some(index);
                    process.lease.in_force(version(index));
                }
            }
            Step::EveryLaneLocked { process } => {
                let process = &mut world.processes[process];
                let reached = process.lease.reached();
                process.lanes = Some(reached.index as usize - 1);
                process.lease.in_force(reached);
            }
            Step::LetIn { process } => world.processes[process].let_in = true,
            Step::SecondLife { proof } => {
                world.processes[0].runs = !proof;
                world.spawn(&self.bounds);
            }
            Step::Propose { leader, command } => {
                if !self.permitted(&mut world, leader, command) {
                    return None;
                }
                world.leaders[leader].proposed = Some(command);
            }
            Step::Commit { leader } => self.commit(&mut world, leader)?,
            Step::Elect => {
                world.leaders.iter_mut().for_each(|leader| leader.proposed = None);
                world.elect(&self.bounds);
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("I4", |model: &Self, world: &World| {
            world.one_server_at_a_time(&model.bounds)
        })];
        properties.push(Property::sometimes("the first primary serves", |model: &Self, world: &World| {
            world.serves(&model.bounds, 0)
        }));
        properties.push(Property::sometimes("the other node serves", |model: &Self, world: &World| {
            world.serves(&model.bounds, 1)
        }));
        if self.bounds.second_life {
            properties.push(Property::sometimes("the next life serves", |model: &Self, world: &World| {
                world.serves(&model.bounds, 2)
            }));
        }
        properties
    }
}
