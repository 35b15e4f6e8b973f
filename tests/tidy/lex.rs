//! As much of Rust's lexer as the house rules need: which bytes are code, where a function ends, where tests begin.
//!
//! Comments and the insides of texts become blanks, lines stay where they are. It does not parse: a macro that
//! builds unbalanced braces would confuse it, and no such macro compiles.

/// One source file.
pub(crate) struct Source {
    /// Its path from the top of the checkout.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// The same with comments and the insides of texts blanked.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code = code_of(&text);
        Self { path, text, code }
    }

    /// The part that only tests see: all of a file below a `tests` folder, else what follows `#[cfg(test)]`.
    pub(crate) fn tests(&self) -> &str {
        let path = &self.path;
        if path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") {
            return &self.text;
        }
        self.text.find("#[cfg(test)]").map_or("", |at| &self.text[at..])
    }

    /// Name and number of lines of every function with a body.
    pub(crate) fn functions(&self) -> Vec<(String, usize)> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(next) = self.code[at..].find("fn ") {
            let start = at + next;
            at = start + 3;
            if start > 0 && is_word(bytes[start - 1]) {
                continue;
            }
            let name: String =
                self.code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(open) = body_of(bytes, at) else { continue };
            if name.is_empty() {
                continue;
            }
            let close = closing(bytes, open);
            let lines = bytes[start..=close].iter().filter(|b| **b == b'\n').count() + 1;
            found.push((name, lines));
        }
        found
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The brace that opens the body of the function whose name is at `at`; none for a declaration.
fn body_of(code: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, byte) in code.iter().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(i),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

/// The brace that closes the one at `open`.
fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (i, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    code.len() - 1
}

/// Whether these whole words stand in the text, one after the other.
pub(crate) fn has_words(code: &str, words: &[&str]) -> bool {
    let mut all =
        code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = all.next() {
        if word == words[0] && (words.len() == 1 || all.peek() == Some(&words[1])) {
            return true;
        }
    }
    false
}

/// Whether `mark` followed by exactly this number stands in the text, not as the end of a word.
pub(crate) fn has_number(text: &str, mark: char, number: &str) -> bool {
    text.match_indices(mark).any(|(at, _)| {
        let rest = &text[at + mark.len_utf8()..];
        let before = text[..at].chars().next_back();
        rest.starts_with(number)
            && !rest[number.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
            && !before.is_some_and(|c| c.is_ascii_alphanumeric())
    })
}

fn code_of(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (end, keep) = token(bytes, at);
        for byte in &mut out[at + keep..end.max(at + keep)] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the token at `at` ends, and how many of its first bytes are code.
fn token(bytes: &[u8], at: usize) -> (usize, usize) {
    let rest = &bytes[at..];
    let code = (at + 1, 1);
    if rest.starts_with(b"//") {
        return (at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()), 0);
    }
    if rest.starts_with(b"/*") {
        return (at + comment(rest), 0);
    }
    let after_word = at > 0 && is_word(bytes[at - 1]);
    let raw = rest.strip_prefix(b"b").unwrap_or(rest);
    if !after_word && raw.starts_with(b"r") {
        let hashes = raw[1..].iter().take_while(|b| **b == b'#').count();
        if raw.get(1 + hashes) == Some(&b'"') {
            let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
            let body = rest.len() - raw.len() + hashes + 2;
            let end = rest[body..].windows(close.len()).position(|w| w == close);
            return (at + end.map_or(rest.len(), |end| body + end + close.len()), 0);
        }
    }
    match rest[0] {
        b'"' => (at + quoted(rest, b'"'), 0),
        // A lifetime has no closing quote two or more bytes on; a character has.
        b'\'' if rest.get(1) == Some(&b'\\') => (at + quoted(rest, b'\''), 0),
        b'\'' => {
            let width =
                rest.get(1).map_or(1, |b| if *b < 0x80 { 1 } else { (b.leading_ones() as usize).max(1) });
            if rest.get(1 + width) == Some(&b'\'') { (at + width + 2, 0) } else { code }
        }
        _ => code,
    }
}

/// The length of a text that starts here, both quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            b'\\' => i += 2,
            b if b == quote => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

/// The length of a block comment that starts here; they nest.
fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        if rest[i..].starts_with(b"/*") {
            (depth, i) = (depth + 1, i + 2);
        } else if rest[i..].starts_with(b"*/") {
            (depth, i) = (depth - 1, i + 2);
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    rest.len()
}

#[test]
fn comments_texts_and_characters_are_no_code_and_lifetimes_are() {
    let text = "let a = \"unsafe\\\"\"; // unsafe\nlet b: &'a str = r#\"unsafe\"#; /* unsafe /* */ unsafe */ let c = '\\'';";
    let code = code_of(text);
    assert!(!code.contains("unsafe"), "{code}");
    assert!(code.contains("&'a str") && code.contains("let c"), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn a_function_is_as_long_as_from_its_name_to_its_last_brace() {
    let text =
        "trait T { fn declared(a: [u8; 4]); }\nfn long<const N: usize>(a: [u8; 2]) -> u8 {\n  '{';\n}\n";
    let source = Source::new("a.rs".into(), text.into());
    assert_eq!(source.functions(), [("long".to_owned(), 3)]);
}

#[test]
fn a_number_counts_only_as_a_whole() {
    assert!(has_number("kept (I1).", 'I', "1"));
    assert!(!has_number("kept (I12), HI1", 'I', "1"));
    assert!(has_number("►4 is", '►', "4"));
}
