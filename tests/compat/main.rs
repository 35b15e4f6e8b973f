//! Compares a Capstan node with Debian's redis-server, reply by reply and byte by byte.
//!
//! `scripts/*.txt` are commands in redis-cli's notation (see `script.rs`), `random.rs` makes seeded sequences,
//! `exceptions.rs` lists every difference that is meant, with its reason. Without redis-server on the PATH the tests
//! print `SKIPPED` and count as skipped.

#![allow(clippy::print_stdout)] // a skipped test and the seed of a random run are said aloud

mod compare;
mod exceptions;
mod pair;
mod random;
mod random_collections;
mod script;

use pair::{Pair, Protocol};

/// Runs one script over RESP2 and over RESP3.
fn run_script(name: &str, text: &str) {
    let Some(mut pair) = Pair::start(&[]) else { return };
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let differences = script::run(&mut pair, name, text, protocol);
        assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    }
}

macro_rules! scripts {
    ($($test:ident: $file:literal;)*) => {
        $(#[test]
        fn $test() {
            run_script($file, include_str!(concat!("scripts/", $file)));
        })*

        /// Every script file is run: a forgotten one fails here.
        #[test]
        fn every_script_is_listed() {
            let listed = [$($file),*];
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/scripts");
            for entry in std::fs::read_dir(folder).expect("the folder of scripts") {
                let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
                assert!(listed.contains(&name.as_str()), "{name} is not in the list of compat/main.rs");
            }
        }
    };
}

scripts! {
    strings_answer_as_in_redis: "strings.txt";
    counters_answer_as_in_redis: "counters.txt";
    bits_answer_as_in_redis: "bits.txt";
    lcs_answers_as_in_redis: "lcs.txt";
    set_and_getex_options_answer_as_in_redis: "set_options.txt";
    keys_answer_as_in_redis: "keys.txt";
    keys_of_every_type_answer_as_in_redis: "types.txt";
    hashes_answer_as_in_redis: "hashes.txt";
    lists_answer_as_in_redis: "lists.txt";
    sets_answer_as_in_redis: "sets.txt";
    sorted_sets_answer_as_in_redis: "zsets.txt";
    ranges_of_sorted_sets_answer_as_in_redis: "zranges.txt";
    expiry_answers_as_in_redis: "expiry.txt";
    databases_answer_as_in_redis: "databases.txt";
    blocking_commands_answer_as_in_redis: "blocking.txt";
    sort_answers_as_in_redis: "sort.txt";
    transactions_answer_as_in_redis: "transactions.txt";
    wrong_arities_answer_as_in_redis: "arity.txt";
}
