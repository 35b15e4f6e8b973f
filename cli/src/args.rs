//! The command line: verbs, flags, their environment variables and the help texts. Nothing is done here.
//!
//! The settings of a node are flags too: they are added from the table of settings, so that a setting has one name
//! in flag, environment, TOML and CONFIG (DESIGN 15).

use capstan_proto::ids::RequestId;
use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where the meta servers of a dev cluster listen unless it was started elsewhere.
pub(crate) const DEV_META: &str = "127.0.0.1:7050,127.0.0.1:7051,127.0.0.1:7052";

#[derive(Parser)]
#[command(
    name = "capstan",
    version,
    about = "A Redis-Cluster-compatible store whose control plane is a Raft group"
)]
#[command(max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// How servers write their log, to stderr
    #[arg(long, global = true, env = "CAPSTAN_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What servers log: error, warn, info, debug, or a list like `info,capstan_node=debug`
    #[arg(long, global = true, env = "CAPSTAN_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// For `dev`'s children: a session of their own, no life after this process, and workers' numbers on stdout
    #[arg(long, global = true, hide = true, value_name = "PID")]
    pub(crate) die_with: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for each event
    Text,
    /// One JSON object for each event
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Runs a whole cluster on this machine; a second start on the same folder is the same cluster
    Dev(DevArgs),
    /// Runs one data node: of a cluster with --meta, else alone with every slot
    #[command(
        after_help = "Each setting is also CAPSTAN_NAME in the environment, a line of the TOML file, and CONFIG."
    )]
    Node(NodeArgs),
    /// Runs one meta server; `capstan meta members` shows and changes the group
    #[command(args_conflicts_with_subcommands = true)]
    Meta(MetaArgs),
    /// Shows whether the cluster is well, and what is wrong with it
    Status(StatusArgs),
    /// Shows the data nodes
    Nodes(Ask),
    /// Shows the shards
    Shards(Ask),
    /// Shows who owns which slots
    Slots(SlotsArgs),
    /// Shows what has been decided, by whom and why
    History(HistoryArgs),
    /// Shows or changes settings of the cluster
    Settings(SettingsArgs),
    /// Makes a registered node the primary of a fresh shard, or a replica of a shard
    Join(JoinArgs),
    /// Gives slots that nobody owns to a shard
    AddSlots(AddSlotsArgs),
    /// Makes another replica the primary of a shard, without losing anything that was acknowledged
    Failover(FailoverArgs),
    /// Moves all that a node leads to other nodes, and keeps it from leading anything until --end
    Drain(DrainArgs),
    /// Shows what became of a request whose answer was lost (exit code 3)
    Outcome(OutcomeArgs),
}

/// Whom an admin verb asks, and how it answers.
#[derive(Args, Clone, Debug)]
pub(crate) struct Ask {
    /// The meta servers; default: the dev cluster's
    #[arg(long, global = true, env = "CAPSTAN_META", value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub(crate) meta: Vec<String>,
    /// The file with the cluster secret; default: ./capstan-dev/secret if it is there
    #[arg(long, global = true, env = "CAPSTAN_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Give up after this many seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) patience: u64,
}

/// What a verb that changes something takes beside [`Ask`].
#[derive(Args, Clone, Debug)]
pub(crate) struct Request {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Repeats a request: with the id of an earlier one it is answered again, not done again
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<RequestId>,
}

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Data nodes listen on this port and the next ones, meta servers 50 above; default 7000
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The folder of the cluster
    #[arg(long, default_value = "./capstan-dev", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// How many shards; default 3
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) shards: Option<u16>,
    /// Replicas of each shard; default 1
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=5))]
    pub(crate) replicas: Option<u16>,
    /// How many meta servers; default 3
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) meta: Option<u16>,
    /// For checkers: each data node writes logs/NAME.serving, see `capstan node --trace-serving`
    #[arg(long, hide = true)]
    pub(crate) trace_serving: bool,
}

