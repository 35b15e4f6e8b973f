//! Clients that execute commands in a node's process, and what they make of the replies.
//!
//! There are no client sockets: commands go straight to `dispatch`, which is what connections do with them, and a reply
//! leaves as a connection's would: once its batch was sent, and after one more look at lease and epoch (►9). Now and then
//! one is late, as if its thread had been stopped.

use crate::checks::Served;
use crate::plan::SHARDS;
use crate::stage::{Answered, Stage};
use capstan_node::core::NodeCore;
use capstan_node::dispatch::{self, Ran, Scratch};
use capstan_node::input::Input;
use capstan_node::release::Stamp;
use capstan_node::resp::{Reply, Resp};
use capstan_node::session::Session;
use capstan_node::store::Access;
use capstan_proto::slot::{SLOTS, Slot};
use std::collections::VecDeque;
use std::time::Duration;

/// Between two commands of a node's clients, milliseconds.
const COMMAND_EVERY: std::ops::Range<u64> = 5..40;
/// Keys of each kind that clients use.
const KEYS: u64 = 600;
/// Names that are tried for one of the node's own shard.
const TRIES: u64 = 6;
/// One reply in so many is late, by up to so many milliseconds.
const LATE_ONE_IN: u64 = 50;
const LATE_MAX_MS: u64 = 9_000;
/// A quiet client looks up so often.
const QUIET_LOOK: Duration = Duration::from_millis(100);

/// What a command is to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Write(u64),
    Read,
    Other,
}

struct Command {
    key: String,
    about: About,
    words: Vec<String>,
}

/// A reply that has not left.
struct Waiting {
    stamp: Stamp,
    slot: Slot,
    key: String,
    about: About,
    /// Not before this, milliseconds of the run.
    due: u64,
}

/// Executes commands for ever.
pub(crate) async fn run(stage: &Stage, machine: &str, node: usize, core: &NodeCore) {
    let mut session = Session { authenticated: true, ..Session::default() };
    let mut waiting = VecDeque::new();
    loop {
        let chance = core.env.random.u64();
        let pause = COMMAND_EVERY.start + chance % (COMMAND_EVERY.end - COMMAND_EVERY.start);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        answer(stage, machine, core, &mut waiting);
        if stage.is_quiet() {
            tokio::time::sleep(QUIET_LOOK).await;
            continue;
        }
        let command = command(stage, chance >> 8, node);
        stage.look_at(machine);
        let (ran, reply) = execute(core, &mut session, &bytes(&command.words));
        let Some(kind) = reply.first().filter(|&&kind| kind != b'-') else { continue };
        let slot = Slot::of_key(command.key.as_bytes());
        stage.executed(slot, Served { by: stage.name(machine), epoch: ran.epoch, at: stage.now.nanos() });
        match command.about {
            About::Write(serial) => stage.wrote(slot, ran.epoch, &command.key, (serial, ran.batch)),
            About::Read if *kind == b'$' => stage.read(slot, ran.epoch, &command.key, number(&reply)),
            About::Read | About::Other => {}
        }
        let late = (chance >> 32).is_multiple_of(LATE_ONE_IN);
        let due = stage.now.millis() + if late { (chance >> 40) % LATE_MAX_MS } else { 0 };
        let Command { key, about, .. } = command;
        waiting.push_back(Waiting { stamp: ran.stamp(), slot, key, about, due });
        // The batcher has its turn; what is not late leaves then.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        answer(stage, machine, core, &mut waiting);
    }
}

/// Lets the replies go whose batch was sent, unless lease or epoch have ended (►9).
fn answer(stage: &Stage, machine: &str, core: &NodeCore, waiting: &mut VecDeque<Waiting>) {
    let now = stage.now.millis();
    let may_go = |one: &Waiting| one.due <= now && core.log.is_sent(one.stamp.batch);
    let (going, staying) = std::mem::take(waiting).into_iter().partition::<VecDeque<_>, _>(may_go);
    *waiting = staying;
    for Waiting { stamp, slot, key, about, .. } in going {
        if stamp.may_leave(core) {
            let serial = if let About::Write(serial) = about { Some(serial) } else { None };
            stage.answered(machine, &Answered { slot, epoch: stamp.epoch, key: &key, serial });
        }
    }
}

/// Most commands are about slots of the shard that the node belongs to.
fn command(stage: &Stage, chance: u64, node: usize) -> Command {
    let own = |name: &String| {
        usize::from(Slot::of_key(name.as_bytes()).number()) * SHARDS / usize::from(SLOTS) == node % SHARDS
    };
    let (kind, first) = (chance % 20, (chance >> 5) % KEYS);
    let name = |letter: &str| {
        let mut names = (0..TRIES).map(|step| format!("{letter}:{}", (first + step) % KEYS));
        let any = format!("{letter}:{first}");
        names.find(own).unwrap_or(any)
    };
    let small = format!("{}", (chance >> 20) % 8);
    let serial = stage.next_serial();
    let text = serial.to_string();
    let (letter, about, words): (&str, About, Vec<&str>) = match kind {
        0..8 => ("v", About::Write(serial), vec!["SET", "", &text]),
        8..13 => ("v", About::Read, vec!["GET", ""]),
        13 => ("c", About::Other, vec!["INCR", ""]),
        14 => ("h", About::Other, vec!["HSET", "", &small, &text]),
        15 => ("l", About::Other, vec!["RPUSH", "", &text]),
        16 => ("l", About::Other, vec!["LPOP", ""]),
        17 => ("s", About::Other, vec!["SADD", "", &small]),
        18 => ("e", About::Other, vec!["SET", "", &text, "PX", "400"]),
        _ => ("c", About::Other, vec!["DEL", ""]),
    };
    let key = name(letter);
    let words = words.into_iter().map(|word| if word.is_empty() { key.clone() } else { word.to_owned() });
    let words = words.collect();
    Command { key, about, words }
}

fn bytes(words: &[String]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| text.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    text.into_bytes()
}

/// The number in a bulk string; 0 for none.
fn number(reply: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(reply);
    text.split("\r\n").nth(1).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Sends one command through the hot path.
fn execute(core: &NodeCore, session: &mut Session, command: &[u8]) -> (Ran, Vec<u8>) {
    let mut input = Input::default();
    input.room()[..command.len()].copy_from_slice(command);
    input.filled(command.len());
    let mut out = Reply::over(Vec::new(), Resp::default());
    let mut ran = Ran { epoch: core.serving.epoch(), ..Ran::default() };
    let _step =
        Scratch::with(|scratch| dispatch::run(core, session, &mut input, &mut out, scratch, &mut ran));
    (ran, out.into_bytes())
}

/// Whether a process could execute a command of a slot at this instant.
pub(crate) fn is_able(core: &NodeCore, slot: Slot) -> bool {
    let mine = core.lanes.lock(core.lanes.of(slot)).slot(slot).access() == Access::Mine;
    mine && core.serving.covers(core.env.clock.boot())
}

#[test]
fn requests_and_numbers_are_written_and_read_as_resp() {
    assert_eq!(bytes(&["GET".to_owned(), "v:1".to_owned()]), b"*2\r\n$3\r\nGET\r\n$3\r\nv:1\r\n");
    assert_eq!((number(b"$2\r\n42\r\n"), number(b"$-1\r\n")), (42, 0));
}
