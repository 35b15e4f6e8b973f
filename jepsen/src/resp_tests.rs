//! The client's codec: what is written is read back, in any pieces; garbage is refused without harm.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Bytes> {
    "[ -~]{0,20}".prop_map(|s| Bytes::from(s.into_bytes()))
}

fn any_value() -> impl Strategy<Value = Value> {
    let bytes = || vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    let leaf = prop_oneof![
        text().prop_map(Value::Simple),
        text().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        bytes().prop_map(Value::Bulk),
        Just(Value::Null),
        any::<f64>().prop_map(Value::Double),
        Just(Value::Double(f64::NAN)),
        Just(Value::Double(f64::NEG_INFINITY)),
        any::<bool>().prop_map(Value::Boolean),
        "-?[0-9]{1,40}".prop_map(|s| Value::BigNumber(Bytes::from(s.into_bytes()))),
        bytes().prop_map(|b| Value::Verbatim(*b"txt", b)),
        bytes().prop_map(Value::BulkError),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec(inner.clone(), 0..6).prop_map(Value::Set),
            vec(inner.clone(), 0..6).prop_map(Value::Push),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn decode_all(decoder: &mut Decoder, got: &mut Vec<Value>) {
    while let Some(value) = decoder.decode().unwrap() {
        got.push(value);
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_in_whatever_pieces_it_arrives(
        values in vec(any_value(), 1..5), cuts in vec(1usize..40, 1..30)
    ) {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| encode(value, &mut bytes));
        let (mut decoder, mut got) = (Decoder::default(), Vec::new());
        let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            decoder.feed(piece);
            decode_all(&mut decoder, &mut got);
            rest = tail;
        }
        prop_assert_eq!(got, values);
        prop_assert!(!decoder.is_inside_a_reply());
    }

    #[test]
    fn any_bytes_end_in_values_an_error_or_a_wait(bytes in vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::default();
        decoder.feed(&bytes);
        while let Ok(Some(_)) = decoder.decode() {}
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings(args in vec(vec(any::<u8>(), 0..20), 1..6)) {
        let mut bytes = Vec::new();
        encode_command(&args, &mut bytes);
        let mut decoder = Decoder::default();
        decoder.feed(&bytes);
        let want = args.into_iter().map(|arg| Value::Bulk(arg.into())).collect();
        prop_assert_eq!(decoder.decode(), Ok(Some(Value::Array(want))));
    }
}

fn outcome(bytes: &[u8], limits: Limits) -> Result<Option<Value>, DecodeError> {
    let mut decoder = Decoder::new(limits);
    decoder.feed(bytes);
    decoder.decode()
}

#[test]
fn the_three_ways_to_say_null_are_one() {
    for bytes in ["$-1\r\n", "*-1\r\n", "_\r\n"] {
        assert_eq!(outcome(bytes.as_bytes(), Limits::default()), Ok(Some(Value::Null)), "{bytes:?}");
    }
}

#[test]
fn an_attribute_is_dropped_and_its_value_kept() {
    let bytes = b"*2\r\n|1\r\n+ttl\r\n:3\r\n:7\r\n|0\r\n+last\r\n";
    let want = Value::Array(vec![Value::Integer(7), Value::Simple("last".into())]);
    assert_eq!(outcome(bytes, Limits::default()), Ok(Some(want)));
}

#[test]
fn every_limit_is_kept() {
    let limits = Limits { bulk_bytes_max: 10, line_bytes_max: 20, values_max: 8, depth_max: 3 };
    for bytes in [
        &b"$11\r\n"[..],
        b"*9\r\n",
        b"*5\r\n*5\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n",
        b"+aaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let error = outcome(bytes, limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooMuch(..)), "{error}");
    }
}

#[test]
fn malformed_bytes_are_refused() {
    for bytes in [
        "?\r\n",
        "$x\r\n",
        "$-2\r\n",
        "%-1\r\n",
        ":1.5\r\n",
        "$1\r\nab\r\n",
        "+ok\n",
        "#y\r\n",
        "=2\r\nab\r\n",
        "\r\n",
    ] {
        assert!(outcome(bytes.as_bytes(), Limits::default()).is_err(), "{bytes:?}");
    }
}
