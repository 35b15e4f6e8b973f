//! How numbers with a fraction are read and written, to the digit as Redis does.
//!
//! Two kinds: doubles (scores, RESP3 doubles), and the 80-bit numbers in which INCRBYFLOAT adds on the machines that
//! Redis runs on. Integers are `itoa`'s business.

pub mod double;
pub mod extended;
