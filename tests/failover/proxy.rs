//! Links that a test can cut: a relay in front of a port, which holds back every byte while its link is cut.
//!
//! As in a network that drops packets, nothing is closed by a cut: bytes that were sent wait, new connections open and stay
//! silent, and after the cut all of it arrives. A relay knows whose connection it carries by asking the kernel which process has
//! the other end; a connection of a process that nobody has named is never held back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

/// How long a relay waits before it looks at the rules again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a data node, named by its port, is connected with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// With the meta servers.
    Meta(u16),
    /// With the other data nodes, by whoever dialled.
    Peers(u16),
}

/// The rules, shared by all relays.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    rules: Mutex<Rules>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rules {
    cut: BTreeSet<Link>,
    /// The port of the data node that a process serves for.
    processes: BTreeMap<u32, u16>,
}

impl Cuts {
    /// Cuts a link.
    pub(crate) fn cut(&self, link: Link) {
        self.rules.lock().expect("no panic").cut.insert(link);
    }

    /// Mends every link.
    pub(crate) fn mend(&self) {
        self.rules.lock().expect("no panic").cut.clear();
        self.changed.notify_all();
    }

    /// This process serves for that data node.
    pub(crate) fn name(&self, pid: u32, node: u16) {
        self.rules.lock().expect("no panic").processes.insert(pid, node);
    }

    /// Returns when no link of a connection is cut.
    fn pass(&self, carried: &Carried) {
        let mut rules = self.rules.lock().expect("no panic");
        while !rules.cut.is_empty() && carried.links(&rules).iter().any(|link| rules.cut.contains(link)) {
            rules = self.changed.wait_timeout(rules, LOOK_EVERY).expect("no panic").0;
        }
    }
}

/// A connection through a relay.
#[derive(Debug)]
struct Carried {
    front: Front,
    /// The kernel's number of the dialler's socket.
    socket: Option<u64>,
    /// The data node whose process that is, once it is known. A process may be named after it has dialled.
    dialler: OnceLock<u16>,
}

impl Carried {
    fn links(&self, rules: &Rules) -> Vec<Link> {
        if self.dialler.get().is_none()
            && let Some(socket) = self.socket
            && let Some((_, node)) = rules.processes.iter().find(|(pid, _)| has_socket(**pid, socket))
        {
            let _ = self.dialler.set(*node);
        }
        self.front.links(self.dialler.get().copied())
    }
}

/// Whose connections a relay carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// It stands in front of a meta server.
    OfMeta,
    /// It stands in front of the peer port of this data node.
    OfPeers(u16),
}

impl Front {
    fn links(self, dialler: Option<u16>) -> Vec<Link> {
        match self {
            Self::OfMeta => dialler.map(Link::Meta).into_iter().collect(),
            Self::OfPeers(node) => [Some(node), dialler].into_iter().flatten().map(Link::Peers).collect(),
        }
    }
}

/// Relays connections to `relay` on to `target`, for as long as the process lives.
pub(crate) fn relay(cuts: &Arc<Cuts>, front: Front, relay: SocketAddr, target: SocketAddr) {
    let listener = TcpListener::bind(relay).expect("a port that was free a moment ago");
    let cuts = Arc::clone(cuts);
    std::thread::spawn(move || {
        while let Ok((near, from)) = listener.accept() {
            let cuts = Arc::clone(&cuts);
            std::thread::spawn(move || {
                let socket = socket_inode(from, relay);
                let carried = Arc::new(Carried { front, socket, dialler: OnceLock::new() });
                carry(&cuts, &carried, near, target);
            });
        }
    });
}

fn carry(cuts: &Arc<Cuts>, carried: &Arc<Carried>, near: TcpStream, target: SocketAddr) {
    cuts.pass(carried);
    let Ok(far) = TcpStream::connect(target) else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
    let (of_back, carried_back) = (Arc::clone(cuts), Arc::clone(carried));
    let back = std::thread::spawn(move || pump(&of_back, &carried_back, far_too, near_too));
    pump(cuts, carried, near, far);
    let _ = back.join();
}

/// Carries one direction until its end, which passes the cut as bytes do.
fn pump(cuts: &Cuts, carried: &Carried, mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 64 << 10];
    loop {
        let count = from.read(&mut bytes).unwrap_or_default();
        cuts.pass(carried);
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
            return;
        }
    }
}

/// The kernel's number of the socket that is bound to `local` and connected to `remote`, both of loopback.
fn socket_inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hex = |at: SocketAddr| match at {
        SocketAddr::V4(at) => Some(format!("{:08X}:{:04X}", u32::from_le_bytes(at.ip().octets()), at.port())),
        SocketAddr::V6(_) => None,
    };
    let (local, remote) = (hex(local)?, hex(remote)?);
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let ours = words.next() == Some(&local) && words.next() == Some(&remote);
        if ours { words.nth(6)?.parse().ok() } else { None }
    })
}

fn has_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.filter_map(Result::ok)
        .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
}

#[test]
fn a_cut_link_holds_bytes_back_and_gives_them_up_when_it_is_mended() {
    let target = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let front =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback");
    let cuts = Arc::new(Cuts::default());
    cuts.name(std::process::id(), 7);
    relay(&cuts, Front::OfMeta, front, target.local_addr().expect("bound"));
    let mut near = TcpStream::connect(front).expect("it listens");
    let (mut far, _) = target.accept().expect("it is relayed");
    far.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    near.write_all(b"a").expect("sent");
    let mut byte = [0];
    far.read_exact(&mut byte).expect("it arrives");
    cuts.cut(Link::Meta(7));
    near.write_all(b"b").expect("sent");
    assert!(far.read_exact(&mut byte).is_err(), "it passed the cut");
    cuts.mend();
    far.set_read_timeout(None).expect("a socket");
    far.read_exact(&mut byte).expect("it arrives after all");
    assert_eq!(&byte, b"b");
}