#[derive(Args)]
pub(crate) struct NodeArgs {
    /// A TOML file with settings; default DIR/capstan.toml if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The file with the cluster secret
    #[arg(long, env = "CAPSTAN_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// In a cluster: ends with the process that serves, instead of starting the next one
    #[arg(long)]
    pub(crate) no_respawn: bool,
    /// Writes to this file when which lanes were served under which epoch, for checkers; slows the node down
    #[arg(long, value_name = "FILE")]
    pub(crate) trace_serving: Option<PathBuf>,
    /// For the supervisor's child: standard input is its control pipe
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

#[derive(Args)]
pub(crate) struct MetaArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<MetaVerb>,
    #[command(flatten)]
    pub(crate) server: MetaServer,
}

#[derive(Args)]
pub(crate) struct MetaServer {
    /// The port for data nodes, admin verbs and the other meta servers
    #[arg(long, default_value = "7050", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// The address to listen on; without a secret only loopback
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) bind: String,
    /// How the others reach this server; default BIND:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) announce: Option<String>,
    /// The folder of this server
    #[arg(long, default_value = "./capstan-meta", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// This server's number in its group, never used twice
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) id: u64,
    /// The founders of a new group, this server among them; the same list on each of them
    #[arg(long, value_name = "ID@HOST:PORT,...", value_delimiter = ',', conflicts_with = "join")]
    pub(crate) peers: Vec<String>,
    /// Founds no group, waits to be taken into one that is there: capstan meta members add ID HOST:PORT
    #[arg(long)]
    pub(crate) join: bool,
    /// The file with the cluster secret
    #[arg(long, env = "CAPSTAN_SECRET_FILE", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum MetaVerb {
    /// Shows the meta servers, or adds, removes, replaces one
    Members(MembersArgs),
}

#[derive(Args)]
pub(crate) struct MembersArgs {
    #[command(subcommand)]
    pub(crate) change: Option<MembersChange>,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(Subcommand)]
pub(crate) enum MembersChange {
    /// Adds a running server: it copies the state first, then votes
    Add {
        /// Its number, never used before
        id: u64,
        /// Where it listens
        address: String,
        /// Repeats an earlier request
        #[arg(long, value_name = "ID")]
        request_id: Option<RequestId>,
    },
    /// Removes a server, dead or alive
    Remove {
        /// Its number
        id: u64,
        /// Repeats an earlier request
        #[arg(long, value_name = "ID")]
        request_id: Option<RequestId>,
    },
    /// Puts a fresh server in the place of one whose folder is lost
    Replace {
        /// The number of the lost one
        old: u64,
        /// The number of the fresh one, never used before
        id: u64,
        /// Where the fresh one listens
        address: String,
        /// Repeats an earlier request
        #[arg(long, value_name = "ID")]
        request_id: Option<RequestId>,
    },
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Exit code 1 unless all is well
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args)]
pub(crate) struct SlotsArgs {
    /// Only this slot
    #[arg(value_parser = clap::value_parser!(u16).range(0..=16383), conflicts_with = "key")]
    pub(crate) slot: Option<u16>,
    /// Only the slot of this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(Args)]
pub(crate) struct HistoryArgs {
    /// At most this many, the newest
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Only after this index
    #[arg(long, value_name = "INDEX", default_value = "0")]
    pub(crate) after: u64,
    /// Only about this shard: a number or an id
    #[arg(long)]
    pub(crate) shard: Option<String>,
    /// Only about this node: an id, the start of one, or an address
    #[arg(long)]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(Args)]
pub(crate) struct SettingsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<SettingsVerb>,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(Subcommand)]
pub(crate) enum SettingsVerb {
    /// Shows one setting
    Get {
        /// Its name, as in CONFIG
        name: String,
    },
    /// Changes a setting on every node; an empty value is its default
    Set {
        /// Its name, as in CONFIG
        name: String,
        /// Its new value
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Repeats an earlier request
        #[arg(long, value_name = "ID")]
        request_id: Option<RequestId>,
    },
}

#[derive(Args)]
pub(crate) struct JoinArgs {
    /// The node: its id, the start of it, or its address
    pub(crate) node: String,
    /// Becomes a replica of this shard, by number or id; without it, the primary of a fresh shard
    #[arg(long)]
    pub(crate) shard: Option<String>,
    #[command(flatten)]
    pub(crate) request: Request,
}

#[derive(Args)]
pub(crate) struct AddSlotsArgs {
    /// The shard: its number, its id, or the start of it
    pub(crate) shard: String,
    /// Slots: `77` or `0-5460`
    #[arg(required = true, value_name = "SLOT|FIRST-LAST")]
    pub(crate) slots: Vec<String>,
    #[command(flatten)]
    pub(crate) request: Request,
}

#[derive(Args)]
pub(crate) struct FailoverArgs {
    /// The shard: its number, its id, or the start of it
    pub(crate) shard: String,
    /// The replica that takes over: its id, the start of it, or its address; default: the one that has most
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
    /// Gives up what the replica lacks. The old primary's end is waited for all the same, up to its lease's
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) request: Request,
}

