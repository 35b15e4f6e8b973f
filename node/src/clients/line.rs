//! The line that CLIENT LIST and CLIENT INFO show of a client, in Redis 7.2's format and order of fields.
//!
//! What Capstan has no such thing of (subscriptions, tracking) is shown as Redis shows it for a client without.

use super::Client;
use capstan_proto::env::Boot;
use std::sync::atomic::Ordering::Relaxed;

/// The line without its line break. `command` gives a command's full name by its number.
#[must_use]
pub fn of(client: &Client, now: Boot, command: impl Fn(usize) -> Option<String>) -> String {
    let names = client.names();
    let seconds = |since: Boot| now.since(since).as_secs();
    let (query, free, waiting) =
        (client.query.load(Relaxed), client.query_free.load(Relaxed), client.waiting.load(Relaxed));
    let multi = client.multi.load(Relaxed);
    let mut flags = String::new();
    for (set, letter) in [
        (client.killed.load(Relaxed), 'A'),
        (client.readonly.load(Relaxed), 'r'),
        (multi >= 0, 'x'),
        (client.no_evict.load(Relaxed), 'e'),
        (client.blocked.load(Relaxed), 'b'),
        (client.no_touch.load(Relaxed), 'T'),
    ] {
        if set {
            flags.push(letter);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub=0 psub=0 ssub=0 multi={multi} \
         qbuf={query} qbuf-free={free} argv-mem=0 multi-mem=0 rbs={free} rbp={free} obl={waiting} oll=0 omem={waiting} \
         tot-mem={} events={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.from,
        client.to,
        client.descriptor,
        names.name,
        seconds(client.since),
        seconds(client.last_used()),
        client.db.load(Relaxed),
        query + free + waiting + size_of::<Client>(),
        if waiting > 0 { "rw" } else { "r" },
        command(client.command.load(Relaxed)).unwrap_or_else(|| "NULL".into()),
        names.user,
        client.resp.load(Relaxed),
        names.library,
        names.library_version,
    )
}

/// Whether a name may stand in such a line: printable, without blanks.
#[must_use]
pub fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|b| (b'!'..=b'~').contains(b))
}

#[cfg(test)]
mod tests {
    use super::super::tests::enter;
    use super::super::{Activity, Clients};
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_line_has_the_fields_of_redis_in_their_order() {
        let clients = Arc::new(Clients::default());
        let place = enter(&clients, 9, Boot(0)).expect("room");
        let client = place.client();
        client.rename(|names| names.name = "me".into());
        let at = Boot(7_000_000_000);
        client.note(&Activity {
            at,
            command: 3,
            db: 1,
            resp: 3,
            multi: 2,
            query: (5, 11),
            ..Activity::default()
        });
        let line = of(client, Boot(9_000_000_000), |id| Some(format!("command{id}")));
        assert!(line.starts_with(
            "id=1 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=8 name=me age=9 idle=2 flags=x db=1 "
        ));
        let names: Vec<&str> = line.split(' ').filter_map(|field| field.split('=').next()).collect();
        let wanted = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs \
                      rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
        assert_eq!(names.join(" "), wanted);
        assert!(line.contains(" cmd=command3 user=default redir=-1 resp=3 "));
    }

    #[test]
    fn names_with_blanks_or_control_characters_are_refused() {
        assert!(is_valid_name(b"lettuce#ClusterTopologyRefresh") && is_valid_name(b""));
        assert!(!is_valid_name(b"a b") && !is_valid_name(b"a\n") && !is_valid_name("ä".as_bytes()));
    }
}
