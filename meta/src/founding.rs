//! How a server without a seat gets one: by founding a group with the others it was started with, or by invitation.
//!
//! The founder is the server with the lowest number in `--peers`. It founds when every one of them answers, has
//! neither log nor vote, and was started with the same list: so a folder that was lost is never mistaken for a new
//! one, and no second group arises beside the first. The others only wait. What it refuses to do: decide anything
//! while one of the founders is silent.

use crate::host::Host;
use crate::raft::{MetaNode, StoreToken};
use capstan_proto::rpc::{redirect, v1};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How often the others are asked.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// One founder of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its number in the group, from 1.
    pub id: u64,
    /// Where it is reached, HOST:PORT.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.address)
    }
}

/// A text that should have been a founder and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no founder: want ID@HOST:PORT, with an ID from 1")]
pub struct BadPeer(pub String);

impl FromStr for Peer {
    type Err = BadPeer;

    fn from_str(text: &str) -> Result<Self, BadPeer> {
        let bad = || BadPeer(text.to_owned());
        let (id, address) = text.split_once('@').ok_or_else(bad)?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self { id, address: address.to_owned() })
    }
}

/// A seat that was got: its number, and all founders if this server is to found the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) id: u64,
    pub(crate) founders: Option<BTreeMap<u64, MetaNode>>,
}

/// What one look at the other founders says.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// All are there and new.
    Ready(BTreeMap<u64, MetaNode>),
    /// Not yet, and why.
    NotYet(String),
}

/// Waits until this server has a seat.
pub(crate) async fn wait_for_seat(host: &Host, me: u64, peers: &[Peer]) -> std::io::Result<Seat> {
    let mut taken = host.seat_taken();
    let founds = peers.iter().min().is_some_and(|first| first.id == me);
    let mut said = String::new();
    loop {
        if let Some(id) = *taken.borrow_and_update() {
            return Ok(Seat { id, founders: None });
        }
        let why = match look(host, me, peers).await {
            Look::Ready(founders) if founds => match invite(host, me, &founders).await {
                Ok(()) => {
                    host.take_seat(me).await?;
                    return Ok(Seat { id: me, founders: Some(founders) });
                }
                Err(why) => why,
            },
            Look::Ready(_) => "all founders are there".to_owned(),
            Look::NotYet(why) => why,
        };
        if why != said {
            tracing::info!("not in a group yet: {why}");
            said = why;
        }
        tokio::select! {
            biased;
            _ = taken.changed() => {}
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
}

async fn look(host: &Host, me: u64, peers: &[Peer]) -> Look {
    if peers.is_empty() {
        let text = "waiting to be taken in with `capstan meta members add` or `replace`";
        return Look::NotYet(format!("{text} ({})", host.address));
    }
    let mut founders = BTreeMap::new();
    for peer in peers {
        let status = if peer.id == me {
            host.status().await
        } else {
            match host.links.status(&peer.address).await {
                Ok(status) => status,
                Err(status) => {
                    return Look::NotYet(format!("no answer from {peer} ({})", redirect::reason(&status)));
                }
            }
        };
        match judge(host, peer, &status) {
            Ok(node) => drop(founders.insert(peer.id, node)),
            Err(why) => return Look::NotYet(why),
        }
    }
    Look::Ready(founders)
}

fn judge(host: &Host, peer: &Peer, status: &v1::ServerStatus) -> Result<MetaNode, String> {
    if !status.pristine {
        let known = status.members.iter().find(|member| member.address == host.address);
        return Err(match known {
            Some(known) => format!(
                "{peer} belongs to a group that knows this address as meta server {}, with another folder. If that \
                 folder is lost: capstan meta members replace {} NEW-ID {}",
                known.id, known.id, host.address
            ),
            None => format!(
                "{peer} belongs to a group already. To take this server in: capstan meta members add NEW-ID {}",
                host.address
            ),
        });
    }
    if status.peers != host.peers {
        return Err(format!("{peer} was started with other --peers: {}", status.peers.join(",")));
    }
    if status.seat != 0 && status.seat != peer.id {
        return Err(format!("the folder of {peer} is meta server {}", status.seat));
    }
    let store = status.store[..].try_into().map_err(|_| format!("{peer} does not name its folder"))?;
    Ok(MetaNode { address: peer.address.clone(), store: StoreToken(store) })
}

async fn invite(host: &Host, me: u64, founders: &BTreeMap<u64, MetaNode>) -> Result<(), String> {
    for (id, node) in founders.iter().filter(|(id, _)| **id != me) {
        let seat = v1::Invitation { store: node.store.0.to_vec().into(), id: *id };
        let refused =
            |status| format!("{id}@{} did not take its seat: {}", node.address, redirect::reason(&status));
        host.links.invite(&node.address, seat).await.map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_founder_reads_back_and_what_is_none_is_refused() {
        let peer: Peer = "2@127.0.0.1:7051".parse().expect("a founder");
        assert_eq!(
            (peer.id, peer.address.as_str(), peer.to_string().as_str()),
            (2, "127.0.0.1:7051", "2@127.0.0.1:7051")
        );
        for text in ["", "1", "127.0.0.1:1", "0@a:1", "x@a:1", "1@a", "1@:7", "1@a:99999"] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }
}
