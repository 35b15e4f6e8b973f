//! Verbs that change the cluster state, and what becomes of a request whose answer was lost.
//!
//! Every change has a request id that is printed when the outcome is unknown: sent again with it, the request is
//! answered again, not done again.

use super::client::{AskError, Client};
use super::view::View;
use super::{author, client, names, request_id};
use crate::args::{AddSlotsArgs, JoinArgs, OutcomeArgs};
use crate::output::{self, Code, Ended};
use capstan_proto::env::Env;
use capstan_proto::ids::{RequestId, ShardId, Version};
use capstan_proto::rpc::v1;
use capstan_proto::rpc::v1::verb::Verb;
use serde::Serialize;

/// What is printed of a change that was done.
#[derive(Serialize)]
struct Done<'a> {
    request_id: String,
    done: bool,
    /// It had been done before, by this very request.
    repeated: bool,
    version: String,
    said: &'a str,
}

/// A change that is asked for.
pub(super) struct Change {
    pub(super) verb: Verb,
    pub(super) request_id: Option<RequestId>,
    /// In the user's words, for the answer.
    pub(super) said: String,
    pub(super) json: bool,
}

/// Proposes a change and prints what came of it.
pub(super) async fn propose(client: &mut Client, change: Change) -> Result<Ended, Ended> {
    let request = request_id(change.request_id);
    let reply = client.propose(request, &author(), change.verb).await?;
    answer(request, &reply, &change.said, change.json)
}

pub(super) fn answer(
    request: RequestId,
    reply: &v1::ProposeReply,
    said: &str,
    json: bool,
) -> Result<Ended, Ended> {
    if !reply.done {
        return Err(Ended::refused(format!("refused: {} ({})", reply.rejected_why, reply.rejected_code)));
    }
    let version = reply.version.map(Version::try_from).and_then(Result::ok).unwrap_or_default().to_string();
    if json {
        let request_id = request.to_string();
        output::json(&Done { request_id, done: true, repeated: reply.repeated, version, said });
    } else {
        let before = if reply.repeated { " (it was done before)" } else { "" };
        output::line(format!("done at version {version}: {said}{before}"));
    }
    Ok(Ended::Well)
}

pub(super) async fn join(args: JoinArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.request.ask)?;
    let view = View::now(&mut client).await?;
    let node = names::node(&view, &args.node).map_err(Ended::refused)?;
    let mut fresh = [0; 20];
    Env::real().random.fill(&mut fresh);
    let (shard, said) = match &args.shard {
        None => (None, format!("{} is the primary of a new shard", view.address(node))),
        Some(text) => {
            let shard = names::shard(&view, text).map_err(Ended::refused)?;
            (Some(shard.0.to_vec().into()), format!("{} is a replica of shard {text}", view.address(node)))
        }
    };
    let new_shard = if shard.is_some() { Vec::new() } else { ShardId(fresh).0.to_vec() };
    let verb = Verb::Join(v1::JoinVerb { node: node.0.to_vec().into(), shard, new_shard: new_shard.into() });
    let request_id = args.request.request_id;
    propose(&mut client, Change { verb, request_id, said, json: args.request.ask.json }).await
}

pub(super) async fn add_slots(args: AddSlotsArgs) -> Result<Ended, Ended> {
    let runs: Result<Vec<_>, _> = args.slots.iter().map(|text| names::slots(text)).collect();
    let runs = runs.map_err(Ended::usage)?;
    let mut client = client(&args.request.ask)?;
    let view = View::now(&mut client).await?;
    let shard = names::shard(&view, &args.shard).map_err(Ended::refused)?;
    let said = format!("shard {} has {}", args.shard, super::view::runs(&runs));
    let runs = runs.iter().map(Into::into).collect();
    let verb = Verb::AddSlots(v1::AddSlotsVerb { shard: shard.0.to_vec().into(), runs });
    let request_id = args.request.request_id;
    propose(&mut client, Change { verb, request_id, said, json: args.request.ask.json }).await
}

pub(super) async fn outcome(args: OutcomeArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.ask)?;
    // Whoever cannot be asked has not said no: 1 would mean that the request was refused.
    let unasked = |error: AskError| Ended::Badly {
        code: Code::Unknown,
        message: format!("the outcome of request {} cannot be learnt now: {error}", args.request_id),
    };
    let reply = client.outcome(args.request_id).await.map_err(unasked)?;
    match reply.outcome.filter(|_| reply.found) {
        Some(outcome) => answer(args.request_id, &outcome, "that request", args.ask.json),
        None => Err(Ended::Badly {
            code: Code::Unknown,
            message: format!(
                "request {} is not committed so far, and may still be; the same verb with --request-id {} settles it",
                args.request_id, args.request_id
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_ends_with_1_and_says_why() {
        let reply = v1::ProposeReply {
            rejected_code: "slot-owned".into(),
            rejected_why: "slot 5 belongs to shard 1".into(),
            ..v1::ProposeReply::default()
        };
        match answer(RequestId([1; 16]), &reply, "x", false) {
            Err(Ended::Badly { code, message }) => {
                assert_eq!(code, Code::Refused);
                assert!(message.contains("slot 5 belongs"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
