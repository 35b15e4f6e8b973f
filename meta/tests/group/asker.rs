//! An admin's client as scripts use it: tries every server, follows redirects, and says what it knows at the end.

use crate::servers::Server;
use capstan_proto::auth::Secret;
use capstan_proto::env::{BoxFuture, Env};
use capstan_proto::ids::RequestId;
use capstan_proto::rpc::v1::{self, admin_client::AdminClient};
use capstan_proto::rpc::{redirect, transport};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// What one ask of one server is bounded by: longer than any answer of a server may take.
const CALL_LIMIT: Duration = Duration::from_secs(8);

pub(crate) struct Asker {
    pub(crate) env: Env,
    secret: Secret,
    addresses: Vec<String>,
    channels: BTreeMap<String, Channel>,
}

/// One call, made anew for every try.
pub(crate) type Call<T> = BoxFuture<'static, Result<tonic::Response<T>, Status>>;

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Done {
        repeated: bool,
    },
    Rejected(String),
    /// No server that answered took it, or one did and never said what became of it.
    Unknown(String),
}

/// What a history is asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// Not older than the question.
    ByQuorum,
    /// Whatever the server that answers has.
    ByNobody,
}

impl Asker {
    pub(crate) fn of(servers: &[Server]) -> Self {
        let addresses = servers.iter().map(|server| server.address().to_owned()).collect();
        Self {
            env: Env::real(),
            secret: servers[0].config.secret.clone(),
            addresses,
            channels: BTreeMap::new(),
        }
    }

    pub(crate) fn knows(&mut self, address: &str) {
        self.addresses.push(address.to_owned());
    }

    pub(crate) fn fresh_id(&self) -> RequestId {
        let mut id = [0; 16];
        self.env.random.fill(&mut id);
        RequestId(id)
    }

    pub(crate) fn admin(&mut self, address: &str) -> AdminClient<Channel> {
        let fresh = || transport::channel(&self.env, &self.secret, address).expect("an address");
        let channel = self.channels.entry(address.to_owned()).or_insert_with(fresh).clone();
        AdminClient::new(channel).max_decoding_message_size(64 << 20)
    }

    /// Asks one server after the other, the one that leads if one names it, until one answers or time is up.
    pub(crate) async fn ask<T>(
        &mut self,
        within: Duration,
        call: impl Fn(AdminClient<Channel>) -> Call<T> + Send,
    ) -> Result<T, Status> {
        let deadline = self.env.clock.boot().after(within);
        let mut turn = 0;
        let mut hint: Option<String> = None;
        loop {
            let address = hint.take().unwrap_or_else(|| self.addresses[turn % self.addresses.len()].clone());
            turn += 1;
            let admin = self.admin(&address);
            let status = match tokio::time::timeout(CALL_LIMIT, call(admin)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("{address} did not answer")),
            };
            hint = redirect::leader(&status).map(str::to_owned);
            let goes_on = hint.is_some() || redirect::try_the_next(&status);
            if !goes_on || self.env.clock.boot() >= deadline {
                return Err(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends one change, under an author that names it in the history, until it is answered or time is up.
    pub(crate) async fn set(&mut self, request: RequestId, value: &str, within: Duration) -> Answer {
        let setting = v1::Setting { name: "restart-wait".to_owned(), value: value.to_owned() };
        let message = v1::ProposeRequest {
            request_id: request.0.to_vec().into(),
            author: request.to_string(),
            verb: Some(v1::Verb { verb: Some(v1::verb::Verb::SetSetting(setting)) }),
        };
        let call = |mut admin: AdminClient<Channel>| -> Call<_> {
            let message = message.clone();
            Box::pin(async move { admin.propose(message).await })
        };
        match self.ask(within, call).await {
            Ok(reply) if reply.done => Answer::Done { repeated: reply.repeated },
            Ok(reply) => Answer::Rejected(reply.rejected_code),
            Err(status) => Answer::Unknown(status.to_string()),
        }
    }

    pub(crate) async fn state(&mut self) -> v1::StateReply {
        let request = v1::StateRequest { linearizable: true };
        let call = |mut admin: AdminClient<Channel>| -> Call<_> {
            Box::pin(async move { admin.state(request).await })
        };
        self.ask(Duration::from_secs(20), call).await.expect("a quorum")
    }

    /// How often each author stands in the history, after a confirmed read.
    pub(crate) async fn done_by(&mut self) -> BTreeMap<String, usize> {
        self.told(Confirmed::ByQuorum, Duration::from_secs(20)).await.expect("a quorum")
    }

    /// How often each author stands in the history, if any server tells it so in time.
    pub(crate) async fn told(
        &mut self,
        confirmed: Confirmed,
        within: Duration,
    ) -> Result<BTreeMap<String, usize>, Status> {
        let linearizable = confirmed == Confirmed::ByQuorum;
        let request = v1::HistoryRequest { linearizable, ..v1::HistoryRequest::default() };
        let history = |mut admin: AdminClient<Channel>| -> Call<_> {
            let request = request.clone();
            Box::pin(async move { admin.history(request).await })
        };
        let history = self.ask(within, history).await?;
        let mut counts = BTreeMap::new();
        history.events.into_iter().for_each(|event| *counts.entry(event.who).or_default() += 1);
        Ok(counts)
    }

    pub(crate) async fn members(&mut self) -> Result<v1::MembersReply, Status> {
        self.members_within(Duration::from_secs(20)).await
    }

    pub(crate) async fn members_within(&mut self, within: Duration) -> Result<v1::MembersReply, Status> {
        let call = |mut admin: AdminClient<Channel>| -> Call<_> {
            Box::pin(async move { admin.members(v1::MembersRequest {}).await })
        };
        self.ask(within, call).await
    }

    pub(crate) async fn change(
        &mut self,
        change: v1::change_members_request::Change,
    ) -> Result<v1::MembersReply, Status> {
        let request = v1::ChangeMembersRequest {
            request_id: self.fresh_id().0.to_vec().into(),
            author: "test".to_owned(),
            change: Some(change),
        };
        let call = |mut admin: AdminClient<Channel>| -> Call<_> {
            let request = request.clone();
            Box::pin(async move { admin.change_members(request).await })
        };
        self.ask(Duration::from_secs(40), call).await
    }

    /// The number of the server that leads and hears from a quorum.
    pub(crate) async fn leader(&mut self) -> u64 {
        let deadline = self.env.clock.boot().after(Duration::from_secs(20));
        loop {
            let state = self.state().await;
            if state.leader != 0 {
                return state.leader;
            }
            assert!(self.env.clock.boot() < deadline, "no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
