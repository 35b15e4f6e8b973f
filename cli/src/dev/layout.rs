//! What a dev cluster consists of: ports, folders, ids of its shards and of the requests that form it. Pure, but for
//! reading and writing the one file `dev.json`.
//!
//! The ids are drawn once and written before anything starts, so that an interrupted formation goes on where it
//! stopped: the same requests are sent again and done once.

use capstan_proto::env::Env;
use capstan_proto::ids::{BadId, RequestId, ShardId};
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::SlotRun;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The form of `dev.json`.
const FORMAT: u32 = 2;
/// The form that knew no replicas: read, and written only as long as there are none.
const FORMAT_WITHOUT_REPLICAS: u32 = 1;
/// Meta servers listen this far above the first data node.
const META_OFFSET: u16 = 50;
/// Peers connect this far above a data node's port.
const PEER_OFFSET: u16 = 10_000;
const PORT: u16 = 7000;
const SHARDS: u16 = 3;
const REPLICAS: u16 = 1;
const META: u16 = 3;

/// What the command line asks for; nothing means "as it is, or the default".
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) port: Option<u16>,
    pub(crate) shards: Option<u16>,
    pub(crate) replicas: Option<u16>,
    pub(crate) meta: Option<u16>,
}

/// One shard to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Its id, 40 hex digits.
    pub(crate) id: String,
    /// The request that makes a node its primary.
    pub(crate) join: String,
    /// The request that gives it its slots.
    pub(crate) slots: String,
    /// The requests that make nodes its replicas.
    #[serde(default)]
    pub(crate) replicas: Vec<String>,
}

/// A dev cluster.
///
/// The nodes on the first ports found the shards, in order; then come the first replicas of each, in the same order, then the
/// second ones. Who leads changes with every failover; who belongs to which shard does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    format: u32,
    pub(crate) port: u16,
    pub(crate) meta: u16,
    pub(crate) replicas: u16,
    pub(crate) shards: Vec<Shard>,
}

/// The ids of a shard and of the requests that form it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forming {
    pub(crate) shard: ShardId,
    pub(crate) join: RequestId,
    pub(crate) slots: RequestId,
    pub(crate) replicas: Vec<RequestId>,
}

impl Layout {
    /// A new one.
    pub(crate) fn found(env: &Env, wish: Wish) -> Result<Self, String> {
        let id = |bytes: usize| -> String {
            let mut id = vec![0; bytes];
            env.random.fill(&mut id);
            id.iter().map(|b| format!("{b:02x}")).collect()
        };
        let replicas = wish.replicas.unwrap_or(REPLICAS);
        let shard = |_| Shard {
            id: id(20),
            join: id(16),
            slots: id(16),
            replicas: (0..replicas).map(|_| id(16)).collect(),
        };
        let layout = Self {
            format: FORMAT,
            port: wish.port.unwrap_or(PORT),
            meta: wish.meta.unwrap_or(META),
            replicas,
            shards: (0..wish.shards.unwrap_or(SHARDS)).map(shard).collect(),
        };
        layout.check().map(|()| layout)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT && (self.format != FORMAT_WITHOUT_REPLICAS || self.replicas != 0) {
            return Err(format!("it has form {}, this program knows form {FORMAT}", self.format));
        }
        let (shards, nodes) = (self.shards.len(), self.nodes());
        if nodes == 0 || nodes > usize::from(META_OFFSET) || self.meta == 0 {
            return Err(format!(
                "{shards} shards with {} replicas each and {} meta servers are no cluster: it has 1 to {META_OFFSET} data nodes",
                self.replicas, self.meta
            ));
        }
        if self.shards.iter().any(|shard| shard.replicas.len() != usize::from(self.replicas)) {
            return Err(format!("not every shard has {} replicas", self.replicas));
        }
        let top = self
            .port
            .checked_add(PEER_OFFSET)
            .and_then(|p| p.checked_add(META_OFFSET)?.checked_add(self.meta));
        top.map(|_| ()).ok_or_else(|| format!("with --port {} the peer ports would pass 65535", self.port))
    }

    /// Whether this one is what is asked for; if not, why not.
    pub(crate) fn matches(&self, wish: Wish) -> Result<(), String> {
        let differs = |name: &str, have: usize, want: Option<u16>| match want {
            Some(want) if usize::from(want) != have => Err(format!(
                "this folder holds a cluster with --{name} {have}, not {want}: leave that flag away, or choose another --dir"
            )),
            Some(_) | None => Ok(()),
        };
        differs("port", usize::from(self.port), wish.port)?;
        differs("shards", self.shards.len(), wish.shards)?;
        differs("replicas", usize::from(self.replicas), wish.replicas)?;
        differs("meta", usize::from(self.meta), wish.meta)
    }

