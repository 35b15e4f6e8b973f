//! How long a command may wait, as blocking commands state it: seconds with a fraction, 0 for ever. Pure.

use super::Args;
use super::args::parse_float;
use crate::resp::Error;
use std::time::Duration;

/// An argument as a time to wait; `None` is for ever.
pub(super) fn read(args: Args<'_>, i: usize) -> Result<Option<Duration>, Error> {
    let seconds = parse_float(args.at(i));
    let seconds = seconds.ok_or_else(|| Error::err("timeout is not a float or out of range"))?;
    let milliseconds = (seconds * 1000.0).ceil();
    // Redis adds the present to it, in 63 bits of milliseconds.
    if milliseconds >= MILLISECONDS_MAX {
        return Err(Error::err("timeout is out of range"));
    }
    if milliseconds < 0.0 {
        return Err(Error::err("timeout is negative"));
    }
    Ok((milliseconds > 0.0).then(|| Duration::from_millis(milliseconds as u64)))
}

/// 2^63 less the milliseconds since 1970, roughly: a double this large is exact to a kilobyte only.
const MILLISECONDS_MAX: f64 = 9_223_370_000_000_000_000.0;

#[test]
fn times_to_wait_are_rounded_up_to_milliseconds() {
    use super::args::Span;
    let read = |text: &str| {
        let spans = [Span { at: 0, len: text.len() as u32 }];
        read(Args::new(text.as_bytes(), &spans, &[]), 0).map_err(|error| error.to_string())
    };
    assert_eq!(read("0"), Ok(None));
    assert_eq!(read("1.5"), Ok(Some(Duration::from_millis(1500))));
    assert_eq!(read("0.0001"), Ok(Some(Duration::from_millis(1))));
    for (text, error) in [
        ("-1", "ERR timeout is negative"),
        ("x", "ERR timeout is not a float or out of range"),
        ("inf", "ERR timeout is out of range"),
        ("9223372036854775", "ERR timeout is out of range"),
    ] {
        assert_eq!(read(text), Err(error.to_string()), "{text}");
    }
}
