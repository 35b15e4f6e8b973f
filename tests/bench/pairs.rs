//! A primary with all slots and one replica that follows it: Redis' by CLUSTER MEET and REPLICATE, ours as
//! `capstan dev --replicas 1` makes them.

use crate::admin::Admin;
use crate::process::{Process, kill_9};
use crate::servers::{Configuration, Kind, READY_MAX, SHORT, Server, serves, try_until};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How long a replica may take to apply what its primary has.
const LEVEL_MAX: Duration = Duration::from_secs(120);
/// How long a replica may take to serve in the place of its primary.
const TAKE_OVER_MAX: Duration = Duration::from_secs(60);

/// A primary and its replica.
pub(crate) struct Pair {
    /// Serves all slots.
    pub(crate) primary: Server,
    /// Follows it.
    pub(crate) replica: Server,
    keeper: Keeper,
    _folder: tempfile::TempDir,
}

/// Who starts a process again that was killed.
enum Keeper {
    /// `capstan dev` itself.
    Dev(Process),
    /// Nobody but us: the primary's and the replica's process.
    Us([Process; 2]),
}

impl Pair {
    /// Starts one and waits until the replica follows.
    pub(crate) fn start(kind: &Kind) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (addresses, lines, mut keeper) = match kind {
            Kind::CapstanEmulated { .. } => {
                return Err(io::Error::other("a node alone has no replica: leave --emulated away"));
            }
            Kind::CapstanCluster { .. } => {
                let port = kind.free_base()?;
                let process = Process::start(kind.command(port, folder.path(), 1), folder.path())?;
                let line = process.line();
                ([port, port + 1].map(local), [line.clone(), line], Keeper::Dev(process))
            }
            Kind::Redis { .. } => {
                let (addresses, processes) = redis(kind, folder.path())?;
                (addresses, [processes[0].line(), processes[1].line()], Keeper::Us(processes))
            }
        };
        let (Keeper::Dev(process) | Keeper::Us([process, _])) = &mut keeper;
        let first_leads = process.await_ready(READY_MAX, || standing(addresses))?;
        let server = |at: usize| -> io::Result<Server> {
            let (address, command) = (addresses[at], lines[at].clone());
            Ok(Server { name: kind.name(), address, pid: Admin::connect(address)?.pid()?, command })
        };
        let (primary, replica) = (server(usize::from(!first_leads))?, server(usize::from(first_leads))?);
        primary.admin()?.ok(&["FLUSHALL"])?;
        let pair = Self { primary, replica, keeper, _folder: folder };
        pair.level()?;
        Ok(pair)
    }

    /// Waits until the replica has applied everything that the primary has now.
    pub(crate) fn level(&self) -> io::Result<()> {
        let mut replica = self.replica.admin()?;
        let wanted = self.primary.admin()?.replication()?.offset;
        try_until(LEVEL_MAX, "the replica is not level", || {
            let is = replica.replication()?;
            match !is.primary && is.link_up && is.offset >= wanted {
                true => Ok(()),
                false => Err(io::Error::other(format!("{is:?}, and its primary is at {wanted}"))),
            }
        })
    }

    /// Waits until the replica of a killed primary has taken in all it could get and serves in its place.
    pub(crate) fn take_over(&self) -> io::Result<()> {
        if let Keeper::Us(_) = self.keeper {
            // Redis' replica alone has no majority: it is told to, once it saw the end of the stream.
            let mut replica = self.replica.admin()?;
            try_until(TAKE_OVER_MAX, "the replica does not see that its primary is gone", || match replica
                .replication()?
                .link_up
            {
                false => Ok(()),
                true => Err(io::Error::other("its link is up")),
            })?;
            replica.ok(&["CLUSTER", "FAILOVER", "TAKEOVER"])?;
        }
        try_until(TAKE_OVER_MAX, "the replica does not take over", || {
            let mut replica = Admin::patient(self.replica.address, SHORT)?;
            match replica.replication()?.primary {
                true => serves(&mut replica),
                false => Err(io::Error::other("it is still a replica")),
            }
        })
    }

    /// kill -9 of the replica; it comes back empty, and has to be copied to.
    pub(crate) fn kill_replica(&mut self) -> io::Result<()> {
        kill_9(self.replica.pid)?;
        if let Keeper::Us([_, replica]) = &mut self.keeper {
            // What the last copy left on the disk would let it go on from there.
            let _ = std::fs::remove_file(replica.folder().join("dump.rdb"));
            replica.start_again()?;
        }
        Ok(())
    }

    /// Looks once whether the replica that was killed is back and holds at least so many keys.
    pub(crate) fn look_if_whole(&mut self, keys: u64) -> io::Result<bool> {
        let mut admin = Admin::patient(self.replica.address, SHORT)?;
        let pid = admin.pid()?;
        let whole = pid != self.replica.pid && admin.replication()?.link_up && admin.keys()? >= keys;
        if whole {
            self.replica.pid = pid;
        }
        Ok(whole)
    }

    /// Of both.
    pub(crate) fn configurations(&self) -> io::Result<[Configuration; 2]> {
        Ok([self.primary.configuration()?, self.replica.configuration()?])
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Whether the first one leads, once one does and the other follows.
fn standing(addresses: [SocketAddr; 2]) -> io::Result<bool> {
    let [mut first, mut second] =
        [Admin::patient(addresses[0], SHORT)?, Admin::patient(addresses[1], SHORT)?];
    let is = [first.replication()?, second.replication()?];
    let (follower, leader) = match [is[0].primary, is[1].primary] {
        [true, false] => (&is[1], &mut first),
        [false, true] => (&is[0], &mut second),
        [true, true] | [false, false] => return Err(io::Error::other(format!("{is:?}"))),
    };
    if !follower.link_up {
        return Err(io::Error::other(format!("{is:?}")));
    }
    serves(leader)?;
    Ok(is[0].primary)
}

/// Two servers of Redis: the first has all slots, the second is told to follow it.
fn redis(kind: &Kind, folder: &Path) -> io::Result<([SocketAddr; 2], [Process; 2])> {
    let start = |name: &str| -> io::Result<(SocketAddr, Process)> {
        let (port, folder) = (kind.free_base()?, folder.join(name));
        std::fs::create_dir(&folder)?;
        Ok((local(port), Process::start(kind.command(port, &folder, 0), &folder)?))
    };
    let (first, mut primary) = start("primary")?;
    let mut admin = primary.await_ready(READY_MAX, || {
        let mut admin = Admin::patient(first, SHORT)?;
        admin.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
        Ok(admin)
    })?;
    let id = admin.text(&["CLUSTER", "MYID"])?;
    let (second, mut replica) = start("replica")?;
    let port = first.port().to_string();
    let mut met = false;
    replica.await_ready(READY_MAX, || {
        let mut admin = Admin::patient(second, SHORT)?;
        if !met {
            admin.ok(&["CLUSTER", "MEET", "127.0.0.1", &port])?;
            met = true;
        }
        admin.ok(&["CLUSTER", "REPLICATE", &id])
    })?;
    Ok(([first, second], [primary, replica]))
}
