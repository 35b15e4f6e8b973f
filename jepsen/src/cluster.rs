//! A client of a whole cluster: it keeps a slot map, follows MOVED and ASK, and says what it could not learn.
//!
//! It retries only what certainly did not happen: a redirect, a refusal that names no effect (TRYAGAIN, CLUSTERDOWN,
//! LOADING), a connection that never opened. An unknown outcome is handed to the caller at once: a checker must know.

use crate::connection::{CallError, Connection, Options};
use crate::resp::Value;
use crate::slots::{Redirect, parse_slots};
use capstan_proto::slot::Slot;
use std::collections::HashMap;

/// How often one call may be redirected or refused before it is given up.
pub const ATTEMPTS_MAX: usize = 64;

/// A client that knows who serves which slot.
pub struct ClusterClient {
    seeds: Vec<String>,
    options: Options,
    /// For every slot the place of its primary in `nodes`.
    owners: Vec<Option<u16>>,
    nodes: Vec<String>,
    connections: HashMap<String, Connection>,
    redirects: u64,
    refusals: u64,
    /// How often the slot map was read: each time another node is asked first.
    refreshes: usize,
}

impl ClusterClient {
    /// Connects to the first seed that answers and reads the slot map.
    pub async fn connect(seeds: &[String], options: Options) -> Result<Self, CallError> {
        let mut client = Self {
            seeds: seeds.to_vec(),
            options,
            owners: vec![None; usize::from(capstan_proto::slot::SLOTS)],
            nodes: Vec::new(),
            connections: HashMap::new(),
            redirects: 0,
            refusals: 0,
            refreshes: 0,
        };
        client.refresh().await?;
        Ok(client)
    }

    /// How many redirects were followed so far.
    #[must_use]
    pub fn redirects(&self) -> u64 {
        self.redirects
    }

    /// How many refusals (CLUSTERDOWN, TRYAGAIN and their like) were answered by trying again so far.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// The primary that the map names for a key.
    #[must_use]
    pub fn owner(&self, key: &[u8]) -> Option<&str> {
        let at = self.owners[Slot::of_key(key).index()]?;
        self.nodes.get(usize::from(at)).map(String::as_str)
    }

    /// The nodes that were heard of so far.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Says that a slot is served somewhere, true or not: a test forces a redirect so.
    pub fn set_owner(&mut self, slot: Slot, address: &str) {
        let at = self.node_index(address);
        self.owners[slot.index()] = at;
    }

    /// Reads the slot map again from any node that answers; each time the next one is asked first, so that one that is
    /// behind is not asked again and again.
    pub async fn refresh(&mut self) -> Result<(), CallError> {
        self.refreshes += 1;
        let mut last = CallError::NotSent { to: "the cluster".into(), why: "no address is known".into() };
        let mut known: Vec<String> = self.nodes.iter().chain(&self.seeds).cloned().collect();
        let first = self.refreshes % known.len().max(1);
        known.rotate_left(first);
        for address in known {
            match self.call_at(&address, &["CLUSTER", "SLOTS"]).await {
                Err(error) => last = error,
                Ok(reply) => match parse_slots(&reply, &address) {
                    None => {
                        last =
                            CallError::NotSent { to: address, why: format!("CLUSTER SLOTS gave {reply:?}") }
                    }
                    Some(ranges) => {
                        self.owners.fill(None);
                        for range in ranges {
                            let at = self.node_index(&range.primary);
                            self.owners[usize::from(range.from)..=usize::from(range.to)].fill(at);
                        }
                        return Ok(());
                    }
                },
            }
        }
        Err(last)
    }

    /// Sends a command to whoever serves the key, following redirects.
    pub async fn call<A: AsRef<[u8]>>(&mut self, key: &[u8], args: &[A]) -> Result<Value, CallError> {
        let slot = Slot::of_key(key);
        let mut last = CallError::NotSent { to: "the cluster".into(), why: "no node serves the slot".into() };
        for _attempt in 0..ATTEMPTS_MAX {
            let Some(address) = self.owner(key).map(str::to_owned) else {
                self.refresh().await?;
                if self.owner(key).is_none() {
                    tokio::time::sleep(self.options.pause).await;
                }
                continue;
            };
            match self.call_at(&address, args).await {
                Err(error) if error.may_have_happened() => return Err(error),
                Err(error) => {
                    last = error;
                    tokio::time::sleep(self.options.pause).await;
                    let _ = self.refresh().await;
                }
                Ok(reply) => {
                    let Some(text) = reply.error() else { return Ok(reply) };
                    match Redirect::parse(&text, &address) {
                        Some(Redirect::Moved { to, .. }) => {
                            self.redirects += 1;
                            self.set_owner(slot, &to);
                        }
                        Some(Redirect::Ask { to, .. }) => {
                            self.redirects += 1;
                            return self.ask(&to, args).await;
                        }
                        None if is_refusal(&text) => {
                            self.refusals += 1;
                            last = CallError::NotSent { to: address, why: text };
                            tokio::time::sleep(self.options.pause).await;
                            let _ = self.refresh().await;
                        }
                        None => return Ok(reply),
                    }
                }
            }
        }
        Err(last)
    }

    /// Sends a command to one node, redirects and all.
    pub async fn call_at<A: AsRef<[u8]>>(&mut self, address: &str, args: &[A]) -> Result<Value, CallError> {
        let mut connection = self.take(address).await?;
        let reply = connection.call(args).await?;
        self.connections.insert(address.to_owned(), connection);
        Ok(reply)
    }

    /// Sends many commands to one node: the replies that came, and the error that kept the others away.
    pub async fn pipeline_at<A: AsRef<[u8]>>(
        &mut self,
        address: &str,
        commands: &[Vec<A>],
    ) -> (Vec<Value>, Option<CallError>) {
        let mut connection = match self.take(address).await {
            Ok(connection) => connection,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let (replies, error) = connection.pipeline_as_far(commands).await;
        if error.is_none() {
            self.connections.insert(address.to_owned(), connection);
        }
        (replies, error)
    }

    async fn ask<A: AsRef<[u8]>>(&mut self, address: &str, args: &[A]) -> Result<Value, CallError> {
        let mut connection = self.take(address).await?;
        let args = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
        let mut replies = connection.pipeline(&[vec![b"ASKING".to_vec()], args]).await?;
        self.connections.insert(address.to_owned(), connection);
        replies.pop().ok_or_else(|| CallError::Unknown { to: address.to_owned(), why: "no reply".into() })
    }

    /// A connection leaves the pool while it is used, so that a failed one is simply not put back.
    async fn take(&mut self, address: &str) -> Result<Connection, CallError> {
        if let Some(mut connection) = self.connections.remove(address)
            && !connection.has_ended()
        {
            return Ok(connection);
        }
        Connection::open(address, &self.options).await
    }

    fn node_index(&mut self, address: &str) -> Option<u16> {
        let at = self.nodes.iter().position(|node| node == address).unwrap_or_else(|| {
            self.nodes.push(address.to_owned());
            self.nodes.len() - 1
        });
        u16::try_from(at).ok()
    }
}

/// An error after which the same command may be sent again without doubt: it left no effect.
#[must_use]
pub fn is_refusal(error: &str) -> bool {
    ["TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"].iter().any(|prefix| error.starts_with(prefix))
}
