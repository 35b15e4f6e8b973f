//! `client-output-buffer-limit`: how many bytes of replies may wait for a client before it is cut off (I12).
//!
//! Three classes of clients with a hard limit, and a soft limit that may be exceeded for some seconds. Pure; the
//! connection asks [`Limit::judge`] whenever bytes are left over after a write.

use super::memory;
use capstan_proto::env::Boot;
use std::time::Duration;

/// The classes, in the order and with the words of CONFIG GET.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// The limit of one class; 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Above this the client is cut off at once.
    pub hard: u64,
    /// Above this it is cut off when it stays so…
    pub soft: u64,
    /// … for so many seconds.
    pub soft_seconds: u32,
}

/// What to do with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Below its limits.
    Fine,
    /// Above the soft limit since then; ask again.
    Above(Boot),
    /// To be cut off.
    Over,
}

impl Limit {
    /// Judges so many waiting bytes. `since`: when the soft limit was first seen exceeded, as the last verdict said.
    #[must_use]
    pub fn judge(&self, waiting: u64, since: Option<Boot>, now: Boot) -> Verdict {
        if self.hard != 0 && waiting >= self.hard {
            return Verdict::Over;
        }
        if self.soft == 0 || waiting < self.soft {
            return Verdict::Fine;
        }
        let since = since.unwrap_or(now);
        if now.since(since) > Duration::from_secs(self.soft_seconds.into()) {
            return Verdict::Over;
        }
        Verdict::Above(since)
    }
}

/// The limits of all classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: Limit,
    /// Replicas.
    pub replica: Limit,
    /// Clients that subscribe.
    pub pubsub: Limit,
}

impl OutputLimits {
    /// These limits with the classes changed that a text names (`normal 0 0 0 pubsub 32mb 8mb 60`).
    pub fn changed(mut self, text: &str) -> Result<Self, &'static str> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.");
        }
        for four in words.chunks_exact(4) {
            let class = match four[0].to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration."),
            };
            let bytes = |text| memory::read(text).map(i64::unsigned_abs);
            let limit = bytes(four[1]).zip(bytes(four[2])).zip(four[3].parse().ok());
            let Some(((hard, soft), soft_seconds)) = limit.filter(|(_, s)| *s <= i32::MAX as u32) else {
                return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
            };
            *class = Limit { hard, soft, soft_seconds };
        }
        Ok(self)
    }
}

impl std::fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (name, limit)) in CLASSES.iter().zip([self.normal, self.replica, self.pubsub]).enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_classes_change() {
        let base = OutputLimits::default().changed("slave 256mb 64mb 60 pubsub 32mb 8mb 60").expect("valid");
        assert_eq!(base.to_string(), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
        let changed = base.changed("replica 1 2 3").expect("valid");
        assert_eq!(changed.to_string(), "normal 0 0 0 slave 1 2 3 pubsub 33554432 8388608 60");
        for bad in ["", "normal 1 2", "other 1 2 3", "normal x 2 3", "normal 1 2 -3", "normal 1 2 4294967295"]
        {
            assert!(base.changed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_hard_limit_cuts_at_once_and_the_soft_one_when_it_lasts() {
        let limit = Limit { hard: 100, soft: 10, soft_seconds: 5 };
        let at = |s: u64| Boot(s * 1_000_000_000);
        assert_eq!(limit.judge(100, None, at(0)), Verdict::Over);
        assert_eq!(limit.judge(9, Some(at(0)), at(50)), Verdict::Fine);
        assert_eq!(limit.judge(10, None, at(1)), Verdict::Above(at(1)));
        assert_eq!(limit.judge(10, Some(at(1)), at(6)), Verdict::Above(at(1)));
        assert_eq!(limit.judge(10, Some(at(1)), at(7)), Verdict::Over);
        assert_eq!(Limit::default().judge(u64::MAX, None, at(0)), Verdict::Fine);
    }
}
