//! The kinds of settings: how a text becomes a value and a value a text, with the messages of Redis.
//!
//! Pure. Whether a change is allowed at this moment is [`super::Config`]'s business.

use super::memory;
use super::output_limits::OutputLimits;

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A number within bounds.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number that is raised to a floor, and says so.
    Floored {
        /// Less becomes this.
        floor: i64,
        /// The greatest.
        max: i64,
    },
    /// Bytes, with a unit.
    Memory {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// One of several words.
    Choice {
        /// The words that Redis knows.
        all: &'static [&'static str],
        /// The words that are taken.
        taken: &'static [&'static str],
        /// Why the others are not.
        why: &'static str,
    },
    /// Any text.
    Text,
    /// Any text that no log shows.
    Secret,
    /// A host name.
    Hostname,
    /// `client-output-buffer-limit`.
    OutputLimits,
    /// Its default for ever, for this reason.
    Fixed(&'static str),
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number, a truth value (0, 1) or the index of a choice.
    Number(i64),
    /// A text.
    Text(String),
}

/// Redis' longest announced host name.
const HOSTNAME_MAX: usize = 256;

impl Kind {
    /// Reads a value; the error is what CONFIG SET says after the dash. [`Kind::OutputLimits`] is read on its own
    /// here; CONFIG SET lays it over the limits in force.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        match *self {
            Self::YesNo => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(Value::Number(1)),
                "no" => Ok(Value::Number(0)),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Self::Int { min, max } => between(integer(text)?, min, max),
            Self::Floored { floor, max } => match between(integer(text)?, 0, max)? {
                Value::Number(number) => Ok(Value::Number(number.max(floor))),
                text @ Value::Text(_) => Ok(text),
            },
            Self::Memory { min, max } => {
                between(memory::read(text).ok_or("argument must be a memory value")?, min, max)
            }
            Self::Choice { all, taken, why } => {
                let at = all.iter().position(|word| word.eq_ignore_ascii_case(text));
                let at = at
                    .ok_or_else(|| format!("argument(s) must be one of the following: {}", all.join(", ")))?;
                if taken.contains(&all[at]) { Ok(Value::Number(at as i64)) } else { Err(why.into()) }
            }
            Self::Text | Self::Secret => one_line(text),
            Self::Hostname => hostname(text),
            Self::OutputLimits => OutputLimits::default()
                .changed(text)
                .map(|limits| Value::Text(limits.to_string()))
                .map_err(Into::into),
            // What is allowed here is compared with the row's default by the caller.
            Self::Fixed(_) => Ok(Value::Text(text.into())),
        }
    }

    /// A value as CONFIG GET shows it.
    #[must_use]
    pub fn show(&self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Text(text)) => text.clone(),
            (Self::YesNo, Value::Number(number)) => if *number == 0 { "no" } else { "yes" }.into(),
            (Self::Choice { all, .. }, Value::Number(at)) => {
                usize::try_from(*at).ok().and_then(|at| all.get(at)).copied().unwrap_or("").into()
            }
            (
                Self::Int { .. }
                | Self::Floored { .. }
                | Self::Memory { .. }
                | Self::Text
                | Self::Secret
                | Self::Hostname
                | Self::OutputLimits
                | Self::Fixed(_),
                Value::Number(number),
            ) => number.to_string(),
        }
    }
}

fn integer(text: &str) -> Result<i64, String> {
    let plain = !text.starts_with('+')
        && text != "-0"
        && (text == "0" || !text.trim_start_matches('-').starts_with('0'));
    let number = text.parse().ok().filter(|_| plain);
    number.ok_or_else(|| "argument couldn't be parsed into an integer".into())
}

fn between(number: i64, min: i64, max: i64) -> Result<Value, String> {
    if (min..=max).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(format!("argument must be between {min} and {max} inclusive"))
}

/// A text that fits one line of a file and one word of a reply.
fn one_line(text: &str) -> Result<Value, String> {
    if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err("argument must not contain line breaks or zero bytes".into());
    }
    Ok(Value::Text(text.into()))
}

fn hostname(text: &str) -> Result<Value, String> {
    if text.len() >= HOSTNAME_MAX {
        return Err(format!("Hostnames must be less than {HOSTNAME_MAX} characters"));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens, underscores or dots".into());
    }
    Ok(Value::Text(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_refused_in_the_words_of_redis() {
        let error = |kind: Kind, text: &str| kind.read(text).expect_err(text);
        let int = Kind::Int { min: 1, max: 9 };
        assert_eq!(error(int, "x"), "argument couldn't be parsed into an integer");
        assert_eq!(error(int, "+1"), "argument couldn't be parsed into an integer");
        assert_eq!(error(int, "0"), "argument must be between 1 and 9 inclusive");
        assert_eq!(error(Kind::YesNo, "maybe"), "argument must be 'yes' or 'no'");
        assert_eq!(error(Kind::Memory { min: 0, max: 9 }, "abc"), "argument must be a memory value");
        let choice = Kind::Choice { all: &["a", "b"], taken: &["a"], why: "not yet" };
        assert_eq!(error(choice, "c"), "argument(s) must be one of the following: a, b");
        assert_eq!(error(choice, "b"), "not yet");
        assert!(error(Kind::Text, "a\nb").contains("line breaks"));
        assert!(error(Kind::Hostname, "a b").starts_with("Hostnames may only"));
    }

    #[test]
    fn a_value_below_its_floor_is_raised_to_it() {
        let kind = Kind::Floored { floor: 3000, max: 10_000 };
        assert_eq!(kind.read("100"), Ok(Value::Number(3000)));
        assert_eq!(kind.read("4000"), Ok(Value::Number(4000)));
        assert!(kind.read("-1").is_err() && kind.read("10001").is_err());
    }
}
