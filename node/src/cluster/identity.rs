//! Who this node is, across its lives: its id, the group it obeys, its last incarnation, and the last cluster state.
//!
//! It decides what is kept in the data folder and in which form: a version byte, the value, a checksum over both; each
//! file is replaced in one step. A file that is damaged is an error that names it, never a guess (I11). What is read
//! here says whom to ask and who the node was; nothing is served on the strength of it (DESIGN 9).

use capstan_proto::codec::{self, CodecError};
use capstan_proto::env::{Env, FolderLock};
use capstan_proto::ids::{GroupId, Incarnation, NodeId, SpawnToken, Version};
use capstan_proto::topology::{ProcessPlace, Row, Topology};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format of both files.
const FORMAT: u8 = 1;
/// Lives that may have been registered without the node learning of it; the oldest are forgotten first.
const ATTEMPTS_MAX: usize = 64;
const IDENTITY: &str = "identity";
const CLUSTER_STATE: &str = "cluster-state";

/// What a node remembers of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The 40 digits that clients know it by.
    pub node: NodeId,
    /// The only meta group that it obeys, once it has registered with one (►20).
    pub group: Option<GroupId>,
    /// Its last life that it knows was registered.
    pub last: Option<Incarnation>,
    /// Lives since then that asked to be registered: an answer may have been lost with the life.
    pub attempts: Vec<SpawnToken>,
}

impl Identity {
    /// A node that has never lived.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self { node, group: None, last: None, attempts: Vec::new() }
    }

    /// A life is about to ask to be registered.
    pub fn attempt(&mut self, token: SpawnToken) {
        if self.attempts.contains(&token) {
            return;
        }
        if self.attempts.len() >= ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        self.attempts.push(token);
    }

    /// The meta group says which life is registered. Returns whether it was one of this folder's: then the next life
    /// follows it.
    pub fn learn(&mut self, registered: Incarnation) -> bool {
        let ours = self.attempts.contains(&registered.token);
        if ours {
            self.last = Some(registered);
        }
        ours
    }

    /// This life is registered: attempts before it are settled.
    pub fn registered(&mut self, group: GroupId, incarnation: Incarnation) {
        self.group = Some(group);
        self.last = Some(incarnation);
        self.attempts.clear();
    }
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(
        "the data folder {0} is in use by another process: stop that one first, or give this node its own --dir"
    )]
    InUse(PathBuf),
    /// A file does not hold what was written to it.
    #[error("{path} is damaged ({why}): {remedy}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that was seen.
        why: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The disk said no.
    #[error("{path}: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A node's data folder, locked for as long as this value lives. Without a folder nothing outlives the process.
#[derive(Clone)]
pub struct Folder {
    env: Env,
    dir: Option<PathBuf>,
    lock: Option<Arc<dyn FolderLock>>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Folder {
    /// Locks a data folder; an empty name is none. Blocks.
    pub fn open(env: &Env, dir: &str) -> Result<Self, FolderError> {
        if dir.is_empty() {
            return Ok(Self { env: env.clone(), dir: None, lock: None });
        }
        let dir = PathBuf::from(dir);
        let lock = env.disk.lock_folder(&dir).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => FolderError::InUse(dir.clone()),
            _ => FolderError::Io { path: dir.clone(), error },
        })?;
        Ok(Self { env: env.clone(), dir: Some(dir), lock: Some(lock) })
    }

    /// Who the node was; drawn anew in an empty folder, and then kept before it is used. Blocks.
    pub fn identity(&self) -> Result<Identity, FolderError> {
        let remedy = "restore it from a backup, or start the node on an empty folder, as a new node";
        if let Some(identity) = self.read(IDENTITY, remedy)? {
            return Ok(identity);
        }
        let mut id = [0; 20];
        self.env.random.fill(&mut id);
        let identity = Identity::new(NodeId(id));
        self.keep_identity(&identity)?;
        Ok(identity)
    }

    /// Replaces what the node remembers of itself. Blocks.
    pub fn keep_identity(&self, identity: &Identity) -> Result<(), FolderError> {
        self.write(IDENTITY, identity)
    }

    /// The last cluster state that the node saw. Blocks.
    pub fn cluster_state(&self) -> Result<Option<Topology>, FolderError> {
        let remedy = "remove it; the node fetches the state again from the meta group";
        let Some((version, rows)) = self.read::<(Version, Vec<Row>)>(CLUSTER_STATE, remedy)? else {
            return Ok(None);
        };
        let mut topology = Topology::default();
        rows.into_iter().for_each(|row| topology.set(row));
        topology.version = version;
        Ok(Some(topology))
    }

    /// Replaces the last cluster state. Blocks.
    pub fn keep_cluster_state(&self, topology: &Topology) -> Result<(), FolderError> {
        self.write(CLUSTER_STATE, &(topology.version, topology.rows()))
    }

    /// Where this life runs, as far as the machine tells (►13). Blocks.
    #[must_use]
    pub fn place(&self) -> ProcessPlace {
        use std::os::unix::fs::MetadataExt;
        let text = |path: &str| match self.env.disk.read(Path::new(path)) {
            Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Ok(None) | Err(_) => String::new(),
        };
        ProcessPlace {
            // Without a folder there is no lock, so nothing is proved by being in the same place.
            machine: if self.lock.is_some() { text("/etc/machine-id") } else { String::new() },
            boot: text("/proc/sys/kernel/random/boot_id"),
            pid_namespace: std::fs::metadata("/proc/self/ns/pid").map(|meta| meta.ino()).unwrap_or_default(),
            folder: self.lock.as_ref().map(|lock| lock.inode()).unwrap_or_default(),
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        name: &str,
        remedy: &'static str,
    ) -> Result<Option<T>, FolderError> {
        let Some(path) = self.dir.as_ref().map(|dir| dir.join(name)) else { return Ok(None) };
        let bytes =
            self.env.disk.read(&path).map_err(|error| FolderError::Io { path: path.clone(), error })?;
        let Some(bytes) = bytes else { return Ok(None) };
        unseal(&bytes).map(Some).map_err(|why| FolderError::Damaged { path, why, remedy })
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), FolderError> {
        let Some(path) = self.dir.as_ref().map(|dir| dir.join(name)) else { return Ok(()) };
        let failed = |error| FolderError::Io { path: path.clone(), error };
        let bytes = seal(value).map_err(|error| failed(io::Error::other(error)))?;
        self.env.disk.replace(&path, &bytes).map_err(failed)
    }
}

