//! `capstan meta members`: the servers of the meta group, shown, added, removed, replaced.

use super::{author, client, host_and_port, request_id};
use crate::args::{MembersArgs, MembersChange};
use crate::output::{self, Ended};
use capstan_proto::rpc::v1;
use capstan_proto::rpc::v1::change_members_request::Change;
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    id: u64,
    address: String,
    /// `voter`, or `learner` while it copies the state.
    part: &'static str,
    leader: bool,
    reachable: bool,
    applied: u64,
    /// Entries behind the leader.
    lag: u64,
    software: String,
}

#[derive(Serialize)]
struct Members {
    group: String,
    leader: u64,
    term: u64,
    commit: u64,
    quorum: bool,
    answered_by: u64,
    members: Vec<Row>,
}

pub(super) async fn run(args: MembersArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.ask)?;
    let reply = match args.change {
        None => client.members().await?,
        Some(change) => {
            let (change, given) = wire(change)?;
            client.change_members(request_id(given), &author(), change).await?
        }
    };
    print(reply, args.ask.json);
    Ok(Ended::Well)
}

fn wire(change: MembersChange) -> Result<(Change, Option<capstan_proto::ids::RequestId>), Ended> {
    let fresh = |id, address: String| -> Result<v1::Member, Ended> {
        host_and_port(&address).map_err(Ended::usage)?;
        if id == 0 {
            return Err(Ended::usage("a meta server's number is at least 1"));
        }
        Ok(v1::Member { id, address, ..v1::Member::default() })
    };
    Ok(match change {
        MembersChange::Add { id, address, request_id } => (Change::Add(fresh(id, address)?), request_id),
        MembersChange::Remove { id, request_id } => (Change::Remove(id), request_id),
        MembersChange::Replace { old, id, address, request_id } => {
            let fresh = Some(fresh(id, address)?);
            (Change::Replace(v1::ReplaceMember { old, fresh }), request_id)
        }
    })
}

fn print(reply: v1::MembersReply, json: bool) {
    let row = |member: v1::Member| Row {
        id: member.id,
        address: member.address,
        part: if member.voter { "voter" } else { "learner" },
        leader: member.leader,
        reachable: member.reachable,
        applied: member.applied,
        lag: member.lag,
        software: member.software,
    };
    let members = Members {
        group: reply.group.iter().map(|b| format!("{b:02x}")).collect(),
        leader: reply.leader,
        term: reply.term,
        commit: reply.commit,
        quorum: reply.quorum,
        answered_by: reply.answered_by,
        members: reply.members.into_iter().map(row).collect(),
    };
    if json {
        output::json(&members);
        return;
    }
    let cells = |row: Row| {
        let part = if row.leader { "leader" } else { row.part };
        let answers = if row.reachable { "yes" } else { "no" };
        let (id, applied, lag) = (row.id.to_string(), row.applied.to_string(), row.lag.to_string());
        vec![id, row.address, part.to_owned(), answers.to_owned(), applied, lag, row.software]
    };
    let header = ["ID", "ADDRESS", "PART", "ANSWERS", "APPLIED", "LAG", "SOFTWARE"];
    output::table(&header, members.members.into_iter().map(cells));
    if !members.quorum {
        output::line("no quorum: nothing can change until enough servers are back");
    }
}
