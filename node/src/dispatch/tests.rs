//! The hot path without sockets: bytes in, replies out.

use super::*;
use crate::config::Config;
use crate::hold::Until;
use crate::store::Access;
use capstan_proto::env::{Clock, Env};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A clock that stands still until it is moved.
#[derive(Default)]
struct Still(AtomicU64);

impl Clock for Still {
    fn boot(&self) -> Boot {
        Boot(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed) / 1_000_000)
    }
}

struct Bench {
    core: Arc<NodeCore>,
    clock: Arc<Still>,
    session: Session,
    input: Input,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(Still::default());
        let env = Env { clock: clock.clone(), ..Env::real() };
        let core = NodeCore::new(env, Config::default());
        Self {
            core,
            clock,
            session: Session { authenticated: true, ..Session::default() },
            input: Input::default(),
        }
    }

    /// Lets the input have these bytes, whatever its room at a time.
    fn arrive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.input.room();
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            self.input.filled(len);
            bytes = &bytes[len..];
        }
    }

    fn run(&mut self) -> (String, Step, Ran) {
        let mut out = Reply::over(Vec::new(), self.session.resp);
        let mut ran = Ran::default();
        let step = Scratch::with(|scratch| {
            run(&self.core, &mut self.session, &mut self.input, &mut out, scratch, &mut ran)
        });
        (String::from_utf8_lossy(out.bytes()).into_owned(), step, ran)
    }

    fn say(&mut self, lines: &str) -> String {
        self.arrive(lines.as_bytes());
        let (replies, step, _) = self.run();
        assert!(matches!(step, Step::Drained | Step::Close), "{step:?}");
        replies
    }
}

#[test]
fn a_pipeline_of_many_chunks_is_answered_in_order() {
    let mut bench = Bench::new();
    let sets: String = (0..1000).map(|i| format!("SET key{i} {i}\n")).collect();
    assert_eq!(bench.say(&sets), "+OK\r\n".repeat(1000));
    let gets: String = (0..1000).map(|i| format!("GET key{i}\n")).collect();
    let want: String = (0..1000).map(|i| format!("${}\r\n{i}\r\n", i.to_string().len())).collect();
    assert_eq!(bench.say(&gets), want);
    assert_eq!(bench.core.stats.processed.load(Ordering::Relaxed), 2000);
}

#[test]
fn a_command_in_two_reads_is_executed_when_it_is_complete() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("PING\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nb"), "+PONG\r\n");
    assert_eq!(bench.say("cd\r\nGET a\n"), "+OK\r\n$3\r\nbcd\r\n");
}

#[test]
fn what_came_before_bytes_of_no_meaning_is_executed_and_what_follows_is_not() {
    let mut bench = Bench::new();
    bench.arrive(b"SET a 1\n*x\r\nSET a 2\n");
    let (replies, step, _) = bench.run();
    assert_eq!(replies, "+OK\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert!(matches!(step, Step::Close));
    assert_eq!(bench.say("GET a\n"), "$1\r\n1\r\n");
}

#[test]
fn nothing_executes_when_the_lease_has_ended_and_every_keyed_command_says_so() {
    let mut bench = Bench::new();
    bench.core.serving.set_until(Boot(1000));
    assert_eq!(bench.say("SET a 1\n"), "+OK\r\n");
    bench.clock.0.store(1000, Ordering::Relaxed);
    // ►9: CLUSTERDOWN, nothing executed. PING needs no lease.
    bench.arrive(b"SET a 2\nGET a\nPING\nFLUSHALL\n");
    let (replies, _, ran) = bench.run();
    let down = "-CLUSTERDOWN The cluster is down\r\n";
    assert!(replies.starts_with(&format!("{down}{down}+PONG\r\n")), "{replies}");
    assert!(!ran.under_lease);
    bench.core.serving.set_until(Boot(5000));
    assert!(bench.say("GET a\n").contains("$1\r\n1\r\n"));
}

#[test]
fn a_slot_of_somebody_else_is_not_touched() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("SET foo 1\n"), "+OK\r\n");
    let foo = capstan_proto::slot::Slot::of_key(b"foo");
    bench.core.lanes.set_access(|slot| if slot == foo { Access::Unassigned } else { Access::Mine });
    // The view still calls the slot this node's own: between the two the client is told to come back.
    assert_eq!(bench.say("GET foo\n"), "-CLUSTERDOWN The cluster is down\r\n");
    assert_eq!(bench.say("SET bar 1\n"), "+OK\r\n");
}

