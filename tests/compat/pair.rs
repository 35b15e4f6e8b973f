//! The two servers side by side, and connections that always talk to both.

use capstan_tests::process::{Server, capstan_node, on_path, redis_server};
use capstan_tests::wire::{Wire, encode};

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// What a connection starts with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// A Redis and a Capstan node.
pub(crate) struct Pair {
    redis: Server,
    capstan: Server,
}

/// What each of the two said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replies {
    /// Redis' bytes.
    pub(crate) redis: Vec<u8>,
    /// Our bytes.
    pub(crate) capstan: Vec<u8>,
}

/// A connection to each of them.
pub(crate) struct Both {
    redis: Wire,
    capstan: Wire,
}

impl Pair {
    /// Starts both; `None`, said aloud, where there is no redis-server to compare with.
    pub(crate) fn start(redis_settings: &[&str]) -> Option<Self> {
        let Some(program) = on_path("redis-server") else {
            println!("SKIPPED: redis-server is not installed (Debian package redis-server)");
            return None;
        };
        let redis = redis_server(&program, redis_settings).expect("redis-server starts");
        let capstan = capstan_node().expect("a Capstan node starts");
        Some(Self { redis, capstan })
    }

    /// A connection to each.
    pub(crate) fn connect(&self, protocol: Protocol) -> Both {
        let mut both = Both {
            redis: self.redis.connect().expect("redis accepts"),
            capstan: self.capstan.connect().expect("capstan accepts"),
        };
        if protocol == Protocol::Resp3 {
            let hello = both.ask(&[b"HELLO".as_slice(), b"3"]);
            assert!(hello.redis.starts_with(b"%") && hello.capstan.starts_with(b"%"), "HELLO 3: {hello:?}");
        }
        both
    }
}

impl Both {
    /// One command to both.
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Replies {
        self.send(&encode(args));
        self.reply(|| show(args))
    }

    /// One command to both, whose replies are read later.
    pub(crate) fn write<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send(&encode(args));
    }

    /// The next reply of each.
    pub(crate) fn read(&mut self, place: &str) -> Replies {
        self.reply(|| place.to_owned())
    }

    /// Many commands in one write to each, then all replies.
    pub(crate) fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Replies> {
        let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(c)).collect();
        self.send(&bytes);
        commands.iter().map(|command| self.reply(|| show(command))).collect()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.redis.send(bytes).expect("redis reads");
        self.capstan.send(bytes).expect("capstan reads");
    }

    fn reply(&mut self, command: impl Fn() -> String) -> Replies {
        let redis = self.redis.reply().unwrap_or_else(|e| panic!("no reply of redis to {}: {e}", command()));
        let capstan =
            self.capstan.reply().unwrap_or_else(|e| panic!("no reply of capstan to {}: {e}", command()));
        Replies { redis, capstan }
    }
}

/// A command as one would type it into redis-cli; long arguments are cut.
pub(crate) fn show<A: AsRef<[u8]>>(args: &[A]) -> String {
    let word = |arg: &A| {
        let arg = arg.as_ref();
        let cut = &arg[..arg.len().min(80)];
        let text = cut.escape_ascii().to_string();
        let rest = if cut.len() < arg.len() { format!("...({} bytes)", arg.len()) } else { String::new() };
        if text.is_empty() || text.contains([' ', '"', '\\']) {
            format!("\"{text}\"{rest}")
        } else {
            text + &rest
        }
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}
