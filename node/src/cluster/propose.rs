//! What clients of this node ask of the meta group: settings of the cluster (CONFIG SET), failovers to this node.
//!
//! It decides when an answer is one: committed, and in force in this node's lanes. A request whose answer was lost is
//! asked again under its own id, which does it once; when time runs out without an answer the outcome is unknown, and
//! that is what is said.

use super::admin::{AdminError, ClusterAdmin, FailoverKind};
use super::client::MetaGroup;
use super::life::Life;
use bytes::Bytes;
use capstan_proto::env::BoxFuture;
use capstan_proto::ids::{NodeId, ShardId, Version};
use capstan_proto::rpc::v1::admin_client::AdminClient;
use capstan_proto::rpc::{redirect, v1};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A client waits so long for a change of the cluster.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// The way to the meta group for this node's clients. The node's core holds it, and the life holds the core, so the
/// life is only looked up here: when the control path has ended there is nobody to ask.
#[derive(Debug)]
pub struct Proposer {
    life: Weak<Life>,
    node: NodeId,
    group: MetaGroup,
}

impl Proposer {
    /// For a registered life, with a choice of servers of its own.
    #[must_use]
    pub fn new(life: &Arc<Life>, group: MetaGroup) -> Self {
        Self { life: Arc::downgrade(life), node: life.node, group }
    }

    async fn propose(&self, verb: v1::verb::Verb) -> Result<(), AdminError> {
        let stopping = || AdminError::Unreachable("this node is stopping".to_owned());
        let life = self.life.upgrade().ok_or_else(stopping)?;
        let mut id = [0; 16];
        life.core.env.random.fill(&mut id);
        let request = v1::ProposeRequest {
            request_id: Bytes::copy_from_slice(&id),
            author: format!("node {}", life.node),
            verb: Some(v1::Verb { verb: Some(verb) }),
        };
        let mut sent = Sent::Never;
        let asked = tokio::time::timeout(LIMIT, self.ask(&life, request, &mut sent)).await;
        match asked {
            Ok(done) => done,
            Err(_) => Err(match sent {
                Sent::Never => AdminError::Unreachable("no leader answered in time".to_owned()),
                Sent::Perhaps => AdminError::Unknown(format!("no answer within {} s", LIMIT.as_secs())),
            }),
        }
    }

    async fn ask(&self, life: &Life, request: v1::ProposeRequest, sent: &mut Sent) -> Result<(), AdminError> {
        loop {
            let (address, channel) =
                self.group.pick().map_err(|error| AdminError::Unreachable(error.to_string()))?;
            let before = *sent;
            *sent = Sent::Perhaps;
            match AdminClient::new(channel).propose(request.clone()).await {
                Ok(reply) => return settled(life, reply.into_inner()).await,
                Err(status) => {
                    let led = redirect::leader(&status).is_some();
                    if led || redirect::never_sent(&status) {
                        *sent = before;
                    } else if !redirect::try_the_next(&status) {
                        return Err(AdminError::Rejected(status.message().to_owned()));
                    }
                    self.group.failed(&address, &status);
                    if !led {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

/// A client that got its answer finds the change in force here.
async fn settled(life: &Life, reply: v1::ProposeReply) -> Result<(), AdminError> {
    if !reply.done {
        return Err(AdminError::Rejected(reply.rejected_why));
    }
    let version = reply.version.and_then(|version| Version::try_from(version).ok()).unwrap_or_default();
    let mut in_force = life.in_force.subscribe();
    // The sender lives in `life`: an error cannot happen while this is awaited.
    let _ = in_force.wait_for(|reached| *reached >= version).await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Sent {
    Never,
    Perhaps,
}

impl ClusterAdmin for Proposer {
    fn set_setting<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), AdminError>> {
        let setting = v1::Setting { name: name.to_owned(), value: value.to_owned() };
        Box::pin(self.propose(v1::verb::Verb::SetSetting(setting)))
    }

    fn replicate(&self, shard: ShardId) -> BoxFuture<'_, Result<(), AdminError>> {
        let (node, shard) = (Bytes::copy_from_slice(&self.node.0), Bytes::copy_from_slice(&shard.0));
        Box::pin(self.propose(v1::verb::Verb::Replicate(v1::ReplicateVerb { node, shard })))
    }

    fn failover(&self, shard: ShardId, kind: FailoverKind) -> BoxFuture<'_, Result<(), AdminError>> {
        let verb = v1::FailoverVerb {
            shard: Bytes::copy_from_slice(&shard.0),
            candidate: Some(Bytes::copy_from_slice(&self.node.0)),
            kind: match kind {
                FailoverKind::Planned => 0,
                FailoverKind::Forced => 1,
            },
        };
        Box::pin(self.propose(v1::verb::Verb::Failover(verb)))
    }
}
