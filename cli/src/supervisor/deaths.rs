//! Has the meta group commit the deaths that this supervisor has seen (►13), in the background, for as long as it takes.
//!
//! Every meta server is asked at once, on a connection of its own: a promotion waits for this, and one of them leads. A death is
//! idempotent by its token, so an answer that was lost costs a second question and nothing else.

use capstan_proto::auth::Secret;
use capstan_proto::env::{Boot, Env};
use capstan_proto::ids::{NodeId, SpawnToken};
use capstan_proto::rpc::v1::nodes_client::NodesClient;
use capstan_proto::rpc::{redirect, transport, v1};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// One question is waited for so long: above the leader's own limit for a proposal.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// The pause between two rounds over the servers; it doubles up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The registration of a life that ended while it asked is on its way for so long at most.
const LATE_REGISTRATION: Duration = Duration::from_secs(10);
/// Deaths that wait to be told. Each life supersedes those before it, so more say nothing new.
const OPEN_MAX: usize = 64;

/// A worker that was seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) node: NodeId,
    pub(crate) token: SpawnToken,
    /// Whether its life was known to be registered; if not, its registration may still be on its way.
    pub(crate) registered: bool,
}

enum Order {
    Tell(Death),
    /// A later life is registered: all before it are over by that.
    Superseded,
}

/// The deaths that are being told.
pub(crate) struct Deaths {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Deaths {
    /// Begins, without anything to tell. Within a runtime.
    pub(crate) fn start(env: Env, secret: Secret, servers: Vec<String>) -> Self {
        let (orders, received) = mpsc::channel(OPEN_MAX);
        let teller = Teller { env, secret, servers, open: VecDeque::new() };
        Self { orders, task: tokio::spawn(teller.run(received)) }
    }

    /// Tells a death as soon as it can be told.
    pub(crate) fn tell(&self, death: Death) {
        self.order(Order::Tell(death));
    }

    /// A later life is registered.
    pub(crate) fn superseded(&self) {
        self.order(Order::Superseded);
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::warn!("too many deaths wait to be told: this one is not");
        }
    }

    /// Waits until all is told, within a bound: the next start in the same folder proves the end as well.
    pub(crate) async fn settled(self, within: Duration) {
        drop(self.orders);
        if tokio::time::timeout(within, self.task).await.is_err() {
            tracing::warn!("the meta group has not answered: the end of this node is not proved");
        }
    }
}

struct Open {
    death: Death,
    seen: Boot,
}

/// What the group made of a death.
enum Word {
    Settled(String),
    /// No life of that token is registered so far.
    Unknown(String),
    Silent(String),
}

struct Teller {
    env: Env,
    secret: Secret,
    servers: Vec<String>,
    open: VecDeque<Open>,
}

impl Teller {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut pause = PAUSE_MIN;
        let mut said = String::new();
        loop {
            while let Ok(order) = orders.try_recv() {
                self.take(order);
            }
            let Some(Open { death, seen }) = self.open.front() else {
                pause = PAUSE_MIN;
                match orders.recv().await {
                    Some(order) => self.take(order),
                    None => return,
                }
                continue;
            };
            let death = *death;
            let late = !death.registered && self.env.clock.boot().since(*seen) < LATE_REGISTRATION;
            let why = match self.ask(&death).await {
                Word::Unknown(why) if late => why,
                Word::Settled(what) | Word::Unknown(what) => {
                    tracing::info!(node = %death.node, token = %death.token, what, "the meta group knows of the end");
                    self.open.pop_front();
                    continue;
                }
                Word::Silent(why) => why,
            };
            if why != said {
                tracing::warn!(node = %death.node, token = %death.token, why, "the end is not proved yet");
                said = why;
            }
            tokio::select! {
                biased;
                Some(order) = orders.recv() => self.take(order),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Superseded => self.open.clear(),
            Order::Tell(death) => {
                if self.open.len() >= OPEN_MAX {
                    self.open.pop_front();
                }
                self.open.push_back(Open { death, seen: self.env.clock.boot() });
            }
        }
    }

    /// Asks every server at once; the first that can answer for the group counts.
    async fn ask(&self, death: &Death) -> Word {
        let mut asked = JoinSet::new();
        for server in &self.servers {
            asked.spawn(one(self.env.clone(), self.secret.clone(), server.clone(), *death));
        }
        let mut elsewhere = None;
        let mut silent = String::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Answer::Word(word)) => return word,
                // The list may be older than the group.
                Ok(Answer::Leader(leader)) if !self.servers.contains(&leader) && elsewhere.is_none() => {
                    asked.spawn(one(self.env.clone(), self.secret.clone(), leader.clone(), *death));
                    elsewhere = Some(leader);
                }
                Ok(Answer::Leader(leader)) => silent = format!("{leader} is said to lead and did not answer"),
                Ok(Answer::Nothing(why)) => silent = why,
                Err(error) => silent = error.to_string(),
            }
        }
        Word::Silent(silent)
    }
}

enum Answer {
    Word(Word),
    Leader(String),
    Nothing(String),
}

async fn one(env: Env, secret: Secret, server: String, death: Death) -> Answer {
    let channel = match transport::channel(&env, &secret, &server) {
        Ok(channel) => channel,
        Err(bad) => return Answer::Nothing(bad.to_string()),
    };
    let request =
        v1::DeadRequest { node: death.node.0.to_vec().into(), token: death.token.0.to_vec().into() };
    match tokio::time::timeout(ANSWER_LIMIT, NodesClient::new(channel).dead(request)).await {
        Ok(Ok(reply)) => {
            let reply = reply.into_inner();
            Answer::Word(match reply.known {
                true => Word::Settled("the life is dead".to_owned()),
                false => Word::Unknown(reply.why),
            })
        }
        Ok(Err(status)) => match redirect::leader(&status) {
            Some(leader) => Answer::Leader(leader.to_owned()),
            None => Answer::Nothing(format!("{server}: {}", redirect::reason(&status))),
        },
        Err(_) => Answer::Nothing(format!("{server} does not answer")),
    }
}