#[test]
fn a_lane_that_a_long_command_holds_stops_the_connection_and_not_the_worker() {
    let mut bench = Bench::new();
    let core = bench.core.clone();
    let lane = core.lanes.of(capstan_proto::slot::Slot::of_key(b"foo"));
    let held = core.lanes.lock_long(lane);
    bench.arrive(b"PING\nSET foo 1\nPING\n");
    let (replies, step, _) = bench.run();
    assert_eq!(replies, "+PONG\r\n");
    assert!(matches!(step, Step::Busy(busy) if busy.lane == lane));
    drop(held);
    assert_eq!(bench.run().0, "+OK\r\n+PONG\r\n", "what was not executed is executed, once");
}

#[test]
fn a_pipeline_over_all_lanes_with_a_large_reply_stops_to_flush() {
    let mut bench = Bench::new();
    bench.arrive(format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$200000\r\n{}\r\n", "x".repeat(200_000)).as_bytes());
    assert_eq!(bench.run().0, "+OK\r\n");
    bench.arrive(b"GET a\nGET a\nGET a\n");
    let (first, step, _) = bench.run();
    assert!(matches!(step, Step::Flush) && first.len() < 2 * FLUSH_BYTES, "{}", first.len());
    assert!(matches!(bench.run().1, Step::Drained));
}

#[test]
fn several_slots_in_one_command_work_on_a_node_that_is_alone() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("SET a 1\nSET b 2\nSET c 3\nDEL a b c d\n"), "+OK\r\n+OK\r\n+OK\r\n:3\r\n");
}

#[test]
fn unknown_commands_and_wrong_arities_are_worded_as_in_redis() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.say("nosuch a b\n"),
        "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' \r\n"
    );
    assert_eq!(bench.say("GET\n"), "-ERR wrong number of arguments for 'get' command\r\n");
}

#[test]
fn without_a_password_that_was_asked_for_nothing_but_auth_is_answered() {
    let mut bench = Bench::new();
    let changes = bench.core.config.plan(&[(b"requirepass", b"secret")]).expect("allowed");
    bench.core.config.apply(changes);
    bench.session.authenticated = false;
    assert_eq!(bench.say("GET a\n"), "-NOAUTH Authentication required.\r\n");
}

/// An emulated node whose log somebody reads.
fn logged() -> Bench {
    let bench = Bench::new();
    bench.core.log.open_epoch(ShardEpoch(1));
    bench.core.log.set_wanted(crate::log::Wanted::Yes);
    bench
}

fn batch_of(bench: &mut Bench, lines: &str) -> u64 {
    bench.arrive(lines.as_bytes());
    bench.run().2.batch
}

#[test]
fn replies_wait_for_the_batch_of_what_was_written_and_those_of_reads_for_none() {
    let mut bench = logged();
    assert_eq!(batch_of(&mut bench, "GET a\nPING\n"), 0);
    let first = batch_of(&mut bench, "SET a 1\nGET a\n");
    assert!(first > 0 && !bench.core.log.is_sent(first));
    bench.core.log.drain();
    assert!(bench.core.log.is_sent(first));
    let second = batch_of(&mut bench, "MULTI\nINCR a\nSET b 1\nEXEC\n");
    assert!(second > first);
    assert_eq!(batch_of(&mut bench, "FLUSHALL\n"), second + 1, "a batch of its own");
    assert!(batch_of(&mut bench, "MULTI\nSET a 1\nFLUSHALL\nSET b 1\nEXEC\n") > second + 2);
    assert_eq!(bench.session.written, bench.core.lanes.tagging().open());
}

#[test]
fn a_read_that_finds_a_key_expired_waits_for_the_deletion_that_it_logged() {
    let mut bench = logged();
    assert_eq!(bench.say("SET a 1 PX 5\n"), "+OK\r\n");
    bench.core.log.drain();
    bench.clock.0.store(6_000_000, Ordering::Relaxed);
    let batch = batch_of(&mut bench, "GET a\n");
    assert!(batch > 0 && !bench.core.log.is_sent(batch));
}

