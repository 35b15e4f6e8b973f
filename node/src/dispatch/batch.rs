//! The first half of the hot path: a chunk of commands parsed in place, their rows, keys, slots and hashes found, and
//! the memory that they will touch prefetched.
//!
//! Nothing in here executes or decides anything about a command; what is wrong with one (no such command, wrong
//! arity) is noted and answered in its turn.

use super::Call;
use crate::commands::args::{Args, KeyAt, Span};
use crate::commands::lookup::{self, Command};
use crate::commands::{Keys, Spec};
use crate::core::NodeCore;
use crate::input::Input;
use crate::resp::parse::{Limits, Parsed, ProtocolError};
use crate::store::Lanes;
use capstan_proto::slot::Slot;
use std::cell::RefCell;

/// At most this many commands are prepared before they are executed: more would push the prefetched lines out again.
const CHUNK: usize = 64;

/// Where a command of the chunk lies.
#[derive(Debug, Clone, Copy)]
struct Request {
    command: Option<Command>,
    /// Its bytes begin here, in the input's pending bytes or among the inline bytes.
    base: usize,
    is_inline: bool,
    /// Behind its last byte in the pending bytes.
    end: usize,
    spans: (u32, u32),
    keys: (u32, u32),
}

/// Reused room for a chunk. One per worker thread.
#[derive(Debug, Default)]
pub struct Scratch {
    requests: Vec<Request>,
    spans: Vec<Span>,
    keys: Vec<KeyAt>,
    found: Vec<u32>,
    inline: Vec<u8>,
}

/// What a chunk's reading ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The chunk is full: there may be more.
    Full,
    /// What follows is unfinished, or nothing.
    Unfinished,
    /// What follows is no request.
    Failed(ProtocolError),
}

/// Room beyond this is given back: a command of a million arguments should not be remembered for ever.
const ROOM_KEPT: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Lends out this thread's room. Nothing may wait in `use_it`, and it must not ask again.
    pub fn with<T>(use_it: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(use_it)
    }

    /// Reads the complete commands at the start of the input, up to a chunk of them. Also says how many bytes they
    /// and the empty commands behind them occupy.
    pub fn read(&mut self, core: &NodeCore, input: &mut Input, limits: &Limits) -> (usize, End) {
        self.clear();
        // A command may change what the next one may be (AUTH): before authentication they are read one by one.
        let most = if limits.authenticated { CHUNK } else { 1 };
        let (parser, bytes) = input.parts();
        let (mut at, mut end, mut needs) = (0, End::Full, 0);
        while self.requests.len() < most {
            let first = self.spans.len();
            let inline = self.inline.len();
            match parser.next(&bytes[at..], limits, &mut self.spans, &mut self.inline) {
                Ok(Parsed::Command { len }) => {
                    self.push(core, first, Source { bytes, base: at, is_inline: false, end: at + len });
                    at += len;
                }
                Ok(Parsed::Inline { len }) => {
                    self.push(core, first, Source { bytes, base: inline, is_inline: true, end: at + len });
                    at += len;
                }
                Ok(Parsed::Nothing { len }) => at += len,
                Ok(Parsed::Unfinished { needs: more }) => {
                    (end, needs) = (End::Unfinished, more);
                    break;
                }
                Err(error) => {
                    end = End::Failed(error);
                    break;
                }
            }
        }
        input.expect(needs);
        (at, end)
    }

    fn clear(&mut self) {
        self.requests.clear();
        self.spans.clear();
        self.keys.clear();
        self.inline.clear();
        self.spans.shrink_to(ROOM_KEPT);
        self.keys.shrink_to(ROOM_KEPT);
        self.found.shrink_to(ROOM_KEPT);
        self.inline.shrink_to(ROOM_KEPT);
    }

    #[inline]
    fn push(&mut self, core: &NodeCore, first: usize, source: Source<'_>) {
        let bytes = if source.is_inline { &self.inline[..] } else { source.bytes };
        let args = Args::new(&bytes[source.base..], &self.spans[first..], &[]);
        let command = resolve(args);
        let keys = self.keys.len();
        if let Some(command) = command
            && command.spec.fits(args.len())
        {
            match command.spec.keys {
                Keys::None => {}
                Keys::Range { first: 1, last: 1, .. } => add_key(&core.lanes, &mut self.keys, args, 1),
                Keys::Range { .. } | Keys::Custom { .. } => {
                    self.found.clear();
                    // What is wrong with the arguments, the command itself will say.
                    let _ = find_keys(command.spec, args, &mut self.found);
                    for arg in &self.found {
                        add_key(&core.lanes, &mut self.keys, args, *arg);
                    }
                }
            }
        }
        self.requests.push(Request {
            command,
            base: source.base,
            is_inline: source.is_inline,
            end: source.end,
            spans: (first as u32, self.spans.len() as u32),
            keys: (keys as u32, self.keys.len() as u32),
        });
    }

    /// The chunk that was read, over the input's pending bytes.
    #[must_use]
    pub fn batch<'a>(&'a self, bytes: &'a [u8]) -> Batch<'a> {
        Batch { scratch: self, bytes }
    }
}

