//! What each step changes. Everything that decides is a call into the product's files.

use super::committed::{Committed, life, registration};
use super::step::{Failover, Step};
use super::world::{B, Hold, Leader, Process, Proposed, SHARD, TTL, World};
use capstan_meta::lease::{Heartbeat, Holder, Read, Standing, StreamId, Verdict};
use capstan_meta::planner::{self, Asked, Decision, Promotion, Said, View};
use capstan_meta::state::{Body, Consent, Fence, LeaseOver, Promote};
use capstan_node::cluster::handover::course::{self, Course};
use capstan_node::cluster::lease::{Grant, Lead, StreamNumber};
use capstan_node::cluster::role::Duty;
use capstan_proto::env::Boot;
use capstan_proto::ids::{LeaderId, Position};
use capstan_proto::rules::Rule;
use capstan_proto::topology::{Addresses, Topology};
use std::collections::BTreeSet;

impl Leader {
    /// What `controller/book.rs` does before each look.
    fn tidy(&mut self, topology: &Topology, now: Boot) {
        let shard = &topology.shards[&SHARD];
        let holder = planner::holder(shard);
        self.asked.retain(|_, asked| asked.old == holder);
        self.attempts.retain(|_, (attempt, _)| shard.phase.planned().is_some_and(|(a, _)| a == *attempt));
        if let Some((attempt, _)) = shard.phase.planned() {
            self.attempts.entry(SHARD).or_insert((attempt, now));
        }
        let primary = &topology.nodes[&shard.primary];
        if primary.dead || primary.incarnation.counter > shard.incarnation.counter {
            self.table.life_ended(shard.primary, shard.incarnation);
        }
    }

    fn is_over(&self, now: Boot) -> bool {
        let lasts = self.table.held().get(&SHARD).is_some_and(|until| *until > now);
        self.table.grace_left(TTL, now).is_zero() && !lasts
    }
}

impl World {
    fn leader(&mut self) -> &mut Leader {
        self.leaders.last_mut().expect("the first one is there from the start")
    }

    pub(super) fn learn(&mut self, number: usize, committed: &Committed) {
        let state = committed.state(self.state);
        let (topology, time) = (state.topology(), self.time);
        let process = &mut self.processes[number];
        process.knows = self.state;
        let lead = Lead::of(topology, process.node, process.incarnation);
        // As `install.rs` takes a state over.
        let duty = Duty::of(topology, process.node, process.incarnation);
        process.lease.attempt_is(duty.attempt().map(|attempt| attempt.id));
        process.lease.reach(topology.version, lead);
        process.lease.in_force(topology.version);
        // And as `handover.rs` follows an attempt (►14).
        let begun = duty.attempt().map(|attempt| Hold { attempt, lead, since: time, handed_over: false });
        process.hold = match process.hold {
            None => begun,
            Some(hold) => match course::of(hold.attempt, hold.lead, &duty) {
                Course::Stands => Some(hold),
                Course::Followed => begun,
                Course::Kept | Course::LeadsAnew | Course::Left => None,
            },
        };
    }

    fn beat(&mut self, number: usize) {
        let (now, stream) = (self.now(), StreamNumber(number as u64));
        let process = &mut self.processes[number];
        process.beats += 1;
        let claim = process.lease.claim().map(|lead| (lead.shard, lead.epoch));
        let heartbeat = Heartbeat {
            stream: StreamId(number as u64),
            sequence: process.lease.send(stream, now),
            node: process.node,
            incarnation: process.incarnation,
            claim,
            confirmed: process.lease.confirmed(),
        };
        let handed = process.hold.filter(|hold| hold.handed_over);
        let said = Said {
            incarnation: process.incarnation,
            received: now,
            number: 0,
            addresses: Addresses { ip: "127.0.0.1".into(), port: 7000, ..Addresses::default() },
            claim,
            position: None,
            handed_over: handed.map(|hold| (hold.attempt.id, Position::default())),
            whole_of: None,
            wants_handover: false,
            first_served: None,
            held: None,
        };
        let node = process.node;
        let leader = self.leader();
        leader.heard += 1;
        leader.said.insert(node, Said { number: leader.heard, ..said });
        leader.table.arrived(heartbeat, now);
    }
}

