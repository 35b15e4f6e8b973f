//! The fault: the process of a shard's primary is killed with SIGKILL, by its pid, and the next one not before its shard
//! has a replica again that follows.

use crate::facts;
use crate::load::Shared;
use capstan_jepsen::connection::Options;
use capstan_proto::env::{Boot, Clock, RealClock};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A shard that was acknowledged something within this is served.
const FRESH: Duration = Duration::from_millis(200);

/// Whether a primary is killed only while it has a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replicas {
    /// One must follow it.
    Needed,
    /// The data is lost with it.
    None,
}

/// What is killed, and when.
pub(crate) struct Plan {
    pub(crate) nodes: Vec<String>,
    pub(crate) options: Options,
    /// `PORT PID` a line, rewritten whenever a process is started.
    pub(crate) pids: PathBuf,
    /// The shards whose primaries are killed in turn.
    pub(crate) shards: Vec<usize>,
    pub(crate) kills: usize,
    /// The least time from one kill to the next.
    pub(crate) every: Duration,
    /// A shard that is not whole again within this ends the run.
    pub(crate) ready_within: Duration,
    pub(crate) replicas: Replicas,
}

/// One kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) at: Boot,
    pub(crate) shard: usize,
    pub(crate) node: String,
    pub(crate) pid: u32,
}

impl Plan {
    /// Kills, one after the other; `told` hears of each at once.
    pub(crate) async fn run(
        &self,
        shared: &Shared,
        mut told: impl FnMut(&Kill),
    ) -> Result<Vec<Kill>, String> {
        let mut kills: Vec<Kill> = Vec::new();
        for number in 0..self.kills {
            let shard = self.shards[number % self.shards.len()];
            if let Some(last) = kills.last() {
                tokio::time::sleep(self.every.saturating_sub(RealClock.boot().since(last.at))).await;
            }
            let node = self.whole(shared, shard).await?;
            let kill = self.kill(shard, node)?;
            told(&kill);
            kills.push(kill);
        }
        // The last one has its time, too, and its shard is left whole.
        if let Some(last) = kills.last() {
            tokio::time::sleep(self.every.saturating_sub(RealClock.boot().since(last.at))).await;
            for shard in &self.shards {
                self.whole(shared, *shard).await?;
            }
        }
        Ok(kills)
    }

    /// Waits until a shard is served and its primary followed; its primary.
    async fn whole(&self, shared: &Shared, shard: usize) -> Result<String, String> {
        let begun = RealClock.boot();
        loop {
            let why = match self.look(shared, shard).await {
                Ok(primary) => return Ok(primary),
                Err(why) => why,
            };
            if RealClock.boot().since(begun) > self.ready_within {
                return Err(format!("shard {shard} is not whole after {:?}: {why}", self.ready_within));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self, shared: &Shared, shard: usize) -> Result<String, String> {
        let ranges = facts::slots(&self.nodes, &self.options).await.map_err(|error| error.to_string())?;
        let (first, _) = shared.shards[shard].runs[0];
        let range = ranges.into_iter().find(|range| (range.from..=range.to).contains(&first));
        let primary = range.ok_or("no node serves its first slot")?.primary;
        let silent = RealClock.boot().since(shared.timeline(shard).last());
        if silent > FRESH {
            return Err(format!("nothing was acknowledged for {silent:?}"));
        }
        if self.replicas == Replicas::Needed {
            let info = facts::text(&primary, &self.options, &["INFO", "replication"]).await;
            let info = info.map_err(|error| error.to_string())?;
            match facts::following(&info) {
                Some(1..) => {}
                Some(0) => return Err(format!("no replica follows {primary}")),
                None => return Err(format!("{primary} says that it is no primary")),
            }
        }
        Ok(primary)
    }

    fn kill(&self, shard: usize, node: String) -> Result<Kill, String> {
        let pid = pid_at(&self.pids, &node)?;
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| format!("{pid} is no process"))?;
        let at = RealClock.boot();
        kill_process(process, Signal::KILL).map_err(|why| format!("{node}, process {pid}: {why}"))?;
        Ok(Kill { at, shard, node, pid })
    }
}

/// The process that serves an address, by the list of processes.
fn pid_at(pids: &Path, node: &str) -> Result<u32, String> {
    let text = std::fs::read_to_string(pids).map_err(|why| format!("{}: {why}", pids.display()))?;
    let port = node.rsplit(':').next().unwrap_or_default();
    let row = text.lines().find_map(|line| line.split_once(' ').filter(|(at, _)| *at == port));
    let pid = row.and_then(|(_, pid)| pid.trim().parse().ok());
    pid.ok_or_else(|| format!("{} names no process at port {port}", pids.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_port_is_found_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let pids = dir.path().join("pids");
        std::fs::write(&pids, "7000 11\n17000 12\n").expect("room");
        assert_eq!(pid_at(&pids, "127.0.0.1:7000"), Ok(11));
        assert_eq!(pid_at(&pids, "127.0.0.1:17000"), Ok(12));
        assert!(pid_at(&pids, "127.0.0.1:700").expect_err("no such port").contains("700"));
    }
}
