//! For tests: runs one command after the other against a node without connections, with a clock that stands still.

use super::args::{Args, KeyAt, Span};
use super::lookup::{self, Command};
use super::{Ctx, Keys};
use crate::config::Config;
use crate::core::NodeCore;
use crate::resp::{Reply, Resp};
use crate::session::Session;
use crate::store::object::Kind;
use crate::store::{Data, Effect, Locked, codec, rebuild};
use capstan_proto::env::{Env, UnixMs};
use capstan_proto::slot::Slot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A key with its database, and its value with its expiry: the changes that make it, in a fixed order.
pub(crate) type Content = BTreeMap<(u8, Vec<u8>), (Vec<String>, Option<UnixMs>)>;

/// A node and one session on it.
pub(crate) struct Desk {
    pub(crate) core: Arc<NodeCore>,
    pub(crate) session: Session,
    pub(crate) now: UnixMs,
}

impl Desk {
    /// An empty emulated node whose lanes record effects.
    pub(crate) fn new() -> Self {
        let core = NodeCore::new(Env::real(), Config::default());
        for number in 0..core.lanes.count() {
            core.lanes.lock(number).pending_log().want(true);
        }
        Self { core, session: Session::default(), now: UnixMs(1_700_000_000_000) }
    }

    /// Runs a command given as words with blanks between; `''` is an empty word.
    pub(crate) fn say(&mut self, text: &str) -> String {
        let words: Vec<&[u8]> =
            text.split_whitespace().map(|word| if word == "''" { "" } else { word }.as_bytes()).collect();
        self.run(&words).escape_ascii().to_string()
    }

    /// Runs a command and returns the bytes of its reply.
    pub(crate) fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let row = row_of(words);
        assert!(row.spec.fits(words.len()), "arity of {}", row.spec.full_name());
        let bytes = words.concat();
        let mut spans = Vec::new();
        for word in words {
            let at = spans.last().map_or(0, |last: &Span| last.at + last.len);
            spans.push(Span { at, len: word.len() as u32 });
        }
        let found = key_positions(row, Args::new(&bytes, &spans, &[]));
        let keys: Vec<KeyAt> = found
            .into_iter()
            .map(|arg| {
                let key = words[arg as usize];
                KeyAt { arg, slot: Slot::of_key(key), hash: self.core.lanes.hash(key) }
            })
            .collect();
        let mut out = Reply::over(Vec::new(), Resp::Two);
        let data = Data::new(&self.core.lanes, Locked::Roaming(None), self.session.db, self.now);
        let (core, now) = (&*self.core, self.now);
        let mut ctx = Ctx { core, session: &mut self.session, out: &mut out, data, now };
        let outcome = (row.spec.run)(&mut ctx, Args::new(&bytes, &spans, &keys));
        drop(ctx);
        if let Err(error) = outcome {
            out.truncate(0);
            out.error(&error);
        }
        out.into_bytes()
    }

    /// Takes the effects that were recorded since the last time.
    pub(crate) fn take_effects(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for number in 0..self.core.lanes.count() {
            let mut lane = self.core.lanes.lock(number);
            all.append(lane.pending_log().turn());
        }
        all
    }

    /// Applies recorded effects, as a replica would; says how many.
    pub(crate) fn replay(&self, mut bytes: &[u8]) -> usize {
        let mut count = 0;
        while !bytes.is_empty() {
            let (effect, rest): (Effect<'_>, _) =
                codec::decode(bytes).expect("what was recorded can be read");
            self.core.lanes.lock(self.core.lanes.of(effect.slot)).apply(&effect);
            bytes = rest;
            count += 1;
        }
        count
    }

    /// All data.
    pub(crate) fn content(&self) -> Content {
        let mut content = Content::new();
        for number in 0..self.core.lanes.count() {
            let lane = self.core.lanes.lock(number);
            for entry in lane.slots().flat_map(|(_, slot)| slot.entries()) {
                let mut changes = Vec::new();
                rebuild::all(entry, |change| changes.push(format!("{change:?}")));
                if entry.kind() != Kind::List {
                    changes.sort();
                }
                assert!(!changes.is_empty(), "{entry:?}: an empty collection is left over");
                content.insert((entry.db(), entry.key().to_vec()), (changes, entry.expires()));
            }
        }
        content
    }
}

fn row_of(words: &[&[u8]]) -> Command {
    let row = lookup::command(words[0]).unwrap_or_else(|| panic!("no command {}", words[0].escape_ascii()));
    if row.spec.subcommands.is_empty() {
        return row;
    }
    lookup::subcommand(row, words[1]).unwrap_or_else(|| panic!("no subcommand {}", words[1].escape_ascii()))
}

fn key_positions(row: Command, args: Args<'_>) -> Vec<u32> {
    match row.spec.keys {
        Keys::None => Vec::new(),
        Keys::Range { first, last, step } => {
            let last = if last < 0 { args.len() as i64 + i64::from(last) } else { i64::from(last) };
            (i64::from(first)..=last).step_by(usize::from(step)).map(|i| i as u32).collect()
        }
        Keys::Custom { find, .. } => {
            let mut found = Vec::new();
            find(args, &mut found).expect("keys can be found");
            found
        }
    }
}