impl Failover {
    pub(super) fn take(&self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Time => world.time += 1,
            Step::Beat { process, answered } => {
                world.beat(process);
                self.answer(world, answered)?;
            }
            Step::Learn { process } => world.learn(process, &self.committed),
            Step::Look => self.look(world),
            Step::Commit => {
                let pending = world.leader().pending.take()?;
                self.commit(world, pending);
                let state = self.committed.state(world.state);
                let leader = world.leader();
                leader.asked.remove(&SHARD);
                leader.table.resume(pending.old, state.version());
            }
            Step::CommitLate { which } => {
                let late = world.late.remove(which);
                self.commit(world, late);
            }
            Step::Elect => {
                let pending = world.leader().pending.take();
                world.late.extend(pending);
                world.elect(&self.bounds);
            }
            Step::Die { process } => {
                world.processes[process].runs = false;
                world.deaths += 1;
            }
            Step::Dead { process } => {
                let Process { node, incarnation, .. } = world.processes[process];
                self.tell(world, &Body::Dead { node, token: incarnation.token })?;
            }
            Step::DeadLate { process } => {
                let Process { node, incarnation, .. } = world.processes[process];
                let before = life(node, incarnation.counter - 1);
                self.tell(world, &Body::Dead { node, token: before.token })?;
            }
            Step::Restart { process } => self.spawn(world, process, false),
            Step::Copy { process } => self.spawn(world, process, true),
            Step::Register { process } => self.register(world, process)?,
            Step::Write { process } => {
                world.processes[process].writes += 1;
                world.acknowledged += 1;
            }
            Step::Replicate => self.replicate(world),
            Step::Begin => self.begin(world)?,
            Step::HandOver { process } => self.hand_over(world, process)?,
            Step::LetGo { process } => {
                let since = world.processes[process].hold?.since;
                let by_time = !self.bounds.node.on(Rule::AttemptEndsByCommit) && since < world.time;
                by_time.then(|| world.processes[process].hold = None)?;
            }
        }
        Some(())
    }

    /// A command that is committed at once under the newest leader.
    fn tell(&self, world: &mut World, body: &Body) -> Option<()> {
        let leader = world.leader().id;
        world.state = self.committed.apply(world.state, (leader, leader), body)?;
        Some(())
    }

    /// A round for the heartbeat that has just come.
    fn answer(&self, world: &mut World, answered: bool) -> Option<()> {
        let state = self.committed.state(world.state);
        let (topology, now) = (state.topology(), world.now());
        let leader = world.leader();
        let round = leader.table.start_round()?;
        if !answered {
            for answer in leader.table.round_failed(round) {
                let process = &mut world.processes[answer.stream.0 as usize];
                process.lease.answered(StreamNumber(answer.stream.0), answer.sequence, None, now);
            }
            return Some(());
        }
        let read = Read { version: state.version(), ttl: TTL };
        let answers = leader.table.round_confirmed(round, read, |node| Standing::of(topology, node), now);
        for answer in answers {
            let stream = StreamNumber(answer.stream.0);
            let process = &mut world.processes[answer.stream.0 as usize];
            let Verdict::Granted(grant) = answer.verdict else {
                process.lease.answered(stream, answer.sequence, None, now);
                continue;
            };
            let Holder { node, incarnation, shard, epoch } = grant.holder;
            let lead = Lead { shard, epoch };
            let grant = Grant { node, incarnation, lead, duration: grant.duration, version: grant.version };
            process.lease.answered(stream, answer.sequence, Some(grant), now);
        }
        Some(())
    }

    /// What `controller/acting.rs` does with the planner's decisions.
    fn look(&self, world: &mut World) {
        let state = self.committed.state(world.state);
        let (topology, now) = (state.topology(), world.now());
        let leader = world.leader();
        leader.tidy(topology, now);
        let one = |holds: bool| holds.then_some(SHARD).into_iter().collect::<BTreeSet<_>>();
        // Nobody is spared for being young: that would only hide schedules.
        let (busy, over, young) = (one(leader.pending.is_some()), one(leader.is_over(now)), one(false));
        let decisions = planner::plan(&View {
            topology,
            said: &leader.said,
            busy: &busy,
            over: &over,
            young: &young,
            asked: &leader.asked,
            attempts: &leader.attempts,
            now,
        });
        for decision in decisions {
            self.decided(world, decision);
        }
    }

    fn decided(&self, world: &mut World, decision: Decision) {
        let (now, version) = (world.now(), self.committed.state(world.state).version());
        let leader = world.leader();
        let stop = |leader: &mut Leader, old, fence| match fence {
            Fence::ProvenDead | Fence::HandedOver => {
                leader.table.stop_ended(old);
                true
            }
            Fence::LeaseOver => leader.table.stop(old, TTL, now).is_ok(),
        };
        match decision {
            Decision::Ask { old, fence, .. } => {
                if stop(leader, old, fence) {
                    leader.asked.insert(SHARD, Asked { old, at: now, after: leader.heard });
                }
            }
            Decision::GiveUp(old) => {
                leader.asked.remove(&SHARD);
                leader.table.resume(old, version);
            }
            Decision::Stop(old) => leader.table.stop_ended(old),
            Decision::Promote(promotion) => {
                if stop(leader, promotion.old, promotion.fence) {
                    leader.pending = Some(proposed(leader.id, &promotion));
                }
            }
            Decision::Attempt { body, .. } | Decision::News { body, .. } => {
                self.tell(world, &body);
            }
        }
    }

    fn commit(&self, world: &mut World, proposed: Proposed) {
        // A leader id that lost its office stands in the log before the next one's first entry, or nowhere (Raft); a
        // proposal that was forwarded would stand in the next one's (►2).
        let under = world.leader().id;
        let body = promote(&proposed);
        let Some(next) = self.committed.apply(world.state, (proposed.by, under), &body) else { return };
        world.state = next;
        world.loss_said |= proposed.empty;
        world.planned = proposed.attempt.is_some();
    }

    fn spawn(&self, world: &mut World, process: usize, copied: bool) {
        let Process { node, incarnation, knows, .. } = world.processes[process];
        let next = Process::new(node, incarnation.counter + 1, copied, (knows, self.bounds.node));
        world.processes.push(next);
    }

    /// As `services/nodes.rs` asks for it: what proves nothing waits for the leader's word. Without ►13 nobody waits.
    fn register(&self, world: &mut World, process: usize) -> Option<()> {
        let Process { node, incarnation, copied, .. } = world.processes[process];
        let state = self.committed.state(world.state);
        let (topology, now) = (state.topology(), world.now());
        let mut register = registration(node, incarnation.counter, copied);
        let present = topology.nodes.get(&node)?;
        let proven = present.dead || register.place.proves_end_of(&present.place);
        if !proven && self.bounds.meta.on(Rule::DeathNeedsProof) {
            let leader = world.leader();
            let old = present.incarnation;
            let led = topology.led_by(node).filter(|shard| shard.incarnation == old);
            if !leader.table.left_of_life(node, old, TTL, now).is_zero() {
                return None;
            }
            if let Some(shard) = led {
                leader.table.stop(planner::holder(shard), TTL, now).ok()?;
            }
            register.lease_over = Some(LeaseOver { incarnation: old, evidence: String::new() });
        }
        self.tell(world, &Body::Register(register))
    }

    /// The replica takes over what the primary has, as long as that runs.
    fn replicate(&self, world: &mut World) {
        let leads = |process: &&Process| process.runs && process.lease.lead().is_some();
        let Some(primary) = world.processes.iter().find(leads) else { return };
        let (node, writes) = (primary.node, primary.writes);
        let others = world.processes.iter_mut().filter(|other| other.runs && other.node != node);
        others.for_each(|other| other.writes = other.writes.max(writes));
    }

    fn begin(&self, world: &mut World) -> Option<()> {
        let state = self.committed.state(world.state);
        let shard = &state.topology().shards[&SHARD];
        let body = Body::BeginPlanned {
            shard: SHARD,
            candidate: if shard.primary == B { return None } else { B },
            expected_epoch: shard.epoch,
            last_attempt: shard.last_attempt,
            why: String::new(),
        };
        world.begun += 1;
        self.tell(world, &body)
    }

    /// The primary hands over once the candidate has everything; nothing executes while it holds.
    fn hand_over(&self, world: &mut World, number: usize) -> Option<()> {
        let hold = world.processes[number].hold?;
        let follows = |other: &&Process| other.node == hold.attempt.candidate && other.runs;
        let acked = world.processes.iter().filter(follows).map(|other| u64::from(other.writes)).max();
        let process = &mut world.processes[number];
        course::may_give_up(hold.attempt, acked, u64::from(process.writes)).then_some(())?;
        // Without ►14 it keeps its lease, since its clients wait.
        if self.bounds.node.on(Rule::AttemptEndsByCommit) {
            process.lease.hand_over(hold.attempt.id);
        }
        process.hold = Some(Hold { handed_over: true, ..hold });
        Some(())
    }
}

fn proposed(by: LeaderId, promotion: &Promotion) -> Proposed {
    Proposed {
        by,
        old: promotion.old,
        candidate: promotion.candidate,
        incarnation: promotion.incarnation,
        fence: promotion.fence.into(),
        attempt: promotion.attempt,
        empty: promotion.consent == Consent::NoCopyLeft,
    }
}

fn promote(proposed: &Proposed) -> Body {
    Body::Promote(Promote {
        shard: SHARD,
        candidate: proposed.candidate,
        incarnation: proposed.incarnation,
        expected_epoch: proposed.old.epoch,
        position: Position::default(),
        fence: proposed.fence.into(),
        attempt: proposed.attempt,
        consent: if proposed.empty { Consent::NoCopyLeft } else { Consent::None },
        why: String::new(),
        evidence: String::new(),
    })
}
