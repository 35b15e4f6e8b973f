//! Which panics do not end the process.
//!
//! A server that panics is in a state that nobody foresaw: its panic hook logs and aborts, the supervisor starts the
//! next life (I12). The exception is foreign code that panics on damaged files: it runs inside [`contain`], which
//! turns the panic into an error. The hook asks [`is_contained`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// The code inside [`contain`] panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Panicked(pub String);

/// Whether a panic of this thread, now, is going to be caught by [`contain`].
#[must_use]
pub fn is_contained() -> bool {
    CONTAINED.get()
}

/// Runs code whose panic is an answer. What it touched must not be used after a panic.
pub fn contain<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    CONTAINED.set(outer);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Panicked(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_panic_is_an_error_and_the_next_one_is_not_contained() {
        assert_eq!(contain(|| 7), Ok(7));
        let inside = contain(|| {
            assert!(is_contained());
            panic!("damaged at {}", 3)
        });
        assert_eq!(inside, Err::<(), _>(Panicked("damaged at 3".into())));
        assert!(!is_contained());
    }
}
