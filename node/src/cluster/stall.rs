//! Whether the batcher moves: a primary whose log does not must not go on serving (DESIGN 5). Pure.
//!
//! It decides since when there has been work without progress, from looks that are a heartbeat apart. A batch that waits
//! for a lane which a long command holds is no stall: that is reported, not counted.

use capstan_proto::env::Boot;

/// What was seen at the last looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stall {
    seen: Option<(u64, Boot)>,
}

impl Stall {
    /// Looks once more. `work`: the newest batch that was sent, if there is more to do. Says since when nothing has moved
    /// at least.
    pub fn look(&mut self, work: Option<u64>, now: Boot) -> Option<Boot> {
        self.seen = match (work, self.seen) {
            (None, _) => None,
            (Some(sent), Some((before, since))) if sent == before => Some((sent, since)),
            (Some(sent), Some(_) | None) => Some((sent, now)),
        };
        self.seen.map(|(_, since)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_does_not_move_from_look_to_look_is_a_stall() {
        let mut stall = Stall::default();
        assert_eq!(stall.look(None, Boot(1)), None);
        assert_eq!(stall.look(Some(5), Boot(2)), Some(Boot(2)));
        assert_eq!(stall.look(Some(6), Boot(3)), Some(Boot(3)), "busy, and moving");
        assert_eq!(stall.look(Some(6), Boot(4)), Some(Boot(3)));
        assert_eq!(stall.look(Some(6), Boot(9)), Some(Boot(3)));
        assert_eq!(stall.look(None, Boot(10)), None);
        assert_eq!(stall.look(Some(6), Boot(11)), Some(Boot(11)));
    }
}
