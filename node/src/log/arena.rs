//! Memory for frames: segments that are written once and used again when all their frames are gone.
//!
//! Touching fresh memory costs more than copying into it (PERFORMANCE B5), so what the in-memory log has let go of is
//! taken again, oldest first. A frame lies within one segment; one that does not fit gets a segment of its own.

use super::frame::HEAD;
use bytes::BytesMut;
use std::collections::VecDeque;

/// The size of a segment.
pub const SEGMENT: usize = 1 << 20;

/// Where the next frame is written.
#[derive(Debug, Default)]
pub struct Arena {
    /// The frame that is being written, and the room behind it.
    open: BytesMut,
    /// The others, oldest first: empty handles that can be reclaimed once their frames are gone.
    full: VecDeque<BytesMut>,
    /// At most so many of them are kept.
    full_max: usize,
}

impl Arena {
    /// For a log of this many bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        // One more than the log fills, and one for the frames that replicas are still being sent.
        Self { full_max: budget / SEGMENT + 2, ..Self::default() }
    }

    /// Begins a frame: its header's bytes are there, to be filled in.
    pub fn begin(&mut self) {
        self.make_room(HEAD);
        self.open.resize(HEAD, 0);
    }

    /// Adds to the body of the frame that was begun.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.open.extend_from_slice(bytes);
    }

    /// How long the body is so far.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.open.len().saturating_sub(HEAD)
    }

    /// Ends the frame.
    #[must_use]
    pub fn finish(&mut self) -> BytesMut {
        self.open.split()
    }

    /// Drops the frame that was begun.
    pub fn abandon(&mut self) {
        self.open.clear();
    }

    fn make_room(&mut self, more: usize) {
        let begun = self.open.len();
        if self.open.capacity() - begun >= more {
            return;
        }
        // What was begun moves: a frame never crosses a segment.
        let mut fresh = self.next(begun + more);
        fresh.extend_from_slice(&self.open);
        self.open.clear();
        let full = std::mem::replace(&mut self.open, fresh);
        if full.capacity() > 0 {
            self.full.push_back(full);
        }
        if self.full.len() > self.full_max {
            // Somebody still reads from it: it is freed when they are done.
            self.full.pop_front();
        }
    }

    fn next(&mut self, len: usize) -> BytesMut {
        if len <= SEGMENT
            && let Some(oldest) = self.full.front_mut()
            && oldest.try_reclaim(SEGMENT)
        {
            return self.full.pop_front().unwrap_or_default();
        }
        BytesMut::with_capacity(len.max(SEGMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::collections::HashSet;

    fn frame(arena: &mut Arena, body: &[u8]) -> Bytes {
        arena.begin();
        for piece in body.chunks(1000) {
            arena.extend(piece);
        }
        assert_eq!(arena.body_len(), body.len());
        arena.finish().freeze()
    }

    #[test]
    fn what_is_written_piece_by_piece_is_one_frame_whatever_its_size() {
        let mut arena = Arena::new(4 * SEGMENT);
        for len in [0, 1, 700_000, 700_001, SEGMENT, 3 * SEGMENT, 5] {
            let body: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            assert_eq!(frame(&mut arena, &body)[HEAD..], body, "{len}");
        }
    }

    #[test]
    fn segments_whose_frames_are_gone_are_used_again_and_those_that_are_read_are_not() {
        let mut arena = Arena::new(2 * SEGMENT);
        let held = frame(&mut arena, &vec![1; SEGMENT - HEAD]);
        let mut seen = HashSet::new();
        for round in 0..50u8 {
            seen.insert(frame(&mut arena, &vec![round; SEGMENT - HEAD]).as_ptr() as usize);
            assert!(held[HEAD..].iter().all(|byte| *byte == 1), "a frame that is held was overwritten");
        }
        assert!(seen.len() <= 8, "{} segments for frames that are all gone", seen.len());
    }

    #[test]
    fn an_abandoned_frame_leaves_nothing_behind() {
        let mut arena = Arena::new(SEGMENT);
        arena.begin();
        arena.extend(b"lost");
        arena.abandon();
        assert_eq!(frame(&mut arena, b"kept")[HEAD..], *b"kept");
    }
}
