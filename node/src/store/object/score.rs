//! Scores of sorted sets: doubles without NaN, and so with an order.

use std::cmp::Ordering;

/// A score. Never NaN, and never -0: Redis' small sorted sets keep 0 for it.
#[derive(Debug, Clone, Copy)]
pub struct Score(f64);

impl Score {
    /// What a member of a plain set counts as.
    pub const ONE: Self = Self(1.0);

    /// A number as a score, unless it is none.
    #[must_use]
    pub const fn new(value: f64) -> Option<Self> {
        // Adding 0 makes 0 of -0 and changes nothing else.
        if value.is_nan() { None } else { Some(Self(value + 0.0)) }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }

    /// Both together: NaN (one infinity and the other) becomes 0 as in Redis' aggregations.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(self.0 + other.0).unwrap_or(Self(0.0))
    }

    /// Weighted: 0 times infinity is 0.
    #[must_use]
    pub fn times(self, weight: f64) -> Self {
        Self::new(self.0 * weight).unwrap_or(Self(0.0))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Without NaN there is always an order.
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

#[test]
fn scores_are_ordered_and_nan_is_none() {
    let score = |value| Score::new(value).expect("a number");
    assert!(Score::new(f64::NAN).is_none());
    assert!(score(f64::NEG_INFINITY) < score(-1.0) && score(1.0) < score(f64::INFINITY));
    assert!(score(-0.0).value().is_sign_positive());
    assert_eq!(score(f64::INFINITY).plus(score(f64::NEG_INFINITY)), score(0.0));
    assert_eq!(score(f64::INFINITY).times(0.0), score(0.0));
}