#[derive(Args)]
pub(crate) struct DrainArgs {
    /// The node: its id, the start of it, or its address
    pub(crate) node: String,
    /// Ends it: the node may lead again
    #[arg(long)]
    pub(crate) end: bool,
    /// Waits at most this many seconds until the node leads nothing
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) wait: u64,
    #[command(flatten)]
    pub(crate) request: Request,
}

#[derive(Args)]
pub(crate) struct OutcomeArgs {
    /// The id that was printed
    pub(crate) request_id: RequestId,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// The settings of a node as they stand on the command line: names and values.
pub(crate) type Settings = Vec<(String, String)>;

/// The arguments of this process as its worker gets them.
pub(crate) fn for_worker() -> Vec<OsString> {
    without_die_with(std::env::args_os().skip(1))
}

/// A worker's parent is its supervisor, and its life ends with the control pipe.
fn without_die_with(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut kept = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_encoded_bytes() {
            b"--die-with" => drop(args.next()),
            bytes if bytes.starts_with(b"--die-with=") => {}
            _ => kept.push(arg),
        }
    }
    kept.push("--supervised".into());
    kept
}

/// Reads the command line. A wrong one ends the process here with exit code 2, `--help` with 0.
pub(crate) fn read() -> (Cli, Settings) {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let settings = matches.subcommand_matches("node").map(settings_of).unwrap_or_default();
    (cli, settings)
}

fn command() -> clap::Command {
    Cli::command().mut_subcommand("node", |node| {
        capstan_node::config::rows::ROWS.iter().fold(node, |node, row| {
            let mut about = row.about.to_owned();
            if !row.default.is_empty() {
                about.push_str(&format!(" [default: {}]", row.default));
            }
            let flag = Arg::new(row.name).long(row.name).value_name("VALUE").help(about);
            node.arg(flag.allow_hyphen_values(true).help_heading("Settings"))
        })
    })
}

fn settings_of(matches: &ArgMatches) -> Settings {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let rows = capstan_node::config::rows::ROWS.iter();
    rows.filter_map(|row| Some((row.name.to_owned(), given(row.name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_setting_is_a_flag_of_node() {
        command().debug_assert();
        let matches = command().get_matches_from(["capstan", "node", "--port", "1", "--timeout", "-1"]);
        let node = matches.subcommand_matches("node").expect("the verb");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings_of(node), [pair("port", "1"), pair("timeout", "-1")]);
    }

    #[test]
    fn a_worker_gets_every_argument_but_whom_the_supervisor_dies_with() {
        for line in ["node --port 1 --die-with=77 --dir d", "--die-with 77 node --port 1 --dir d"] {
            let kept = without_die_with(line.split(' ').map(OsString::from));
            assert_eq!(kept, ["node", "--port", "1", "--dir", "d", "--supervised"]);
        }
    }

    #[test]
    fn meta_is_a_server_unless_members_is_asked_for() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let Ok(Cli { verb: Verb::Meta(meta), .. }) = parse("capstan meta --id 2 --peers 1@a:1,2@b:2") else {
            panic!("a server");
        };
        assert_eq!((meta.server.id, meta.server.peers.len(), meta.verb.is_none()), (2, 2, true));
        let Ok(Cli { verb: Verb::Meta(meta), .. }) = parse("capstan meta members replace 1 4 c:3") else {
            panic!("members");
        };
        assert!(meta.verb.is_some());
        assert!(parse("capstan meta --peers 1@a:1 --join").is_err());
    }
}