/// Version byte, value, CRC-32C of both.
fn seal<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = codec::encode(FORMAT, value)?;
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    Ok(bytes)
}

fn unseal<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, String> {
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
        return Err(format!("{} bytes are too few", bytes.len()));
    };
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return Err("its checksum does not match".to_owned());
    }
    codec::decode(FORMAT, body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::env::MemDisk;

    fn env() -> Env {
        Env { disk: Arc::new(MemDisk::default()), ..Env::real() }
    }

    #[test]
    fn a_node_is_the_same_node_when_its_folder_is_opened_again() {
        let env = env();
        let first = Folder::open(&env, "/data").expect("free").identity().expect("fresh");
        let folder = Folder::open(&env, "/data").expect("free again");
        assert_eq!(folder.identity().expect("kept").node, first.node);
        let mut topology = Topology::default();
        topology.version = Version { generation: 1, index: 9 };
        topology.set(Row::Setting { name: "history-length".into(), value: "7".into() });
        folder.keep_cluster_state(&topology).expect("written");
        assert_eq!(folder.cluster_state().expect("whole"), Some(topology));
    }

    #[test]
    fn a_folder_is_used_by_one_process_at_a_time() {
        let env = env();
        let held = Folder::open(&env, "/data").expect("free");
        assert!(matches!(Folder::open(&env, "/data"), Err(FolderError::InUse(_))));
        drop(held);
    }

    #[test]
    fn every_damaged_byte_is_an_error_that_names_the_file_and_never_another_identity() {
        let env = env();
        let folder = Folder::open(&env, "/data").expect("free");
        folder.identity().expect("fresh");
        let path = Path::new("/data/identity");
        let whole = env.disk.read(path).expect("readable").expect("written");
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
        damaged.extend((0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        }));
        for bytes in damaged {
            env.disk.replace(path, &bytes).expect("written");
            let error = folder.identity().expect_err("damaged");
            assert!(error.to_string().contains("/data/identity is damaged"), "{error}");
        }
    }

    #[test]
    fn a_life_whose_registration_was_not_answered_is_known_as_our_own_later() {
        let life = |counter| Incarnation { counter, token: SpawnToken([counter as u8; 16]) };
        let mut identity = Identity::new(NodeId([1; 20]));
        identity.registered(GroupId([1; 16]), life(1));
        identity.attempt(life(2).token);
        identity.attempt(life(3).token);
        assert!(!identity.learn(life(9)), "a stranger's life");
        assert_eq!(identity.last, Some(life(1)));
        assert!(identity.learn(life(2)));
        assert_eq!(identity.last, Some(life(2)));
        (10..200).for_each(|n| identity.attempt(SpawnToken([n; 16])));
        assert_eq!(identity.attempts.len(), ATTEMPTS_MAX);
    }

    #[test]
    fn without_a_folder_a_place_proves_nothing() {
        let folder = Folder::open(&env(), "").expect("no folder is fine");
        assert!(!folder.place().proves_end_of(&folder.place()));
    }
}
