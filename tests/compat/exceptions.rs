//! Every difference from Debian's Redis 7.0.15 that is meant, with its reason. 7.2.4 is right where the two differ
//! (DESIGN 13).

use crate::pair::Replies;

/// One meant difference.
pub(crate) struct Exception {
    /// The command as the script writes it.
    pub(crate) command: &'static str,
    /// What Capstan answers instead.
    pub(crate) capstan: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

/// The table.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception { command: "OBJECT ENCODING appended", capstan: "$6\r\nembstr\r\n", reason: ONE_STRING },
    Exception { command: "OBJECT ENCODING spliced", capstan: "$6\r\nembstr\r\n", reason: ONE_STRING },
    Exception { command: "OBJECT ENCODING digits", capstan: "$3\r\nint\r\n", reason: ONE_STRING },
    Exception { command: "OBJECT ENCODING newdigit", capstan: "$3\r\nint\r\n", reason: ONE_STRING },
    Exception { command: "OBJECT ENCODING fresh", capstan: "$3\r\nint\r\n", reason: ONE_STRING },
    Exception { command: "OBJECT ENCODING float", capstan: "$3\r\nint\r\n", reason: ONE_STRING },
    Exception { command: "OBJECT ENCODING short", capstan: "$8\r\nlistpack\r\n", reason: SMALL_FORMS },
    Exception { command: "OBJECT ENCODING s", capstan: "$8\r\nlistpack\r\n", reason: SMALL_FORMS },
    Exception {
        command: "LPOS l a RANK -9223372036854775808",
        capstan: "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        reason: "7.2 refuses the one rank whose negative does not exist",
    },
    Exception { command: "BLPOP l inf", capstan: "-ERR timeout is out of range\r\n", reason: LONG_WAITS },
    Exception { command: "BLPOP l 1e300", capstan: "-ERR timeout is out of range\r\n", reason: LONG_WAITS },
    Exception { command: r#""EXEC""#, capstan: "*-1\r\n", reason: GREW_UNTOLD },
    Exception { command: r#""EXEC""#, capstan: "_\r\n", reason: GREW_UNTOLD },
    Exception {
        command: "OBJECT IDLETIME k",
        capstan: "-ERR Access times are not tracked: this server has no eviction policy but noeviction\r\n",
        reason: "no access clock is kept while nothing can be evicted, and no number is made up",
    },
];

/// Redis remembers how a string came to be (raw after APPEND), here its value alone tells.
const ONE_STRING: &str =
    "a string has one representation here; OBJECT ENCODING names what SET would give this value";

/// What Redis 7.2 has and 7.0 has not.
const SMALL_FORMS: &str = "Redis 7.2 keeps short lists and small sets of texts as listpacks";

/// A wait without end that is not 0.
const LONG_WAITS: &str = "7.2 says what is wrong; in 7.0 the number overflows and is called negative";
/// The script writes this EXEC with quotes, so that it is the only one that this row explains.
const GREW_UNTOLD: &str = "a BITFIELD whose only write fails has made the string longer, or made one: Redis keeps that from \
                           those who watch the key, from its replicas and from its log; here it is a change like any other";

/// Is this difference in the table, with this very answer?
pub(crate) fn explain(command: &str, replies: &Replies) -> bool {
    EXCEPTIONS.iter().any(|e| e.command == command && e.capstan.as_bytes() == replies.capstan)
}

#[test]
fn every_exception_gives_a_reason() {
    assert!(EXCEPTIONS.iter().all(|e| !e.reason.is_empty()));
}
