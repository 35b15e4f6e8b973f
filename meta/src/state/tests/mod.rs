//! Tests of the whole state machine: random interleavings, replays, planted bugs, the rules one by one, golden bytes.

mod builders;
mod generator;
mod golden;
mod interleavings;
mod judgements;
mod late;
mod lives;
mod planned;