/// Where a command was found.
struct Source<'a> {
    bytes: &'a [u8],
    base: usize,
    is_inline: bool,
    end: usize,
}

/// The row of a command, or of its subcommand if it is a container and there is such a one.
#[inline]
fn resolve(args: Args<'_>) -> Option<Command> {
    let command = lookup::command(args.at(0))?;
    if command.spec.subcommands.is_empty() {
        return Some(command);
    }
    Some(args.get(1).and_then(|name| lookup::subcommand(command, name)).unwrap_or(command))
}

#[inline]
fn add_key(lanes: &Lanes, keys: &mut Vec<KeyAt>, args: Args<'_>, arg: u32) {
    let key = args.at(arg as usize);
    let slot = Slot::of_key(key);
    lanes.prefetch_slot(slot);
    keys.push(KeyAt { arg, slot, hash: lanes.hash(key) });
}

/// The indices of a command's keys among its arguments, whose number fits the row.
pub fn find_keys(spec: &Spec, args: Args<'_>, found: &mut Vec<u32>) -> Result<(), crate::resp::Error> {
    match spec.keys {
        Keys::None => Ok(()),
        Keys::Range { first, last, step } => {
            let last = if last < 0 { args.len() as i64 + i64::from(last) } else { i64::from(last) };
            let last = last.min(args.len() as i64 - 1);
            found.extend((i64::from(first)..=last).step_by(usize::from(step.max(1))).map(|i| i as u32));
            Ok(())
        }
        Keys::Custom { find, .. } => {
            find(args, found)?;
            found.retain(|i| (*i as usize) < args.len());
            Ok(())
        }
    }
}

/// A chunk of commands that are ready to be executed.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    scratch: &'a Scratch,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scratch.requests.len()
    }

    /// Behind the last byte of the first `done` commands.
    #[must_use]
    pub fn end_of(&self, done: usize) -> usize {
        done.checked_sub(1).and_then(|i| self.scratch.requests.get(i)).map_or(0, |request| request.end)
    }

    /// The commands, in order.
    pub fn calls(self) -> impl Iterator<Item = Call<'a>> {
        let scratch = self.scratch;
        scratch.requests.iter().map(move |request| {
            let bytes = if request.is_inline { &scratch.inline[..] } else { self.bytes };
            let spans = &scratch.spans[request.spans.0 as usize..request.spans.1 as usize];
            let keys = &scratch.keys[request.keys.0 as usize..request.keys.1 as usize];
            Call { command: request.command, args: Args::new(&bytes[request.base..], spans, keys), keys }
        })
    }

    /// Brings what the commands will touch into the cache, in three passes that overlap their misses: the slots'
    /// headers, their tables, the entries. A single key is not worth the trip.
    pub fn prefetch(&self, lanes: &Lanes) {
        let keys = &self.scratch.keys;
        if keys.len() < 2 {
            return;
        }
        for key in keys {
            lanes.prefetch_entry(key.slot, key.hash);
        }
    }
}
