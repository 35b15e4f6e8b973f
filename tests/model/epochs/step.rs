//! What can happen next, and what it changes. Everything that decides is a call into the product's files.

use super::world::{Batch, Bounds, NODES, Role, World, frame, id};
use capstan_meta::planner::candidates::{self, Standing};
use capstan_node::log::ring;
use capstan_proto::ids::{Position, ShardEpoch};
use capstan_proto::rules::Rules;
use stateright::{Model, Property};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The primary executes a write.
    Write,
    /// A follower receives the next batch.
    Deliver { to: usize },
    /// A node is not heard of any more; a primary's lease is over by then.
    Lose { node: usize },
    /// It is back, as a replica, with the log that it had.
    Return { node: usize },
    /// The planner chooses among those that are there.
    Promote,
    /// The chosen one opens its epoch, and serves.
    Serve,
    /// A replica shows its position to the primary, and is continued or copied whole.
    Attach { node: usize },
}

pub(super) struct Epochs(pub(super) Bounds);

impl Epochs {
    fn take(&self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Write => {
                let primary = world.primary()?;
                let position = Position { epoch: world.epoch, batch: world.nodes[primary].next() };
                world.nodes[primary].log.push(Batch { position, maker: primary });
                world.writes += 1;
                world.served.clone_from(&world.nodes[primary].log);
            }
            Step::Deliver { to } => {
                let primary = world.primary()?;
                let batch = *world.nodes[primary].log.get(world.nodes[to].log.len())?;
                let mut ring = world.nodes[to].ring()?;
                world.misjudged |= ring.append(frame(batch.position)).is_err();
                world.nodes[to].log.push(batch);
            }
            Step::Lose { node } => {
                let led = matches!(world.nodes[node].role, Role::Primary | Role::Chosen);
                world.losses += u8::from(!led);
                world.nodes[node].role = Role::Away;
                if led {
                    world.unlink();
                }
            }
            Step::Return { node } => world.nodes[node].role = Role::Replica,
            Step::Promote => world.promote()?,
            Step::Serve => self.serve(world)?,
            Step::Attach { node } => world.attach(node, self.0.rules)?,
        }
        Some(())
    }

    /// What `Log::open_epoch` does on the node that was chosen.
    fn serve(&self, world: &mut World) -> Option<()> {
        let chosen = world.nodes.iter().position(|node| node.role == Role::Chosen)?;
        let node = &mut world.nodes[chosen];
        if let Some(position) = ring::opening(world.epoch, node.next(), self.0.rules) {
            node.log.push(Batch { position, maker: chosen });
        }
        node.role = Role::Primary;
        world.served.clone_from(&node.log);
        Some(())
    }
}

impl World {
    fn unlink(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.role == Role::Follows) {
            node.role = Role::Replica;
        }
    }

    fn promote(&mut self) -> Option<()> {
        let there: Vec<usize> = (0..NODES).filter(|at| self.nodes[*at].role != Role::Away).collect();
        let standings = there.iter().map(|at| Standing { node: id(*at), position: self.nodes[*at].last() });
        let highest = candidates::highest(standings)?;
        let chosen = there.iter().copied().find(|at| id(*at) == highest.node)?;
        let has_all = |at: usize| self.nodes[at].log.starts_with(&self.served);
        self.undone |= !has_all(chosen) && there.iter().any(|at| has_all(*at));
        self.epoch = ShardEpoch(self.epoch.0 + 1);
        self.nodes[chosen].role = Role::Chosen;
        Some(())
    }

    fn attach(&mut self, node: usize, rules: Rules) -> Option<()> {
        let primary = self.primary()?;
        let last = self.nodes[node].last();
        let continues = self.nodes[primary].ring()?.continues(last, rules);
        let is_prefix = self.nodes[primary].log.starts_with(&self.nodes[node].log);
        self.misjudged |= continues != is_prefix;
        if !continues {
            self.diverged = true;
            let copy = self.nodes[primary].log.clone();
            self.nodes[node].copied = copy.len();
            self.nodes[node].log = copy;
        }
        self.nodes[node].role = Role::Follows;
        Some(())
    }
}

impl Model for Epochs {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::start()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.writes < self.0.writes {
            steps.push(Step::Write);
        }
        for (at, node) in world.nodes.iter().enumerate() {
            match node.role {
                Role::Primary => steps.push(Step::Lose { node: at }),
                Role::Chosen => steps.extend([Step::Serve, Step::Lose { node: at }]),
                Role::Follows => steps.push(Step::Deliver { to: at }),
                Role::Replica => steps.push(Step::Attach { node: at }),
                Role::Away => steps.push(Step::Return { node: at }),
            }
            let replica = matches!(node.role, Role::Follows | Role::Replica);
            if replica && world.losses < self.0.losses {
                steps.push(Step::Lose { node: at });
            }
        }
        if world.is_vacant() && world.epoch.0 <= self.0.promotions {
            steps.push(Step::Promote);
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        self.take(&mut world, step)?;
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let (always, sometimes) = (Property::always, Property::sometimes);
        vec![
            always("I6", |_: &Self, world: &World| world.logs_agree()),
            always("prefixes are told from tails", |_: &Self, world: &World| !world.misjudged),
            always("the primary is highest", |_: &Self, world: &World| world.the_primary_is_highest()),
            always("nothing served is undone", |_: &Self, world: &World| !world.undone),
            sometimes("a tail is copied over", |_: &Self, world: &World| world.diverged),
            sometimes("the last epoch serves", |model: &Self, world: &World| {
                world.epoch.0 > model.0.promotions && world.primary().is_some()
            }),
        ]
    }
}
