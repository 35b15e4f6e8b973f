//! Whole clusters of real processes that lose primaries, supervisors, meta servers and links: who takes over, how soon, and
//! that nobody serves twice (DESIGN 6, 8; I3, I4, I10).
//!
//! Default settings, with the lease at its floor where one has to end. Everything is waited for by condition; no test is tried
//! again. Worst times are printed as `worst NAME MS` for `tests/repeat`.
#![allow(clippy::print_stdout, clippy::print_stderr)] // figures, and the logs of a failed run, are said aloud

mod cluster;
mod copies;
mod cuts;
mod deaths;
mod faults;
mod load;
mod metas;
mod pauses;
mod planned;
mod proxy;
mod wired;
