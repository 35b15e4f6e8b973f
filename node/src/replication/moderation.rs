//! When a replica lets its socket fill instead of waking up for every batch. Pure.
//!
//! The intuition is that of a network card's interrupts: a primary whose clients send one command at a time makes a batch
//! for a few of them, and a wake-up for each batch costs more than what is in it. Once small reads have followed each
//! other quickly for a while, the replica sleeps a millisecond between two of them. What waits meanwhile lies in its own
//! socket, where a dead primary leaves it, and a promotion reads it first. Whoever waits for acknowledgements must not
//! wait for that: after the last question there is no pause for a second.

use capstan_proto::env::Boot;
use std::time::Duration;

/// A read of more than this is worth its wake-up.
const SMALL: usize = 2048;
/// Reads follow each other quickly when they are no further apart: then a pause brings several at once.
const QUICK: Duration = PAUSE;
/// So many quick small reads come before the first pause.
const IN_A_ROW: u32 = 16;
/// How long a question for an acknowledgement forbids pauses.
const ATTENTIVE: Duration = Duration::from_secs(1);
/// How long a pause is.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// A read after a pause goes on with pauses if it brings anything within this time after the last one.
const PAUSED_QUICK: Duration = Duration::from_millis(5);

/// What a link's reads have been like.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    in_a_row: u32,
    last: Option<Boot>,
    asked: Option<Boot>,
}

impl Moderation {
    /// A read has brought so many bytes, perhaps with a question for an acknowledgement. Whether to pause before the next.
    pub(super) fn pauses_after(&mut self, now: Boot, bytes: usize, asked: bool) -> bool {
        if asked {
            self.asked = Some(now);
        }
        let paused = self.in_a_row >= IN_A_ROW;
        let since = self.last.replace(now).map(|last| now.since(last));
        // After a pause a read brings what came meanwhile.
        let (quick, small) = if paused { (PAUSED_QUICK, 16 * SMALL) } else { (QUICK, SMALL) };
        let goes_on = bytes <= small && since.is_some_and(|since| since <= quick);
        let attentive = self.asked.is_some_and(|asked| now.since(asked) < ATTENTIVE);
        self.in_a_row = if goes_on && !attentive { (self.in_a_row + 1).min(IN_A_ROW) } else { 0 };
        self.in_a_row == IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    /// Reads of so many bytes, so many microseconds apart; whether each pauses.
    fn reads(moderation: &mut Moderation, at: &mut u64, count: u32, bytes: usize, apart: u64) -> Vec<bool> {
        let read = |_| {
            *at += apart * US;
            moderation.pauses_after(Boot(*at), bytes, false)
        };
        (0..count).map(read).collect()
    }

    #[test]
    fn quick_small_reads_pause_after_a_while_and_go_on_pausing() {
        let (mut moderation, mut at) = (Moderation::default(), 0);
        assert_eq!(reads(&mut moderation, &mut at, 17, 100, 50).iter().filter(|pauses| **pauses).count(), 1);
        // What came during a pause is more, and later.
        assert!(reads(&mut moderation, &mut at, 100, 4000, 1500).iter().all(|pauses| *pauses));
        assert_eq!(reads(&mut moderation, &mut at, 1, 100, 6000), [false], "the primary has less to do");
    }

    #[test]
    fn rare_or_large_reads_never_pause() {
        let (mut moderation, mut at) = (Moderation::default(), 0);
        assert!(!reads(&mut moderation, &mut at, 100, 100, 1100).contains(&true));
        assert!(!reads(&mut moderation, &mut at, 100, 5000, 50).contains(&true));
    }

    #[test]
    fn whoever_asks_is_answered_without_pauses_for_a_second() {
        let (mut moderation, mut at) = (Moderation::default(), 0);
        assert!(reads(&mut moderation, &mut at, 40, 100, 50).contains(&true));
        assert!(!moderation.pauses_after(Boot(at + US), 100, true));
        assert!(!reads(&mut moderation, &mut at, 15_000, 100, 60).contains(&true));
        assert!(reads(&mut moderation, &mut at, 2_500, 100, 60).contains(&true));
    }
}
