//! Asks a meta group: tries its servers in turn, follows the way to the leader, gives up after a bounded time.
//!
//! A request that changes something keeps its id through all tries, so that it is done once. It decides what an
//! error says about the request: nothing was sent, it was refused, or its outcome is unknown.

use crate::output::{Code, Ended};
use capstan_proto::auth::Secret;
use capstan_proto::env::{BoxFuture, Env};
use capstan_proto::ids::RequestId;
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::transport::{self, BadAddress, DIAL_LIMIT, MESSAGE_MAX};
use capstan_proto::rpc::v1::admin_client::AdminClient;
use capstan_proto::rpc::{redirect, v1};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// How often one try follows the way to the leader before it starts again from the list.
const REDIRECTS_MAX: usize = 4;
/// One try is not cut off before, even if the patience ends.
const TRY_MIN: Duration = Duration::from_millis(2500);
/// The pause before the whole list is tried again.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Why the group gave no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No server was reached, or none had an answer in time. What was asked changes nothing, or was never sent.
    #[error("no meta server answered: {}", tried.iter().map(|(a, why)| format!("{a}: {why}")).collect::<Vec<_>>().join("; "))]
    Silent {
        /// Each server's last word.
        tried: BTreeMap<String, String>,
    },
    /// A change was sent, and whether it was done is not known.
    #[error(
        "request {request} was sent and no answer came ({why}); it may be done, now or later. Ask with: capstan outcome {request}"
    )]
    Unknown {
        /// The request.
        request: RequestId,
        /// The last error.
        why: String,
    },
    /// The group said no.
    #[error("refused: {0}")]
    Refused(String),
    /// An answer of another version of the program.
    #[error("the answer cannot be understood: {0}")]
    Foreign(#[from] BadMessage),
}

impl From<AskError> for Ended {
    fn from(error: AskError) -> Self {
        let code = match &error {
            AskError::Silent { .. } | AskError::Refused(_) | AskError::Foreign(_) => Code::Refused,
            AskError::Unknown { .. } => Code::Unknown,
        };
        Self::Badly { code, message: error.to_string() }
    }
}

/// What one call of one server came to.
enum Answer<T> {
    Here(T),
    /// Ask this server: it leads.
    There(String),
    /// This one has no answer; `sent` if the request may have arrived.
    Nothing {
        why: String,
        sent: bool,
    },
    Refused(String),
}

/// Asks one meta group. Cheap to make: it connects when it asks.
pub(crate) struct Client {
    env: Env,
    secret: Secret,
    addresses: Vec<String>,
    channels: BTreeMap<String, Channel>,
    leader: Option<String>,
    patience: Duration,
}

const _: () = assert!(TRY_MIN.as_millis() > DIAL_LIMIT.as_millis());

/// One call, made anew for every try.
type Call<T> = dyn Fn(AdminClient<Channel>) -> BoxFuture<'static, Result<Response<T>, Status>> + Send + Sync;

impl Client {
    /// A client of the group that has servers at these addresses.
    pub(crate) fn new(env: Env, secret: Secret, addresses: Vec<String>, patience: Duration) -> Self {
        Self { env, secret, addresses, channels: BTreeMap::new(), leader: None, patience }
    }

