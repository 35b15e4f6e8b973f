//! Sorted sets. Effects state a member's score; when the last member goes, so does the key.

mod add;
mod algebra;
mod blocking;
mod blocking_rows;
mod bounds;
mod pick;
mod pop;
mod range;
mod range_rows;
mod read;
mod remove;
mod rows;

pub use blocking_rows::ROWS as BLOCKING_ROWS;
pub use range_rows::ROWS as RANGE_ROWS;
pub use rows::ROWS;

use crate::commands::args::{Key, parse_float};
use crate::resp::{Error, Reply, Resp};
use crate::store::object::{Score, zset::Element};
use crate::store::{Change, Data};

/// An argument as a score.
fn score(text: &[u8]) -> Result<Score, Error> {
    parse_float(text).and_then(Score::new).ok_or(Error::NotFloat)
}

/// How elements are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Members only.
    Members,
    /// Members with their scores: in RESP2 in turn, in RESP3 as pairs.
    Scores,
}

/// Writes the head of an array of elements.
fn begin(out: &mut Reply, len: usize, shown: Shown) {
    let flat = shown == Shown::Scores && out.resp() == Resp::Two;
    out.array(if flat { 2 * len } else { len });
}

/// Writes an element of such an array.
fn element(out: &mut Reply, (member, score): Element<'_>, shown: Shown) {
    if shown == Shown::Scores && out.resp() == Resp::Three {
        out.array(2);
    }
    out.bulk(member);
    if shown == Shown::Scores {
        out.double(score.value());
    }
}

/// The key holds exactly these elements from now on, or is gone if there are none.
fn replace(data: &mut Data<'_>, key: Key<'_>, elements: &[(Box<[u8]>, Score)]) {
    if data.peek(key).is_some() {
        data.apply(key, Change::Delete);
    }
    for (member, score) in elements {
        data.apply(key, Change::ZsetSet { member, score: *score });
    }
}
