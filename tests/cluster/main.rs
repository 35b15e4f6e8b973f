//! Whole clusters of real processes under faults, found and killed by pid.
#![allow(clippy::print_stdout, clippy::print_stderr)] // figures, and the logs of a failed run, are said aloud

mod group;
mod meta_faults;
mod traffic;
mod writers;