    /// The cluster state. Linearizable: not older than the question; else what any server has.
    pub(crate) async fn state(&mut self, linearizable: bool) -> Result<v1::StateReply, AskError> {
        let request = v1::StateRequest { linearizable };
        let call = move |mut admin: AdminClient<Channel>| -> BoxFuture<'static, _> {
            Box::pin(async move { admin.state(request).await })
        };
        self.read(&call).await
    }

    /// Past decisions.
    pub(crate) async fn history(
        &mut self,
        request: v1::HistoryRequest,
    ) -> Result<v1::HistoryReply, AskError> {
        let call = move |mut admin: AdminClient<Channel>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { admin.history(request).await })
        };
        self.read(&call).await
    }

    /// The meta servers.
    pub(crate) async fn members(&mut self) -> Result<v1::MembersReply, AskError> {
        let call = |mut admin: AdminClient<Channel>| -> BoxFuture<'static, _> {
            Box::pin(async move { admin.members(v1::MembersRequest {}).await })
        };
        self.read(&call).await
    }

    /// What became of a request.
    pub(crate) async fn outcome(&mut self, request: RequestId) -> Result<v1::OutcomeReply, AskError> {
        let call = move |mut admin: AdminClient<Channel>| -> BoxFuture<'static, _> {
            let request = v1::OutcomeRequest { request_id: request.0.to_vec().into() };
            Box::pin(async move { admin.outcome(request).await })
        };
        self.read(&call).await
    }

    /// Asks for a change of the cluster state. A rejection is an answer here, not an error.
    pub(crate) async fn propose(
        &mut self,
        request: RequestId,
        author: &str,
        verb: v1::verb::Verb,
    ) -> Result<v1::ProposeReply, AskError> {
        let message = v1::ProposeRequest {
            request_id: request.0.to_vec().into(),
            author: author.to_owned(),
            verb: Some(v1::Verb { verb: Some(verb) }),
        };
        let call = move |mut admin: AdminClient<Channel>| -> BoxFuture<'static, _> {
            let message = message.clone();
            Box::pin(async move { admin.propose(message).await })
        };
        match self.change(request, &call).await {
            Err(AskError::Unknown { request, why }) => {
                // The leader that took it may have been lost after the commit: the log knows.
                let found = self.outcome(request).await.ok().filter(|reply| reply.found);
                found.and_then(|reply| reply.outcome).ok_or(AskError::Unknown { request, why })
            }
            other => other,
        }
    }

    /// Asks for a change of the group itself.
    pub(crate) async fn change_members(
        &mut self,
        request: RequestId,
        author: &str,
        change: v1::change_members_request::Change,
    ) -> Result<v1::MembersReply, AskError> {
        let message = v1::ChangeMembersRequest {
            request_id: request.0.to_vec().into(),
            author: author.to_owned(),
            change: Some(change),
        };
        let call = move |mut admin: AdminClient<Channel>| -> BoxFuture<'static, _> {
            let message = message.clone();
            Box::pin(async move { admin.change_members(message).await })
        };
        self.change(request, &call).await
    }

    async fn read<T>(&mut self, call: &Call<T>) -> Result<T, AskError> {
        match self.until_answered(call).await {
            Ok(answer) => Ok(answer),
            Err(Exhausted::Refused(why)) => Err(AskError::Refused(why)),
            Err(Exhausted::Silent { tried, .. }) => Err(AskError::Silent { tried }),
        }
    }

    async fn change<T>(&mut self, request: RequestId, call: &Call<T>) -> Result<T, AskError> {
        match self.until_answered(call).await {
            Ok(answer) => Ok(answer),
            Err(Exhausted::Refused(why)) => Err(AskError::Refused(why)),
            Err(Exhausted::Silent { tried, sent: false }) => Err(AskError::Silent { tried }),
            Err(Exhausted::Silent { tried, sent: true }) => {
                let why = tried.into_values().next_back().unwrap_or_default();
                Err(AskError::Unknown { request, why })
            }
        }
    }

    /// Tries every server, the leader first, round after round until the patience ends.
    async fn until_answered<T>(&mut self, call: &Call<T>) -> Result<T, Exhausted> {
        let deadline = self.env.clock.boot().after(self.patience);
        let mut tried = BTreeMap::new();
        let mut any_sent = false;
        loop {
            for mut address in self.in_order() {
                for _ in 0..REDIRECTS_MAX {
                    let left = deadline.since(self.env.clock.boot());
                    match self.try_one(&address, call, left).await {
                        Answer::Here(answer) => {
                            self.leader = Some(address);
                            return Ok(answer);
                        }
                        Answer::There(leader) => address = leader,
                        Answer::Nothing { why, sent } => {
                            any_sent |= sent;
                            tried.insert(address, why);
                            self.leader = None;
                            break;
                        }
                        Answer::Refused(why) => return Err(Exhausted::Refused(why)),
                    }
                }
            }
            if self.env.clock.boot() >= deadline {
                return Err(Exhausted::Silent { tried, sent: any_sent });
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// The leader, if known, then the others as they were given.
    fn in_order(&self) -> Vec<String> {
        let others = self.addresses.iter().filter(|address| Some(*address) != self.leader.as_ref());
        self.leader.iter().chain(others).cloned().collect()
    }

    async fn try_one<T>(&mut self, address: &str, call: &Call<T>, left: Duration) -> Answer<T> {
        let channel = match self.channel(address) {
            Ok(channel) => channel,
            Err(bad) => return Answer::Refused(bad.to_string()),
        };
        let admin = AdminClient::new(channel)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        // Long enough for a connection to fail by itself: only then it is known that nothing was sent.
        match tokio::time::timeout(left.max(TRY_MIN), call(admin)).await {
            Ok(Ok(response)) => Answer::Here(response.into_inner()),
            Ok(Err(status)) => judge(&status),
            Err(_) => Answer::Nothing { why: "no answer in time".into(), sent: true },
        }
    }

    fn channel(&mut self, address: &str) -> Result<Channel, BadAddress> {
        if let Some(channel) = self.channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = transport::channel(&self.env, &self.secret, address)?;
        self.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

enum Exhausted {
    Refused(String),
    Silent { tried: BTreeMap<String, String>, sent: bool },
}

/// What an error status says about the request.
fn judge<T>(status: &Status) -> Answer<T> {
    if let Some(leader) = redirect::leader(status) {
        return Answer::There(leader.to_owned());
    }
    if redirect::try_the_next(status) {
        return Answer::Nothing { why: redirect::reason(status), sent: !redirect::never_sent(status) };
    }
    Answer::Refused(status.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(addresses: &[&str]) -> Client {
        let addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        Client::new(Env::real(), Secret::NONE, addresses, Duration::from_millis(300))
    }

    #[tokio::test]
    async fn a_change_that_no_server_took_is_refused_and_not_unknown() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = nobody.local_addr().expect("bound").to_string();
        drop(nobody);
        let verb = v1::verb::Verb::SetSetting(v1::Setting::default());
        let error = client(&[&address]).propose(RequestId([1; 16]), "me", verb).await.expect_err("nobody");
        assert!(matches!(error, AskError::Silent { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_takes_the_connection_and_says_nothing_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = silent.local_addr().expect("bound").to_string();
        let error = client(&[&address]).members().await.expect_err("silent");
        assert!(matches!(error, AskError::Silent { .. }), "{error}");
    }

    #[test]
    fn the_way_to_the_leader_is_followed_and_a_refusal_is_final() {
        let status = redirect::not_leader(Some("127.0.0.1:7051"));
        assert!(matches!(judge::<()>(&status), Answer::There(to) if to == "127.0.0.1:7051"));
        assert!(matches!(judge::<()>(&Status::invalid_argument("no")), Answer::Refused(why) if why == "no"));
        assert!(matches!(judge::<()>(&Status::unavailable("x")), Answer::Nothing { sent: true, .. }));
    }
}
