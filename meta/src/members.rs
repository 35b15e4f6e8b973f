//! The servers of the group itself: shown, added, removed, replaced, while it works on.
//!
//! Every change is level-triggered: it looks at the membership and does what is missing, so that one that was cut off
//! half way is finished by asking again. A number is given once only, and a seat belongs to one folder: a server that
//! lost its folder comes back under a new number (CRATES 1.3.8). A change that would leave the group without a living
//! quorum is refused.

use crate::raft::{MemberRow, MetaNode, MetaRaft, StoreToken};
use capstan_proto::rpc::{redirect, v1};
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tonic::Status;

/// A newcomer may take so long to copy the state.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);
const CATCH_UP_LOOK_EVERY: Duration = Duration::from_millis(20);
/// A newcomer that lags no more than this votes.
const LEVEL: u64 = 100;
/// One step of a change: its commit by both the old and the new members.
const STEP_LIMIT: Duration = Duration::from_secs(5);

/// A change of the members, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Takes in the server at an address; without a number it gets the next free one.
    Add { id: Option<u64>, address: String },
    /// Takes out a member, dead or alive.
    Remove { id: u64 },
    /// Both in one step of the voters, so that their count stays.
    Replace { old: u64, id: Option<u64>, address: String },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { address, .. } => write!(f, "add {address}"),
            Self::Remove { id } => write!(f, "remove {id}"),
            Self::Replace { old, address, .. } => write!(f, "replace {old} by {address}"),
        }
    }
}

fn refuse(why: impl Into<String>) -> Status {
    Status::failed_precondition(why)
}

/// Brings the membership to where a change wants it.
pub(crate) async fn change(raft: &MetaRaft, change: &Change) -> Result<(), Status> {
    match change {
        Change::Add { id, address } => {
            let id = take_in(raft, *id, address).await?;
            let mut wanted = raft.voters().wanted;
            wanted.insert(id);
            elect_by(raft, wanted).await?;
        }
        Change::Remove { id } => remove(raft, *id).await?,
        Change::Replace { old, id, address } => replace(raft, *old, *id, address).await?,
    }
    let addresses: Vec<String> = raft.members().into_iter().map(|row| row.node.address).collect();
    raft.links().keep_only(&addresses);
    Ok(())
}

/// Makes these the voters, and finishes a change that was left half way.
async fn elect_by(raft: &MetaRaft, wanted: BTreeSet<u64>) -> Result<(), Status> {
    let now = raft.voters();
    if now.wanted == wanted && !now.joint {
        return Ok(());
    }
    if !now.wanted.is_subset(&wanted) {
        check_quorum(raft, &wanted).await?;
    }
    step(raft, ChangeMembers::ReplaceAllVoters(wanted), false).await
}

/// Finishes a change of the voters whose leader was lost between its two steps.
pub(crate) async fn finish(raft: &MetaRaft) -> Result<(), Status> {
    elect_by(raft, raft.voters().wanted).await
}

/// Makes the server at an address a learner that is nearly level, and says its number.
async fn take_in(raft: &MetaRaft, wanted: Option<u64>, address: &str) -> Result<u64, Status> {
    let status = raft.links().status(address).await.map_err(|status| {
        let why = redirect::reason(&status);
        refuse(format!("no meta server answers at {address} ({why}): start it there with --join first"))
    })?;
    let store: [u8; 16] =
        status.store[..].try_into().map_err(|_| Status::internal("a status without a folder"))?;
    let node = MetaNode { address: address.to_owned(), store: StoreToken(store) };
    let members = raft.members();
    if let Some(member) = members.iter().find(|row| row.node.store == node.store) {
        if wanted.is_some_and(|wanted| wanted != member.id.0) {
            return Err(refuse(format!("the server at {address} is meta server {} already", member.id)));
        }
        catch_up(raft, member.id.0).await?;
        return Ok(member.id.0);
    }
    if !status.pristine {
        return Err(refuse(format!(
            "the server at {address} has taken part in a group as number {}: start it with an empty --dir",
            status.seat
        )));
    }
    let id = free_number(raft, wanted, status.seat)?;
    let seat = v1::Invitation { store: status.store, id };
    raft.links().invite(address, seat).await.map_err(|status| {
        refuse(format!("the server at {address} did not take the seat: {}", redirect::reason(&status)))
    })?;
    // One learner more changes no quorum.
    step(raft, ChangeMembers::AddNodes(BTreeMap::from([(id, node)])), true).await?;
    catch_up(raft, id).await?;
    Ok(id)
}

/// A number that no server ever had. One that the newcomer was offered before, and nobody else took, is used again.
fn free_number(raft: &MetaRaft, wanted: Option<u64>, offered: u64) -> Result<u64, Status> {
    let ever = raft.machine().ever();
    if let Some(wanted) = wanted {
        return match ever.contains(&wanted) {
            false => Ok(wanted),
            true => Err(refuse(format!("number {wanted} was used before: give the new server a new one"))),
        };
    }
    let next = ever.last().map_or(1, |last| last.saturating_add(1));
    Ok(if offered != 0 && !ever.contains(&offered) { offered } else { next })
}

async fn catch_up(raft: &MetaRaft, id: u64) -> Result<(), Status> {
    let level = async {
        loop {
            let metrics = raft.metrics();
            let last = metrics.last_log_index.unwrap_or(0);
            let Some(replication) = &metrics.replication else {
                return Err(Status::unavailable("this server lost its leadership: ask again"));
            };
            if replication.get(&id).copied().flatten().is_some_and(|log| log.index + LEVEL >= last) {
                return Ok(());
            }
            tokio::time::sleep(CATCH_UP_LOOK_EVERY).await;
        }
    };
    let slow = format!(
        "meta server {id} has not copied the state within {} s; it goes on as a learner: ask again",
        CATCH_UP_LIMIT.as_secs()
    );
    tokio::time::timeout(CATCH_UP_LIMIT, level).await.unwrap_or(Err(Status::unavailable(slow)))
}

