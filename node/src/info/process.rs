//! What the kernel knows about this process: memory and CPU time, from `/proc`.
//!
//! The parsers are pure. A file that is missing or reads differently gives zeros: INFO is no reason to fail.

use std::time::Duration;

/// The kernel counts CPU time for user space in units of 10 ms on every architecture (USER_HZ is part of its ABI).
const TICK: Duration = Duration::from_millis(10);
/// Memory in `/proc` is counted in pages for `statm`.
const KIB: u64 = 1024;

/// Memory and CPU time of this process, and the machine's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Bytes in memory.
    pub resident: u64,
    /// CPU time spent outside the kernel.
    pub cpu_user: Duration,
    /// CPU time spent inside the kernel.
    pub cpu_system: Duration,
    /// The same of children that have ended.
    pub cpu_children: (Duration, Duration),
    /// Bytes of memory that the machine has.
    pub machine_memory: u64,
}

impl Process {
    /// Asks the kernel.
    #[must_use]
    pub fn now() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpu_user, cpu_system, cpu_children) = cpu_times(&read("/proc/self/stat"));
        Self {
            resident: kib_of(&read("/proc/self/status"), "VmRSS:"),
            cpu_user,
            cpu_system,
            cpu_children,
            machine_memory: kib_of(&read("/proc/meminfo"), "MemTotal:"),
        }
    }
}

/// Fields 14 to 17 of `/proc/PID/stat`, counted from 1; the second is a name in parentheses that may hold anything.
fn cpu_times(stat: &str) -> (Duration, Duration, (Duration, Duration)) {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |field: usize| {
        let number =
            after_name.split_ascii_whitespace().nth(field - 3).and_then(|text| text.parse::<u32>().ok());
        TICK * number.unwrap_or(0)
    };
    (ticks(14), ticks(15), (ticks(16), ticks(17)))
}

/// Bytes of a line `NAME   123 kB`.
fn kib_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0u64)
        * KIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 7 8 20 0 4 0 100 1 1";
        let seconds = Duration::from_millis;
        assert_eq!(cpu_times(stat), (seconds(1500), seconds(500), (seconds(70), seconds(80))));
        assert_eq!(cpu_times("nonsense"), Default::default());
    }

    #[test]
    fn this_process_occupies_memory() {
        let process = Process::now();
        assert!(process.resident > 0 && process.machine_memory > process.resident);
        assert_eq!(kib_of("VmRSS:\t  12 kB\n", "VmRSS:"), 12 * 1024);
    }
}