    /// The layout in a folder, if one was ever started there.
    pub(crate) fn load(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join("dev.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad =
            |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        let layout: Self = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        layout.check().map_err(bad)?;
        layout.forming().map_err(|e| bad(e.to_string()))?;
        Ok(Some(layout))
    }

    /// Writes it, in one step.
    pub(crate) fn save(&self, env: &Env, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        env.disk.replace(&dir.join("dev.json"), &text)
    }

    /// How many data nodes there are.
    fn nodes(&self) -> usize {
        self.shards.len() * (1 + usize::from(self.replicas))
    }

    /// The ports of the data nodes.
    pub(crate) fn node_ports(&self) -> impl Iterator<Item = u16> + use<> {
        (self.port..).take(self.nodes())
    }

    /// The ports of the nodes of a shard, its founder first.
    pub(crate) fn ports_of(&self, place: usize) -> impl Iterator<Item = u16> + use<> {
        self.node_ports().skip(place).step_by(self.shards.len().max(1))
    }

    /// Numbers and ports of the meta servers.
    pub(crate) fn meta_servers(&self) -> impl Iterator<Item = (u64, u16)> {
        (1..=u64::from(self.meta)).zip(self.port + META_OFFSET..)
    }

    /// Every port that will be listened on, with what for.
    pub(crate) fn ports(&self) -> Vec<(u16, String)> {
        let nodes = self.node_ports().flat_map(|port| {
            [
                (port, format!("data node {port}")),
                (port + PEER_OFFSET, format!("the peers of data node {port}")),
            ]
        });
        nodes.chain(self.meta_servers().map(|(id, port)| (port, format!("meta server {id}")))).collect()
    }

    /// Where the meta servers listen.
    pub(crate) fn meta_addresses(&self) -> Vec<String> {
        self.meta_servers().map(|(_, port)| format!("127.0.0.1:{port}")).collect()
    }

    /// The slots of the shard with this place in the list: the parts that `redis-cli --cluster create` makes.
    pub(crate) fn slots(&self, place: usize) -> Option<SlotRun> {
        let shards = self.shards.len();
        let bound = |place: usize| (usize::from(SLOTS) * place + shards / 2) / shards.max(1);
        let slot = |number: usize| u16::try_from(number).ok().and_then(Slot::new);
        let last = slot(bound(place + 1).checked_sub(1)?)?;
        Some(SlotRun { first: slot(bound(place))?, last, owner: None })
    }

    /// The ids of the shards and of the requests that form them.
    pub(crate) fn forming(&self) -> Result<Vec<Forming>, BadId> {
        let read = |shard: &Shard| {
            Ok(Forming {
                shard: shard.id.parse()?,
                join: shard.join.parse()?,
                slots: shard.slots.parse()?,
                replicas: shard.replicas.iter().map(|request| request.parse()).collect::<Result<_, _>>()?,
            })
        };
        self.shards.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shards: u16) -> Layout {
        let wish = Wish { shards: Some(shards), replicas: Some(0), ..Wish::default() };
        Layout::found(&Env::real(), wish).expect("possible")
    }

    #[test]
    fn the_slots_of_all_shards_are_all_slots_once() {
        for shards in [1, 2, 3, 7, 50] {
            let layout = layout(shards);
            let mut next = 0;
            for place in 0..usize::from(shards) {
                let run = layout.slots(place).expect("a part");
                assert_eq!(run.first.number(), next, "{shards} shards");
                next = run.last.number() + 1;
            }
            assert_eq!(next, SLOTS);
        }
        let lasts = [0, 1, 2].map(|place| layout(3).slots(place).expect("a part").last.number());
        assert_eq!(lasts, [5460, 10922, 16383]);
    }

    #[test]
    fn a_layout_reads_back_and_refuses_another_shape() {
        let dir = tempfile::tempdir().expect("a folder");
        let env = Env::real();
        assert!(Layout::load(dir.path()).expect("nothing there").is_none());
        let layout = layout(3);
        layout.save(&env, dir.path()).expect("saved");
        assert_eq!(Layout::load(dir.path()).expect("there"), Some(layout.clone()));
        assert_eq!(layout.matches(Wish::default()), Ok(()));
        let error = layout.matches(Wish { shards: Some(5), ..Wish::default() }).expect_err("another shape");
        assert!(error.contains("--shards 3"), "{error}");
    }

    #[test]
    fn what_cannot_be_a_cluster_is_refused_before_anything_starts() {
        let found = |wish| Layout::found(&Env::real(), wish);
        let many = Wish { shards: Some(30), replicas: Some(1), ..Wish::default() };
        assert!(found(many).expect_err("60 data nodes").contains("1 to 50 data nodes"));
        assert!(found(Wish { port: Some(60_000), ..Wish::default() }).is_err());
        assert!(found(Wish { port: Some(22_000), meta: Some(1), ..Wish::default() }).is_ok());
    }

    #[test]
    fn the_nodes_of_a_shard_lie_as_many_ports_apart_as_there_are_shards() {
        let layout =
            Layout::found(&Env::real(), Wish { replicas: Some(2), ..Wish::default() }).expect("possible");
        assert_eq!(layout.node_ports().collect::<Vec<_>>(), (7000..7009).collect::<Vec<_>>());
        assert_eq!(layout.ports_of(1).collect::<Vec<_>>(), [7001, 7004, 7007]);
        assert_eq!(layout.forming().expect("ids")[1].replicas.len(), 2);
    }

    #[test]
    fn a_cluster_from_before_there_were_replicas_is_read_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!(
            r#"{{"format":1,"port":7000,"meta":3,"replicas":0,"shards":[{{"id":"{}","join":"{}","slots":"{}"}}]}}"#,
            "ab".repeat(20),
            "cd".repeat(16),
            "ef".repeat(16)
        );
        std::fs::write(dir.path().join("dev.json"), text).expect("written");
        let layout = Layout::load(dir.path()).expect("readable").expect("there");
        assert_eq!(layout.node_ports().collect::<Vec<_>>(), [7000]);
        assert_eq!(layout.matches(Wish::default()), Ok(()));
        assert!(layout.matches(Wish { replicas: Some(1), ..Wish::default() }).is_err());
    }

    #[test]
    fn a_damaged_layout_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        for text in ["", "{}", "{\"format\":1,\"port\":7000,\"meta\":3,\"replicas\":0,\"shards\":[]}"] {
            std::fs::write(dir.path().join("dev.json"), text).expect("written");
            let error = Layout::load(dir.path()).expect_err(text).to_string();
            assert!(error.contains("dev.json"), "{error}");
        }
    }
}