#[test]
fn a_held_slot_stops_the_connection_and_nothing_executes_before_the_hold_ends() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("SET foo 1\nMULTI\nINCR foo\n"), "+OK\r\n+OK\r\n+QUEUED\r\n");
    bench.core.hold.begin(Boot(0), std::time::Duration::from_nanos(1000), Until::HandedOver);
    bench.core.lanes.set_access(|_| Access::Held);
    bench.arrive(b"EXEC\nFLUSHALL\nPING\n");
    let (replies, step, _) = bench.run();
    assert!(matches!(step, Step::Held) && replies.is_empty(), "{step:?} {replies}");
    assert!(bench.session.multi.is_some(), "the transaction waits as a whole");
    bench.core.hold.end(Until::HandedOver);
    bench.core.lanes.set_access(|_| Access::Mine);
    assert_eq!(bench.run().0, "*1\r\n:2\r\n+OK\r\n+PONG\r\n", "what was held is executed, once");
}

#[test]
fn a_command_that_is_held_beyond_the_limit_is_told_to_try_again_and_has_changed_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("SET foo 1\n"), "+OK\r\n");
    bench.core.hold.begin(Boot(0), std::time::Duration::from_nanos(1000), Until::HandedOver);
    bench.core.lanes.set_access(|_| Access::Held);
    bench.clock.0.store(1000, Ordering::Relaxed);
    let again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    assert_eq!(bench.say("SET foo 2\nGET foo\nFLUSHALL\n"), again.repeat(3));
    // ►14: the attempt has ended, and the lease is not back yet: clients go on waiting, up to the limit.
    bench.core.lanes.set_access(|_| Access::Mine);
    bench.core.serving.set_until(Boot(0));
    bench.core.hold.begin(Boot(1000), std::time::Duration::from_nanos(1000), Until::HandedOver);
    bench.arrive(b"GET foo\n");
    assert!(matches!(bench.run().1, Step::Held));
    // The first lease of a new epoch does not come.
    bench.core.hold.begin(Boot(1000), std::time::Duration::ZERO, Until::FirstLease);
    assert_eq!(bench.run().0, "-CLUSTERDOWN The cluster is down\r\n");
    bench.core.serving.set_until(Boot(u64::MAX));
    bench.core.hold.end(Until::FirstLease);
    assert_eq!(bench.say("GET foo\n"), "$1\r\n1\r\n");
}

#[test]
fn writes_are_refused_while_too_few_replicas_are_there_and_reads_are_not() {
    let mut bench = logged();
    let required = |replicas| crate::log::Required { replicas, lag_max: std::time::Duration::from_secs(10) };
    bench.core.log.set_required(required(1));
    let refused = "-NOREPLICAS Not enough good replicas to write.\r\n";
    assert_eq!(bench.say("SET a 1\nGET a\n"), format!("{refused}$-1\r\n"));
    bench.core.log.set_required(required(0));
    assert_eq!(bench.say("SET a 1\n"), "+OK\r\n");
}

#[test]
fn a_command_that_goes_through_a_collection_is_long_only_while_the_collection_is_large() {
    let mut bench = Bench::new();
    let fill = |members: usize| (0..members).map(|i| format!("SADD set m{i}\n")).collect::<String>();
    bench.say(&fill(100));
    assert!(bench.say("SMEMBERS set\n").starts_with("*100\r\n"));
    bench.say(&fill(9000));
    bench.arrive(b"SMEMBERS set\nSCARD set\n");
    let (replies, step, _) = bench.run();
    assert!(replies.is_empty() && matches!(step, Step::Long(_)), "{replies} {step:?}");
    assert_eq!(bench.say(""), ":9000\r\n", "what costs the same for any size is not");
    assert_eq!(bench.say("MULTI\nSMEMBERS set\n"), "+OK\r\n+QUEUED\r\n");
    assert!(bench.session.multi.as_ref().is_some_and(|multi| multi.long), "and EXEC is as its queue");
}

#[test]
fn what_a_node_without_a_lease_may_answer_does_not_depend_on_one() {
    let mut bench = Bench::new();
    bench.core.serving.set_until(Boot(1000));
    bench.clock.0.store(1000, Ordering::Relaxed);
    bench.arrive(b"INFO\nDBSIZE\n");
    let (replies, _, ran) = bench.run();
    assert!(replies.contains("redis_version") && replies.ends_with(":0\r\n"), "{replies}");
    assert!(!ran.under_lease, "its replies leave although no lease is held");
}
