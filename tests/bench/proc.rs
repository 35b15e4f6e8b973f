//! What the kernel says of a process and of this machine.

use serde::Serialize;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// CPU time of a process and the threads it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Nanoseconds on a CPU, summed over the threads.
    pub(crate) nanos: u64,
    threads: BTreeSet<String>,
    /// The same of the whole process, ended threads included, in ticks.
    ticks: u64,
}

/// The kernel's tick of `utime` and `stime`, the same on every Linux (`USER_HZ`).
const TICK_NANOS: u64 = 10_000_000;

impl Cpu {
    /// Reads `/proc/PID/task/*/schedstat`: exact to the nanosecond, where `utime` counts ticks.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let (mut nanos, mut threads) = (0, BTreeSet::new());
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            // A thread may end between the listing and the reading: `since` then says so.
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            nanos += first_number(&text)?;
            threads.insert(task.file_name().to_string_lossy().into_owned());
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Self { nanos, threads, ticks: ticks(&stat)? })
    }

    /// The nanoseconds since an earlier reading. If a thread ended meanwhile, its own count is lost: then the whole
    /// process' is taken, which is coarser (10 ms) and misses nothing.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        match self.nanos.checked_sub(earlier.nanos) {
            Some(nanos) if earlier.threads.is_subset(&self.threads) => nanos,
            Some(_) | None => self.ticks.saturating_sub(earlier.ticks) * TICK_NANOS,
        }
    }
}

/// `utime` and `stime` of `/proc/PID/stat`, which the kernel keeps exact as a sum. The name of the process before them
/// may hold blanks and brackets.
fn ticks(stat: &str) -> io::Result<u64> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("no times in {stat:?}"));
    let (_, fields) = stat.rsplit_once(')').ok_or_else(bad)?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(user + system),
        _ => Err(bad()),
    }
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no number in {text:?}")))
}

/// Resident bytes of a process, exact (`VmRSS` of `status` lags behind by some pages a thread).
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    rollup_bytes(&text, "Rss:")
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no Rss in {text:?}")))
}

/// Resident bytes of a process and of the copies of itself that it forked: what they share is counted once.
pub(crate) fn family_bytes(pid: u32) -> io::Result<u64> {
    let mut bytes = resident_bytes(pid)?;
    for child in children(pid)? {
        // It may have ended since.
        let text = std::fs::read_to_string(format!("/proc/{child}/smaps_rollup")).unwrap_or_default();
        let alone = ["Private_Clean:", "Private_Dirty:"];
        bytes += alone.iter().filter_map(|name| rollup_bytes(&text, name)).sum::<u64>();
    }
    Ok(bytes)
}

fn rollup_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    first_number(line).ok().map(|kib| kib * 1024)
}

fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        all.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    Ok(all)
}

/// The load of this machine over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

/// The machine that the figures belong to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    transparent_huge_pages: String,
    load_average: f64,
    profile: &'static str,
}

impl Machine {
    /// Looks.
    pub(crate) fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        let field = |text: &str, name: &str| -> String {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: first_number(&field(&read("/proc/meminfo"), "MemTotal")).unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            transparent_huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled").trim().to_owned(),
            load_average: load_average(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} x {}, {} MiB, Linux {}, huge pages {}, load {}, generator built as {}",
            self.cores,
            self.cpu,
            self.memory_mib,
            self.kernel,
            self.transparent_huge_pages,
            self.load_average,
            self.profile
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_cpu_time_and_memory() {
        let before = Cpu::of(std::process::id()).unwrap();
        assert!(before.nanos > 0);
        assert!(resident_bytes(std::process::id()).unwrap() > 100 << 10);
    }

    #[test]
    fn a_child_counts_with_what_it_holds_alone() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(me).unwrap().contains(&child.id()));
        assert!(capstan_tests::process::wait_until(std::time::Duration::from_secs(10), || {
            family_bytes(me).unwrap() > resident_bytes(me).unwrap()
        }));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_time_of_a_thread_that_ended_is_taken_from_the_whole_process() {
        let cpu = |nanos, threads: &[&str], ticks| Cpu {
            nanos,
            threads: threads.iter().map(|t| (*t).to_owned()).collect(),
            ticks,
        };
        assert_eq!(cpu(9, &["1", "2"], 3).since(&cpu(4, &["1"], 1)), 5);
        assert_eq!(cpu(9, &["1"], 3).since(&cpu(4, &["1", "2"], 1)), 2 * TICK_NANOS);
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13").unwrap(), 23);
    }
}
