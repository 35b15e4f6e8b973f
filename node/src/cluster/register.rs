//! How a life of this node becomes known: it registers with the meta group, once, however often it has to ask.
//!
//! It decides whether an answer means wait, ask again, or never. The token of the life is on disk before it is first
//! sent, so that a life whose answer was lost is recognised by the next one. A group that this folder does not obey is
//! refused (►20), and so is a folder whose node lives on elsewhere (►13).

use super::addresses;
use super::client::MetaGroup;
use super::identity::{Folder, FolderError, Identity};
use super::life::Offload;
use crate::CAPSTAN_VERSION;
use crate::core::NodeCore;
use bytes::Bytes;
use capstan_proto::ids::{GroupId, Incarnation, SpawnToken};
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::v1::nodes_client::NodesClient;
use capstan_proto::rpc::{redirect, v1};
use capstan_proto::topology::ProcessPlace;
use std::time::Duration;
use tonic::Code;

/// One answer of a meta server is waited for so long. Above the leader's own limit for a proposal, so that a slow
/// commit is answered and not asked for again.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// The pause before the next try when nobody could answer.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that a meta server can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why this life can never be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The data folder cannot keep what must be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Another meta group answers at these addresses (►20).
    #[error(
        "the meta servers belong to group {theirs}, this node obeys group {ours}: give it its own group's --meta, or an empty --dir"
    )]
    OtherGroup {
        /// Whom the node obeys.
        ours: GroupId,
        /// Who answered.
        theirs: GroupId,
    },
    /// The node lives, or lived later, elsewhere.
    #[error(
        "this node id is registered in life {0}, which did not run in this folder: is the folder a copy? Start this node on an empty --dir, as a new node"
    )]
    LivesElsewhere(Incarnation),
    /// The meta group said no.
    #[error("the meta group refuses this node ({code}): {why}")]
    Refused {
        /// The stable code.
        code: String,
        /// In words.
        why: String,
    },
    /// The node is stopping before it was registered.
    #[error("stopped before the node was registered")]
    Stopped,
}

/// A life that asks to be registered.
#[allow(missing_debug_implementations)]
pub struct Applicant<'a> {
    /// The node.
    pub core: &'a NodeCore,
    /// The meta servers.
    pub group: &'a MetaGroup,
    /// The data folder.
    pub folder: &'a Folder,
    /// Where it runs.
    pub place: ProcessPlace,
    /// Drawn for this life by whoever started it.
    pub token: SpawnToken,
    /// Where blocking calls are made.
    pub offload: Offload,
}

enum Next {
    Registered(GroupId, Incarnation),
    Again(Duration),
}

impl Applicant<'_> {
    /// Asks until the life is registered, however long that takes; `identity` is kept up to date on disk.
    pub async fn register(&self, identity: &mut Identity) -> Result<Incarnation, RegisterError> {
        identity.attempt(self.token);
        self.keep(identity).await?;
        let mut said = String::new();
        loop {
            let next = tokio::select! {
                biased;
                next = self.ask(identity, &mut said) => next?,
                () = self.core.stopping.wanted() => return Err(RegisterError::Stopped),
            };
            match next {
                Next::Registered(group, incarnation) => {
                    identity.registered(group, incarnation);
                    self.keep(identity).await?;
                    return Ok(incarnation);
                }
                Next::Again(pause) => tokio::select! {
                    biased;
                    () = tokio::time::sleep(pause) => {}
                    () = self.core.stopping.wanted() => return Err(RegisterError::Stopped),
                },
            }
        }
    }

    async fn ask(&self, identity: &mut Identity, said: &mut String) -> Result<Next, RegisterError> {
        let (address, channel) = match self.group.pick() {
            Ok(picked) => picked,
            Err(error) => return Ok(self.later(said, &error.to_string())),
        };
        let request = self.request(identity);
        let mut client = NodesClient::new(channel);
        let answer = tokio::time::timeout(ANSWER_LIMIT, client.register(request)).await;
        let reply = match answer {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => {
                let led = redirect::leader(&status).is_some();
                self.group.failed(&address, &status);
                let refused = matches!(
                    status.code(),
                    Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition
                );
                if refused && !led {
                    let why = status.message().to_owned();
                    return Err(RegisterError::Refused { code: status.code().to_string(), why });
                }
                let pause = self.later(said, &format!("{address}: {}", redirect::reason(&status)));
                return Ok(if led { Next::Again(Duration::ZERO) } else { pause });
            }
            Err(_) => {
                self.group.silent(&address);
                return Ok(self.later(said, &format!("{address} does not answer")));
            }
        };
        self.group.leads(&address);
        match self.judge(identity, reply, said) {
            Ok(next) => next,
            Err(bad) => Ok(self.later(said, &format!("{address}: {bad}"))),
        }
    }

    fn request(&self, identity: &Identity) -> v1::RegisterRequest {
        v1::RegisterRequest {
            node: Bytes::copy_from_slice(&identity.node.0),
            token: Bytes::copy_from_slice(&self.token.0),
            place: Some((&self.place).into()),
            addresses: Some((&addresses::announced(self.core)).into()),
            software: CAPSTAN_VERSION.to_owned(),
            group: identity.group.map(|group| Bytes::copy_from_slice(&group.0)).unwrap_or_default(),
            last: identity.last.as_ref().map(Into::into),
        }
    }

    fn judge(
        &self,
        identity: &mut Identity,
        reply: v1::RegisterReply,
        said: &mut String,
    ) -> Result<Result<Next, RegisterError>, BadMessage> {
        if !reply.group.is_empty() {
            let theirs = GroupId::from_slice(&reply.group)?;
            if let Some(ours) = identity.group.filter(|ours| *ours != theirs) {
                return Ok(Err(RegisterError::OtherGroup { ours, theirs }));
            }
        }
        if reply.wait_ms > 0 {
            self.later(said, &reply.wait_why);
            return Ok(Ok(Next::Again(Duration::from_millis(reply.wait_ms).min(PAUSE_MAX))));
        }
        if let Some(current) = reply.current.clone() {
            let current = Incarnation::try_from(current)?;
            // An earlier life of this folder was registered and did not live to hear of it: follow that one.
            return Ok(match identity.learn(current) {
                true if current.token != self.token => Ok(Next::Again(Duration::ZERO)),
                _ if identity.last == Some(current) => Err(refused(reply)),
                _ => Err(RegisterError::LivesElsewhere(current)),
            });
        }
        if !reply.rejected_code.is_empty() {
            return Ok(Err(refused(reply)));
        }
        let incarnation = reply.incarnation.ok_or(BadMessage::Missing("incarnation"))?.try_into()?;
        Ok(Ok(Next::Registered(GroupId::from_slice(&reply.group)?, incarnation)))
    }

    /// Says once what is waited for.
    fn later(&self, said: &mut String, why: &str) -> Next {
        if said != why {
            tracing::info!(why, "not registered yet");
            why.clone_into(said);
        }
        Next::Again(PAUSE)
    }

    async fn keep(&self, identity: &Identity) -> Result<(), RegisterError> {
        let (folder, identity) = (self.folder.clone(), identity.clone());
        let kept = self.offload.run(move || folder.keep_identity(&identity)).await;
        kept.ok_or(RegisterError::Stopped)?.map_err(RegisterError::from)
    }
}

fn refused(reply: v1::RegisterReply) -> RegisterError {
    RegisterError::Refused { code: reply.rejected_code, why: reply.rejected_why }
}
