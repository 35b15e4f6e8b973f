//! Glob patterns over bytes, as Redis matches them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal.
//!
//! Decides whether one text matches one pattern, nothing else. Redis tries every way to share a text between two
//! stars; here only the last star is ever tried again, which finds the same matches (each other token takes exactly
//! one byte) in at most `pattern * text` steps, so that no pattern can hold a lane for long (I12).

/// How letters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Byte by byte.
    Exact,
    /// ASCII letters without regard to case.
    Ignored,
}

/// Whether `text` matches `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let (mut p, mut t) = (0, 0);
    // After the last star: where its pattern goes on, and how far the text was given to it.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        match one(&pattern[p..], text[t], case) {
            Some(len) => {
                p += len;
                t += 1;
            }
            None => {
                let Some((after, from)) = star else { return false };
                p = after;
                t = from + 1;
                star = Some((after, t));
            }
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// The length of the first token of `pattern` if it takes this byte. The token is not a star.
fn one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let fold = |b: u8| if case == Case::Ignored { b.to_ascii_lowercase() } else { b };
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => class(set, byte, case).map(|len| len + 1),
        [b'\\', literal, ..] => (fold(*literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(*literal) == fold(byte)).then_some(1),
    }
}

/// The length of a set (what follows its `[`, its `]` included) if it has this byte. A set without an end reaches to
/// the end of the pattern. Ranges compare signed bytes, as C does on the machines that Redis runs on.
fn class(set: &[u8], byte: u8, case: Case) -> Option<usize> {
    let fold = |b: u8| if case == Case::Ignored { b.to_ascii_lowercase() } else { b };
    let (negated, mut at) = if set.first() == Some(&b'^') { (true, 1) } else { (false, 0) };
    let mut found = false;
    loop {
        match &set[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [a, b'-', b, ..] => {
                let (a, b, c) = (fold(*a) as i8, fold(*b) as i8, fold(byte) as i8);
                found |= (a.min(b)..=a.max(b)).contains(&c);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(*literal) == fold(byte);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Case::Exact)
    }

    #[test]
    fn patterns_match_as_the_redis_manual_says() {
        for (pattern, yes, no) in [
            ("h?llo", "hallo", "hllo"),
            ("h*llo", "heeeello", "hell"),
            ("h[ae]llo", "hello", "hillo"),
            ("h[^e]llo", "hallo", "hello"),
            ("h[a-b]llo", "hbllo", "hcllo"),
            ("h[b-a]llo", "hallo", "hcllo"),
            ("h\\?llo", "h?llo", "hallo"),
            ("[\\]]", "]", "a"),
            ("a**b", "ab", "a"),
            ("[abc", "b", "d"),
            ("maxmemory*", "maxmemory", "maxmemor"),
        ] {
            assert!(is(pattern, yes), "{pattern} takes {yes}");
            assert!(!is(pattern, no), "{pattern} refuses {no}");
        }
        assert!(is("*", "anything") && is("", "") && !is("", "a") && !is("a", ""));
        assert!(matches(b"MaxMem*", b"maxmemory", Case::Ignored));
        assert!(matches(b"[A-Z]", b"q", Case::Ignored) && !matches(b"[A-Z]", b"q", Case::Exact));
    }

    #[test]
    fn a_pattern_full_of_stars_ends_soon() {
        let pattern = "a*".repeat(5_000) + "b";
        assert!(!is(&pattern, &"a".repeat(20_000)));
    }

    /// The plain recursive meaning, exponential and obviously right.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|i| model(rest, &text[i..])),
            (_, []) => false,
            (_, [byte, rest @ ..]) => {
                one(pattern, *byte, Case::Exact).is_some_and(|len| model(&pattern[len..], rest))
            }
        }
    }

    proptest! {
        #[test]
        fn the_last_star_alone_decides(pattern in "[ab*?\\[\\]^\\\\-]{0,9}", text in "[ab\\]-]{0,9}") {
            prop_assert_eq!(is(&pattern, &text), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(pattern: Vec<u8>, text: Vec<u8>) {
            let _ = matches(&pattern, &text, Case::Exact);
            let _ = matches(&pattern, &text, Case::Ignored);
        }
    }
}
