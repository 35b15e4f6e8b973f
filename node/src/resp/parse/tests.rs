//! The parser against hand-written cases, against itself under every split, and under fuzzing.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { bulk_max: 1 << 20, request_max: 1 << 24, authenticated: true };

type Commands = Vec<Vec<Vec<u8>>>;

/// Feeds the bytes in pieces of these lengths (the rest in one) and collects the commands until the end or an error.
fn feed(bytes: &[u8], pieces: &[usize], limits: &Limits) -> (Commands, Option<ProtocolError>) {
    let (mut parser, mut start, mut end) = (Parser::default(), 0, 0);
    let mut commands = Vec::new();
    let mut pieces = pieces.iter().copied().chain([bytes.len()]);
    let (mut spans, mut inline) = (Vec::new(), Vec::new());
    while end < bytes.len() {
        end = (end + pieces.next().unwrap_or(bytes.len())).min(bytes.len());
        loop {
            spans.clear();
            inline.clear();
            let pending = &bytes[start..end];
            let source = match parser.next(pending, limits, &mut spans, &mut inline) {
                Ok(Parsed::Command { len }) => {
                    start += len;
                    pending
                }
                Ok(Parsed::Inline { len }) => {
                    start += len;
                    &inline[..]
                }
                Ok(Parsed::Nothing { len }) => {
                    start += len;
                    continue;
                }
                Ok(Parsed::Unfinished { needs }) => {
                    assert!(needs > pending.len(), "asks for more than there is");
                    break;
                }
                Err(error) => return (commands, Some(error)),
            };
            let arg = |s: &Span| source[s.at as usize..(s.at + s.len) as usize].to_vec();
            commands.push(spans.iter().map(arg).collect());
        }
    }
    (commands, None)
}

fn parsed(text: &str) -> (Commands, Option<ProtocolError>) {
    feed(text.as_bytes(), &[], &LIMITS)
}

fn words(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn arrays_inline_commands_and_empty_commands_are_told_apart() {
    let text = "*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING hello\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nQUIT\r\n";
    let (commands, error) = parsed(text);
    assert_eq!(commands, [words(&["GET", "a"]), words(&["PING", "hello"]), words(&["QUIT"])]);
    assert_eq!(error, None);
}

#[test]
fn what_is_no_request_is_named_as_redis_names_it() {
    let long = |head: &str| format!("{head}{}", "1".repeat(LINE_MAX + 1));
    for (text, want) in [
        ("*abc\r\n", "Protocol error: invalid multibulk length"),
        ("*1048577\r\n", "Protocol error: invalid multibulk length"),
        ("*01\r\n", "Protocol error: invalid multibulk length"),
        ("*1\r\n!3\r\n", "Protocol error: expected '$', got '!'"),
        ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$99999999999\r\n", "Protocol error: invalid bulk length"),
        ("set a \"b\r\n", "Protocol error: unbalanced quotes in request"),
        (&long("*"), "Protocol error: too big mbulk count string"),
        (&long("*1\r\n$"), "Protocol error: too big bulk count string"),
        (&long("set "), "Protocol error: too big inline request"),
    ] {
        let (commands, error) = parsed(text);
        assert!(commands.is_empty());
        assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(want), "{}", &text[..text.len().min(20)]);
    }
}

#[test]
fn before_authentication_only_small_requests_are_read() {
    let limits = Limits { authenticated: false, ..LIMITS };
    let error = |text: &str| feed(text.as_bytes(), &[], &limits).1;
    assert_eq!(error("*11\r\n"), Some(ProtocolError::ArrayUnauthenticated));
    assert_eq!(error("*1\r\n$16385\r\n"), Some(ProtocolError::BulkUnauthenticated));
    assert_eq!(error("*10\r\n$16384\r\n"), None);
}

#[test]
fn a_request_longer_than_the_limit_is_refused_when_it_is_announced() {
    let limits = Limits { request_max: 100, ..LIMITS };
    let (_, error) = feed(b"*2\r\n$3\r\nGET\r\n$200\r\n", &[], &limits);
    assert_eq!(error, Some(ProtocolError::RequestTooLong));
}

#[test]
fn a_header_reserves_nothing() {
    let mut parser = Parser::default();
    let (mut spans, mut inline) = (Vec::new(), Vec::new());
    let needs = parser.next(b"*1048576\r\n$1048576\r\n", &LIMITS, &mut spans, &mut inline);
    assert_eq!(needs, Ok(Parsed::Unfinished { needs: 20 + 1_048_576 + 2 }));
    assert_eq!((spans.capacity(), inline.capacity(), parser.size()), (0, 0, 0));
}

/// Valid requests, broken ones, and bytes of no meaning.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let arg = prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (0usize..3000).prop_map(|len| vec![b'x'; len]),
    ];
    let command = proptest::collection::vec(arg, 0..5).prop_map(|args| {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(&arg);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    });
    let piece = prop_oneof![
        8 => command,
        2 => "[a-z \"'\\\\x]{0,20}\r?\n".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => prop_oneof![Just("*2\r\n$1\r\n"), Just("*3\r\n$0\r\n\r\n"), Just("$"), Just("*")]
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_of_a_stream_parses_the_same(
        bytes in stream(), pieces in proptest::collection::vec(1usize..40, 0..60)
    ) {
        let whole = feed(&bytes, &[], &LIMITS);
        prop_assert_eq!(&feed(&bytes, &pieces, &LIMITS), &whole);
        let ones = vec![1; bytes.len()];
        prop_assert_eq!(&feed(&bytes, &ones, &LIMITS), &whole);
    }

    #[test]
    fn commands_written_as_arrays_read_back(
        commands in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6), 0..6)
    ) {
        let mut bytes = Vec::new();
        for command in &commands {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for arg in command {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(arg);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        prop_assert_eq!(feed(&bytes, &[], &LIMITS), (commands, None));
    }
}

#[test]
fn fuzzing_finds_no_panic_and_no_span_outside_the_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let limits =
            Limits { bulk_max: 4096, request_max: 1 << 16, authenticated: bytes.len().is_multiple_of(2) };
        let first = usize::from(bytes.first().copied().unwrap_or(1)).max(1);
        let whole = feed(bytes, &[], &limits);
        assert_eq!(feed(bytes, &[first], &limits), whole);
    });
}
