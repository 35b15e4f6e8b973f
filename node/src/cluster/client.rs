//! The way to the meta group: which server to ask next, and a channel to it.
//!
//! It decides the order in which servers are tried: the leader if one is known, else the configured ones in turn. It
//! refuses to retry anything itself: whether a request may be sent again is for whoever sent it to know.

use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use capstan_proto::rpc::redirect;
use capstan_proto::rpc::transport::{self, BadAddress};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use tonic::Status;
use tonic::transport::Channel;

/// The most channels that are kept: the configured servers and those that redirects have named.
const CHANNELS_MAX: usize = 32;

/// The meta servers, as one of a node's tasks sees them.
pub struct MetaGroup {
    env: Env,
    secret: Secret,
    known: Vec<String>,
    choice: Mutex<Choice>,
}

#[derive(Default)]
struct Choice {
    leader: Option<String>,
    next: usize,
    channels: BTreeMap<String, Channel>,
}

impl fmt::Debug for MetaGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaGroup").field("known", &self.known).finish_non_exhaustive()
    }
}

/// A list of meta servers that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadList {
    /// Nothing in it.
    #[error("no meta server is named: give --meta HOST:PORT,...")]
    Empty,
    /// Something in it is no address.
    #[error("--meta: {0}")]
    Address(#[from] BadAddress),
}

impl MetaGroup {
    /// The group behind `HOST:PORT,...`. Nothing is dialled yet.
    pub fn new(env: &Env, secret: &Secret, list: &str) -> Result<Self, BadList> {
        let known: Vec<String> =
            list.split(',').map(str::trim).filter(|a| !a.is_empty()).map(str::to_owned).collect();
        if known.is_empty() {
            return Err(BadList::Empty);
        }
        let group =
            Self { env: env.clone(), secret: secret.clone(), known, choice: Mutex::new(Choice::default()) };
        group.known.iter().try_for_each(|address| group.channel(address).map(drop))?;
        Ok(group)
    }

    /// The server to ask now. An address that a redirect named and that is none is dropped, and the list goes on.
    pub fn pick(&self) -> Result<(String, Channel), BadAddress> {
        let (leader, listed) = {
            let choice = self.choice.lock();
            (choice.leader.clone(), self.known[choice.next % self.known.len()].clone())
        };
        if let Some(leader) = leader {
            match self.channel(&leader) {
                Ok(channel) => return Ok((leader, channel)),
                Err(_) => self.choice.lock().leader = None,
            }
        }
        self.channel(&listed).map(|channel| (listed, channel))
    }

    /// A server did not do what was asked: follow its word about the leader, or try the next one.
    pub fn failed(&self, address: &str, status: &Status) {
        let mut choice = self.choice.lock();
        match redirect::leader(status) {
            Some(leader) if leader != address => choice.leader = Some(leader.to_owned()),
            Some(_) | None => Self::step(&mut choice, address),
        }
    }

    /// A server fell silent: try the next one.
    pub fn silent(&self, address: &str) {
        Self::step(&mut self.choice.lock(), address);
    }

    fn step(choice: &mut Choice, address: &str) {
        // A connection that is silently dead is not used again.
        choice.channels.remove(address);
        match &choice.leader {
            // The named leader failed: back to the list, where it was left.
            Some(leader) if leader == address => choice.leader = None,
            // Somebody has named another one meanwhile: that one is next.
            Some(_) => {}
            None => choice.next = choice.next.wrapping_add(1),
        }
    }

    /// The server answered as the leader.
    pub fn leads(&self, address: &str) {
        self.choice.lock().leader = Some(address.to_owned());
    }

    fn channel(&self, address: &str) -> Result<Channel, BadAddress> {
        let mut choice = self.choice.lock();
        if let Some(channel) = choice.channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = transport::channel(&self.env, &self.secret, address)?;
        if choice.channels.len() >= CHANNELS_MAX {
            choice.channels.clear();
        }
        choice.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(list: &str) -> MetaGroup {
        MetaGroup::new(&Env::real(), &Secret::NONE, list).expect("addresses")
    }

    fn picked(group: &MetaGroup) -> String {
        group.pick().expect("a channel").0
    }

    #[tokio::test]
    async fn a_redirect_is_followed_and_a_dead_leader_leads_back_to_the_list() {
        let group = group("127.0.0.1:1, 127.0.0.1:2");
        assert_eq!(picked(&group), "127.0.0.1:1");
        group.failed("127.0.0.1:1", &redirect::not_leader(Some("127.0.0.1:3")));
        assert_eq!(picked(&group), "127.0.0.1:3");
        group.failed("127.0.0.1:3", &Status::unavailable("gone"));
        assert_eq!(picked(&group), "127.0.0.1:1");
        group.silent("127.0.0.1:1");
        assert_eq!(picked(&group), "127.0.0.1:2");
        group.silent("127.0.0.1:2");
        assert_eq!(picked(&group), "127.0.0.1:1");
    }

    #[tokio::test]
    async fn a_redirect_to_nonsense_is_forgotten() {
        let group = group("127.0.0.1:1");
        group.failed("127.0.0.1:1", &redirect::not_leader(Some("nonsense")));
        assert_eq!(picked(&group), "127.0.0.1:1");
    }

    #[tokio::test]
    async fn a_list_without_an_address_or_with_a_bad_one_is_refused() {
        let made = |list| MetaGroup::new(&Env::real(), &Secret::NONE, list).map(drop);
        assert_eq!(made(" ,"), Err(BadList::Empty));
        assert!(matches!(made("127.0.0.1:1,nonsense"), Err(BadList::Address(_))));
    }
}