async fn remove(raft: &MetaRaft, id: u64) -> Result<(), Status> {
    let Some(member) = raft.members().into_iter().find(|row| row.id.0 == id) else {
        return match raft.machine().ever().contains(&id) {
            true => Ok(()),
            false => Err(refuse(format!("there is no meta server {id}: see `capstan meta members`"))),
        };
    };
    if !member.voter {
        return step(raft, ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await;
    }
    let mut rest = raft.voters().wanted;
    rest.remove(&id);
    if rest.is_empty() {
        return Err(refuse("the last meta server cannot be removed"));
    }
    elect_by(raft, rest).await
}

async fn replace(raft: &MetaRaft, old: u64, id: Option<u64>, address: &str) -> Result<(), Status> {
    let is_member = raft.members().iter().any(|row| row.id.0 == old);
    if !is_member && !raft.machine().ever().contains(&old) {
        return Err(refuse(format!("there is no meta server {old}: see `capstan meta members`")));
    }
    let fresh = take_in(raft, id, address).await?;
    let mut wanted = raft.voters().wanted;
    wanted.remove(&old);
    wanted.insert(fresh);
    elect_by(raft, wanted).await?;
    // The old one was only a learner.
    if raft.members().iter().any(|row| row.id.0 == old) {
        step(raft, ChangeMembers::RemoveNodes(BTreeSet::from([old])), false).await?;
    }
    Ok(())
}

/// Refuses a set of voters of which no majority answers now.
async fn check_quorum(raft: &MetaRaft, voters: &BTreeSet<u64>) -> Result<(), Status> {
    let rows = raft.members().into_iter().filter(|row| voters.contains(&row.id.0));
    let alive =
        ask_all(raft, rows.collect()).await.into_iter().filter(|(_, status)| status.is_some()).count();
    if alive * 2 > voters.len() {
        return Ok(());
    }
    Err(refuse(format!(
        "of the {} voters that would remain only {alive} answer, which is no majority: bring them back first",
        voters.len()
    )))
}

/// One committed change of the membership.
async fn step(raft: &MetaRaft, change: ChangeMembers<u64, MetaNode>, retain: bool) -> Result<(), Status> {
    let changing = raft.raft().change_membership(change, retain);
    let unknown =
        |why: &str| Status::unknown(format!("outcome unknown: {why}; ask again to finish the change"));
    match tokio::time::timeout(STEP_LIMIT, changing).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            Err(unknown("this server lost its leadership meanwhile"))
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(why)))) => Err(match why {
            ChangeMembershipError::InProgress(_) => {
                Status::unavailable("another change of the meta servers is not committed yet: ask again")
            }
            why @ (ChangeMembershipError::EmptyMembership(_) | ChangeMembershipError::LearnerNotFound(_)) => {
                refuse(why.to_string())
            }
        }),
        Ok(Err(RaftError::Fatal(_))) => Err(unknown("this meta server stopped")),
        Err(_) => Err(unknown("no quorum confirmed it in time")),
    }
}

/// The status of each of these members; none for one that does not answer, or whose folder is another.
async fn ask_all(raft: &MetaRaft, rows: Vec<MemberRow>) -> Vec<(MemberRow, Option<v1::ServerStatus>)> {
    let asked: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let links = raft.links().clone();
            tokio::spawn(async move {
                let status = links.status(&row.node.address).await.ok();
                (row.clone(), status.filter(|status| status.store[..] == row.node.store.0[..]))
            })
        })
        .collect();
    let mut answered = Vec::with_capacity(asked.len());
    for task in asked {
        // A task that panicked has ended the process already.
        answered.extend(task.await);
    }
    answered
}

/// The members as this server knows them, with what each says of itself now.
pub(crate) async fn show(raft: &MetaRaft) -> v1::MembersReply {
    let answers = ask_all(raft, raft.members()).await;
    let metrics = raft.metrics();
    let last = answers.iter().filter_map(|(_, status)| status.as_ref()).map(|status| status.last_log).max();
    let last = last.unwrap_or(0);
    let leader = raft.leader_now().0;
    let leader_id = leader.map_or(0, |leader| leader.node.0);
    // Only the leader itself knows whether a quorum hears it.
    let quorum = answers.iter().any(|(row, status)| {
        row.id.0 == leader_id
            && status.as_ref().is_some_and(|status| status.quorum && status.leader == leader_id)
    });
    let member = |(row, status): (MemberRow, Option<v1::ServerStatus>)| {
        let reachable = status.is_some();
        let status = status.unwrap_or_default();
        v1::Member {
            id: row.id.0,
            address: row.node.address,
            voter: row.voter,
            leader: row.id.0 == leader_id,
            applied: status.applied,
            lag: if reachable { last.saturating_sub(status.applied) } else { 0 },
            reachable,
            software: status.software,
        }
    };
    v1::MembersReply {
        group: raft.state().group().map(|group| group.0.to_vec().into()).unwrap_or_default(),
        leader: leader_id,
        term: leader.map_or(metrics.current_term, |leader| leader.term),
        answered_by: raft.me().0,
        commit: metrics.last_applied.map_or(0, |applied| applied.index),
        members: answers.into_iter().map(member).collect(),
        quorum,
    }
}
