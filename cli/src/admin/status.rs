//! `capstan status`: is the cluster well, and if not, what is wrong. The judgement is pure; it names every problem.

use super::client::Client;
use super::view::{Role, View};
use super::{client, view};
use crate::args::StatusArgs;
use crate::output::{self, Ended};
use capstan_proto::rpc::v1;
use capstan_proto::slot::SLOTS;
use serde::Serialize;

#[derive(Serialize)]
struct Meta {
    quorum: bool,
    leader: u64,
    term: u64,
    members: usize,
    reachable: usize,
}

#[derive(Serialize)]
struct Nodes {
    total: usize,
    serving: usize,
    unassigned: usize,
}

#[derive(Serialize)]
struct Slots {
    owned: usize,
    served: usize,
    unassigned: usize,
}

/// What is printed; with `--json` exactly this.
#[derive(Serialize)]
struct Report {
    /// `ok`, `degraded` (all slots are served, something else is wrong) or `down` (some slot is not served).
    state: &'static str,
    group: Option<String>,
    version: String,
    meta: Meta,
    nodes: Nodes,
    shards: usize,
    slots: Slots,
    problems: Vec<String>,
}

pub(super) async fn run(args: StatusArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.ask)?;
    let members = client.members().await?;
    let view = newest(&mut client, members.quorum).await?;
    let report = judge(&view, &members);
    if args.ask.json {
        output::json(&report);
    } else {
        print(&report);
    }
    if args.check && report.state != "ok" {
        return Err(Ended::refused(format!("the cluster is {}", report.state)));
    }
    Ok(Ended::Well)
}

/// The state as of now; without a quorum, what the server that answers has.
async fn newest(client: &mut Client, quorum: bool) -> Result<View, Ended> {
    let reply = match client.state(quorum).await {
        Err(_) if quorum => client.state(false).await?,
        other => other?,
    };
    view::View::read(reply).map_err(|bad| Ended::refused(format!("the answer cannot be understood: {bad}")))
}

fn judge(view: &View, members: &v1::MembersReply) -> Report {
    let mut problems = Vec::new();
    if !members.quorum {
        problems.push("the meta group has no quorum: nothing can change, and leases end".to_owned());
    }
    for member in members.members.iter().filter(|m| !m.reachable) {
        problems.push(format!("meta server {} at {} does not answer", member.id, member.address));
    }
    let mut served = 0;
    for shard in view.shards() {
        let slots = view::count(&view.topology.runs_of(shard.id));
        if view.holds_lease(shard.primary) {
            served += slots;
        } else if slots > 0 && members.quorum {
            let why =
                view.reports.get(&shard.primary).map(|r| r.refused_why.as_str()).filter(|w| !w.is_empty());
            let primary = view.address(shard.primary);
            let why = why.unwrap_or("no heartbeat");
            problems.push(format!("shard {}: its primary {primary} holds no lease ({why})", shard.number));
        }
    }
    let living = view.topology.nodes.values().filter(|node| !node.dead);
    for node in living.filter(|node| view.role(node) == Role::Replica && !node.whole) {
        let replica = view.address(node.id);
        problems.push(format!("replica {replica} holds no complete copy yet: no failover can use it"));
    }
    let unassigned_slots = view.unassigned_slots();
    if unassigned_slots > 0 && !view.topology.nodes.is_empty() {
        problems.push(format!("{unassigned_slots} slots belong to no shard"));
    }
    for node in view.topology.nodes.values().filter(|node| node.dead) {
        problems.push(format!("node {} is dead", view.address(node.id)));
    }
    let owned = usize::from(SLOTS) - unassigned_slots;
    let all_served = served == usize::from(SLOTS) && members.quorum;
    let nodes = view.topology.nodes.values();
    Report {
        state: if !all_served {
            "down"
        } else if problems.is_empty() {
            "ok"
        } else {
            "degraded"
        },
        group: view.topology.group.map(|group| group.to_string()),
        version: view.topology.version.to_string(),
        meta: Meta {
            quorum: members.quorum,
            leader: members.leader,
            term: members.term,
            members: members.members.len(),
            reachable: members.members.iter().filter(|m| m.reachable).count(),
        },
        nodes: Nodes {
            total: view.topology.nodes.len(),
            serving: nodes
                .clone()
                .filter(|n| view.role(n) == Role::Primary && view.holds_lease(n.id))
                .count(),
            unassigned: nodes.filter(|n| view.role(n) == Role::Unassigned).count(),
        },
        shards: view.topology.shards.len(),
        slots: Slots { owned, served, unassigned: unassigned_slots },
        problems,
    }
}

fn print(report: &Report) {
    let meta = &report.meta;
    let leader = if meta.quorum { format!("leader {}", meta.leader) } else { "no quorum".to_owned() };
    output::line(format!("state    {}", report.state));
    output::line(format!("version  {}", report.version));
    output::line(format!(
        "meta     {} of {} servers answer, {leader}, term {}",
        meta.reachable, meta.members, meta.term
    ));
    let nodes = &report.nodes;
    output::line(format!(
        "nodes    {} of {} serve, {} unassigned",
        nodes.serving, nodes.total, nodes.unassigned
    ));
    output::line(format!("shards   {}", report.shards));
    output::line(format!("slots    {} of {SLOTS} served, {} owned", report.slots.served, report.slots.owned));
    for problem in &report.problems {
        output::line(format!("problem  {problem}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::{Incarnation, NodeId, ShardId, SpawnToken};
    use capstan_proto::topology::{Addresses, NodeRow, ProcessPlace, Row};

    #[test]
    fn a_replica_that_no_failover_can_use_is_a_problem_until_its_copy_is_complete() {
        let mut view = View::default();
        let row = |whole, dead| NodeRow {
            id: NodeId([1; 20]),
            incarnation: Incarnation { counter: 1, token: SpawnToken([0; 16]) },
            place: ProcessPlace::default(),
            addresses: Addresses { ip: "127.0.0.1".into(), port: 7001, ..Addresses::default() },
            shard: Some(ShardId([2; 20])),
            dead,
            whole,
            software: String::new(),
        };
        let members = v1::MembersReply { quorum: true, ..v1::MembersReply::default() };
        let mut problems = |row| {
            view.topology.set(Row::Node(row));
            let all = judge(&view, &members).problems;
            all.into_iter().filter(|problem| problem.contains("complete copy")).collect::<Vec<_>>()
        };
        let said = problems(row(false, false));
        assert!(said.len() == 1 && said[0].contains("127.0.0.1:7001"), "{said:?}");
        assert!(problems(row(true, false)).is_empty() && problems(row(false, true)).is_empty());
    }

    #[test]
    fn an_empty_cluster_is_down_and_a_lost_quorum_is_named_first() {
        let report = judge(&View::default(), &v1::MembersReply::default());
        assert_eq!(report.state, "down");
        assert!(report.problems[0].contains("quorum"), "{:?}", report.problems);
        let members = v1::MembersReply { quorum: true, ..v1::MembersReply::default() };
        let report = judge(&View::default(), &members);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!((report.state, report.slots.unassigned), ("down", 16384));
    }
}
