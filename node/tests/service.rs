//! What clients and tools see of a node besides its data: INFO, CONFIG, CLIENT, COMMAND, AUTH, limits, start and stop.

mod wire;

use std::io::Write;
use wire::{Client, Node, Value, settings, wait_until};

const PREFIX: &str = "ERR CONFIG SET failed (possibly related to argument";

#[test]
fn info_has_what_redis_exporter_redis_py_and_redis_cli_read() {
    let node = Node::start(&[]);
    let mut client = node.client();
    let fields = client.info("");
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    assert_eq!(field("redis_version"), Some("7.2.4"));
    assert_eq!(field("cluster_enabled"), Some("1"));
    assert_eq!(field("redis_mode"), Some("cluster"));
    assert_eq!(field("role"), Some("master"));
    assert_eq!(field("loading"), Some("0"));
    assert_eq!(field("tcp_port"), Some(node.address.port().to_string().as_str()));
    assert_eq!(field("db0"), None, "an empty node says nothing about its databases");
    for number in [
        "uptime_in_seconds",
        "process_id",
        "connected_clients",
        "blocked_clients",
        "maxclients",
        "used_memory",
        "used_memory_rss",
        "used_memory_peak",
        "maxmemory",
        "total_system_memory",
        "total_connections_received",
        "total_commands_processed",
        "instantaneous_ops_per_sec",
        "total_net_input_bytes",
        "total_net_output_bytes",
        "rejected_connections",
        "expired_keys",
        "evicted_keys",
        "keyspace_hits",
        "keyspace_misses",
        "connected_slaves",
        "master_repl_offset",
        "used_cpu_sys",
        "used_cpu_user",
        "mem_fragmentation_ratio",
    ] {
        let value = field(number).unwrap_or_else(|| panic!("INFO has no {number}"));
        assert!(value.parse::<f64>().is_ok(), "{number} is {value}");
    }
    assert!(field("used_memory_rss").and_then(|rss| rss.parse().ok()).is_some_and(|rss: u64| rss > 1 << 20));
}

#[test]
fn keyspace_and_commandstats_follow_what_happens() {
    let node = Node::start(&[]);
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("SET b 1 EX 1000");
    client.ask("GET a");
    client.ask("GET nothing");
    assert_eq!(client.info_field("db0"), "keys=2,expires=1,avg_ttl=0");
    assert_eq!(
        (client.info_field("keyspace_hits"), client.info_field("keyspace_misses")),
        ("1".into(), "1".into())
    );
    assert!(client.info_field("cmdstat_set").starts_with("calls=2,"));
    client.error("NOSUCHCOMMAND");
    client.error("GET");
    assert_eq!(client.info_field("errorstat_ERR"), "count=2");
    assert!(client.info_field("cmdstat_get").contains("rejected_calls=1"));
    client.ok("CONFIG RESETSTAT");
    assert_eq!(client.info_field("keyspace_hits"), "0");
    assert!(!client.info("commandstats").iter().any(|(name, _)| name == "cmdstat_set"));
}

#[test]
fn config_is_set_read_and_written_to_its_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("capstan.toml");
    std::fs::write(&path, "# mine\nmaxmemory = '1mb' # small\n").expect("written");
    let config = settings(&[("maxmemory", "1mb")]);
    config.set_file(&path);
    let node = Node::with(config);
    let mut client = node.client();
    client.ok("CONFIG SET maxmemory 2gb timeout 100");
    assert_eq!(client.ask("CONFIG GET maxmemory").texts(), ["maxmemory", "2147483648"]);
    assert_eq!(client.ask("CONFIG GET time* nothing MAXMEMORY").pairs().len(), 2);
    client.ok("CONFIG REWRITE");
    let text = std::fs::read_to_string(&path).expect("read");
    assert_eq!(text, "# mine\nmaxmemory = 2147483648 # small\ntimeout = 100\n");
    assert_eq!(client.ask("CONFIG GET save").texts(), ["save", ""]);
    assert_eq!(client.ask("CONFIG GET appendonly").texts(), ["appendonly", "no"]);
}

#[test]
fn config_errors_are_those_of_redis() {
    let node = Node::start(&[]);
    let mut client = node.client();
    for (command, want) in [
        ("CONFIG SET foo 1", "ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned()),
        ("CONFIG SET maxmemory abc", format!("{PREFIX} 'maxmemory') - argument must be a memory value")),
        (
            "CONFIG SET maxclients 0",
            format!("{PREFIX} 'maxclients') - argument must be between 1 and 4294967295 inclusive"),
        ),
        ("CONFIG SET timeout 5 timeout 6", format!("{PREFIX} 'timeout') - duplicate parameter")),
        ("CONFIG SET databases 3", format!("{PREFIX} 'databases') - can't set immutable config")),
        ("CONFIG SET timeout", "ERR wrong number of arguments for 'config|set' command".into()),
        ("CONFIG SET timeout 1 port", "ERR syntax error".into()),
        ("CONFIG REWRITE", "ERR The server is running without a config file".into()),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command".into()),
        ("CONFIG foo", "ERR unknown subcommand 'foo'. Try CONFIG HELP.".into()),
    ] {
        assert_eq!(client.error(command), want, "{command}");
    }
    assert_eq!(client.ask("CONFIG GET timeout").texts(), ["timeout", "0"], "nothing was changed");
    client.ok("CONFIG SET cluster-node-timeout 100");
    assert_eq!(client.ask("CONFIG GET cluster-node-timeout").texts(), ["cluster-node-timeout", "3000"]);
}

#[test]
fn a_client_is_listed_named_and_killed() {
    let node = Node::start(&[]);
    let (mut a, mut b) = (node.client(), node.client());
    a.ok("CLIENT SETNAME alpha");
    a.ok("CLIENT SETINFO LIB-NAME test");
    b.ok("CLIENT SETNAME beta");
    assert_eq!(a.ask("CLIENT GETNAME").text(), "alpha");
    let list = a.ask("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 2);
    let own = list.lines().find(|line| line.contains(" name=alpha ")).expect("listed");
    assert!(own.contains(" lib-name=test ") && own.contains(" cmd=client|list "), "{own}");
    let id = b.ask("CLIENT ID").text();
    assert_eq!(a.ask(&format!("CLIENT LIST ID {id}")).text().lines().count(), 1);
    assert!(a.ask("CLIENT INFO").text().starts_with("id="));
    assert_eq!(a.ask(&format!("CLIENT KILL ID {id}")), Value::Int(1));
    assert!(b.is_closed());
    assert_eq!(a.ask(&format!("CLIENT KILL ID {id}")), Value::Int(0));
    let mut c = node.client();
    c.ask("PING");
    let address = c.stream.local_addr().expect("an address").to_string();
    a.ok(&format!("CLIENT KILL {address}"));
    assert!(c.is_closed());
    assert_eq!(a.error("CLIENT KILL 1.2.3.4:5"), "ERR No such client");
    assert_eq!(a.ask("CLIENT KILL TYPE normal SKIPME no"), Value::Int(1), "killed, but answered");
    assert!(a.is_closed());
}

#[test]
fn client_reply_off_and_skip_hold_answers_back() {
    let node = Node::start(&[]);
    let mut client = node.client();
    client.send("CLIENT REPLY SKIP");
    client.send("PING skipped");
    assert_eq!(client.ask("PING shown").text(), "shown");
    client.send("CLIENT REPLY OFF");
    client.send("PING hidden");
    client.ok("CLIENT REPLY ON");
    assert_eq!(
        client.error("CLIENT MAINT_NOTIFICATIONS ON"),
        "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
    );
}

#[test]
fn clients_beyond_maxclients_are_told_so_and_closed() {
    let node = Node::start(&[("maxclients", "2")]);
    let (mut a, mut b) = (node.client(), node.client());
    a.ask("PING");
    b.ask("PING");
    let mut refused = node.client();
    assert_eq!(refused.read(), Ok(Value::Error("ERR max number of clients reached".into())));
    assert!(refused.is_closed());
    assert_eq!(a.info_field("rejected_connections"), "1");
    drop(b);
    wait_until("the place is free", || node.core.clients.count() == 1);
    assert_eq!(node.client().ask("PING").text(), "PONG");
}

#[test]
fn an_idle_client_is_closed_and_a_busy_one_is_not() {
    let node = Node::start(&[("timeout", "1")]);
    let (mut idle, mut busy) = (node.client(), node.client());
    idle.ask("PING");
    wait_until("the idle one is closed", || {
        busy.ask("PING");
        node.core.clients.count() == 1
    });
    assert!(idle.is_closed());
    assert_eq!(busy.ask("PING").text(), "PONG");
}

#[test]
fn above_maxmemory_writes_are_refused_and_reads_and_deletes_are_not() {
    let node = Node::start(&[]);
    let mut client = node.client();
    let value = vec![b'x'; 100_000];
    for i in 0..40 {
        client.ask_args(&[b"SET", format!("key{i}").as_bytes(), &value]);
    }
    client.ok("CONFIG SET maxmemory 3mb");
    assert_eq!(
        client.ask_args(&[b"SET", b"more", &value]),
        Value::Error("OOM command not allowed when used memory > 'maxmemory'.".into())
    );
    assert_eq!(client.ask("GET key0"), Value::Bulk(value.clone()));
    (0..30).for_each(|i| assert_eq!(client.ask(&format!("DEL key{i}")), Value::Int(1)));
    wait_until("writes are taken again", || client.ask("SET more 1") == Value::Simple("OK".into()));
    assert!(
        client.error("CONFIG SET maxmemory-policy allkeys-lru").contains("only 'noeviction' is supported")
    );
}

#[test]
fn a_client_that_never_reads_is_cut_off_at_its_output_limit() {
    let node = Node::start(&[("client-output-buffer-limit", "normal 1mb 0 0")]);
    let mut client = node.client();
    let value = vec![b'x'; 512 * 1024];
    client.ask_args(&[b"SET", b"big", &value]);
    client.ask_args(&[b"SET", b"huge", &vec![b'y'; 20 << 20]]);
    let mut greedy = node.client();
    greedy.send("GET huge");
    wait_until("it is cut off", || client.info_field("client_output_buffer_limit_disconnections") == "1");
    wait_until("it is gone", || node.core.clients.count() == 1);
    assert_eq!(client.ask("GET big"), Value::Bulk(value), "others are served");
}

#[test]
fn a_request_beyond_its_limit_is_cut_off() {
    let node = Node::start(&[("client-query-buffer-limit", "1mb")]);
    let mut client = node.client();
    client.stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4000000\r\n").expect("sent");
    let piece = vec![b'x'; 64 * 1024];
    // It may be closed before everything is sent.
    let _ = (0..64).try_for_each(|_| client.stream.write_all(&piece));
    assert!(client.is_closed());
    let mut other = node.client();
    wait_until("it is counted", || other.info_field("client_query_buffer_limit_disconnections") == "1");
}

#[test]
fn with_a_password_nothing_is_done_before_it_was_given() {
    let node = Node::start(&[("requirepass", "secret")]);
    let mut client = node.client();
    assert_eq!(client.error("GET a"), "NOAUTH Authentication required.");
    assert_eq!(client.error("AUTH wrong"), "WRONGPASS invalid username-password pair or user is disabled.");
    assert!(
        client
            .error("HELLO 3")
            .starts_with("NOAUTH HELLO must be called with the client already authenticated")
    );
    assert!(client.error("AUTH other secret").starts_with("WRONGPASS"));
    client.ok("AUTH secret");
    assert_eq!(client.ask("GET a"), Value::Null);
    assert_eq!(client.ask("RESET").text(), "RESET");
    assert_eq!(client.error("GET a"), "NOAUTH Authentication required.");
    let hello = client.ask("HELLO 3 AUTH default secret SETNAME me");
    assert_eq!((hello.get("proto"), hello.get("version").text()), (Value::Int(3), "7.2.4".into()));
    assert_eq!((hello.get("mode").text(), hello.get("role").text()), ("cluster".into(), "master".into()));
    assert_eq!(client.ask("CLIENT GETNAME").text(), "me");
    assert_eq!(client.ask("GET a"), Value::Null);
    client.ok("CONFIG SET requirepass other");
    assert_eq!(client.ask("PING").text(), "PONG", "who is in stays in");
    assert!(node.client().error("AUTH secret").starts_with("WRONGPASS"));
}

#[test]
fn without_a_password_auth_says_so_and_hello_needs_none() {
    let node = Node::start(&[]);
    let mut client = node.client();
    assert!(client.error("AUTH x").starts_with("ERR AUTH <password> called without any password configured"));
    client.ok("AUTH default anything");
    assert_eq!(client.error("HELLO 9"), "NOPROTO unsupported protocol version");
    assert_eq!(client.error("HELLO x"), "ERR Protocol version is not an integer or out of range");
    assert_eq!(client.error("HELLO 3 FOO"), "ERR Syntax error in HELLO option 'FOO'");
    assert_eq!(client.ask("HELLO").get("proto"), Value::Int(2));
    client.ok("SELECT 15");
    assert_eq!(client.error("SELECT 16"), "ERR DB index is out of range");
    assert_eq!(client.error("SELECT x"), "ERR value is not an integer or out of range");
    assert_eq!(client.ask("ROLE").items()[0].text(), "master");
    assert_eq!(client.ask("TIME").items().len(), 2);
    client.ok("QUIT");
    assert!(client.is_closed());
}

#[test]
fn every_command_has_ten_elements_and_docs() {
    let node = Node::start(&[]);
    for protocol in ["2", "3"] {
        let mut client = node.client();
        client.ask(&format!("HELLO {protocol}"));
        let all = client.ask("COMMAND");
        assert_eq!(Value::Int(all.items().len() as i64), client.ask("COMMAND COUNT"));
        for entry in all.items() {
            assert_eq!(entry.items().len(), 10, "{entry:?}");
            entry.items()[9].items().iter().for_each(|sub| assert_eq!(sub.items().len(), 10));
        }
        let docs = client.ask("COMMAND DOCS");
        assert_eq!(docs.pairs().len(), all.items().len());
        for (name, doc) in docs.pairs() {
            assert!(!doc.get("summary").text().is_empty(), "{}", name.text());
        }
    }
    let mut client = node.client();
    let info = client.ask("COMMAND INFO get nothing client|kill");
    assert_eq!(info.items()[0].items()[..6].len(), 6);
    assert_eq!(info.items()[1], Value::Null);
    assert_eq!(info.items()[2].items()[0].text(), "client|kill");
    assert!(client.ask("COMMAND LIST FILTERBY PATTERN cli*").texts().contains(&"client|kill".into()));
    assert!(client.ask("COMMAND LIST FILTERBY ACLCAT string").texts().contains(&"get".into()));
    assert_eq!(client.ask("COMMAND GETKEYS DEL a b").texts(), ["a", "b"]);
    assert_eq!(client.error("COMMAND GETKEYS PING"), "ERR The command has no key arguments");
    assert_eq!(client.error("COMMAND GETKEYS nothing a"), "ERR Invalid command specified");
    assert!(client.ask("COMMAND HELP").texts()[0].starts_with("COMMAND <subcommand>"));
}

#[test]
fn shutdown_ends_the_node_after_the_replies_have_left() {
    let mut node = Node::start(&[]);
    let mut other = node.client();
    other.ask("PING");
    let mut client = node.client();
    assert!(client.error("SHUTDOWN SAVE").starts_with("ERR SAVE is not possible"));
    assert_eq!(client.error("SHUTDOWN ABORT"), "ERR No shutdown in progress.");
    assert_eq!(client.error("SHUTDOWN SAVE NOSAVE"), "ERR syntax error");
    client.send("SET a 1");
    client.send("SHUTDOWN NOSAVE");
    assert_eq!(client.read(), Ok(Value::Simple("OK".into())));
    assert!(client.is_closed() && other.is_closed());
    node.ended().expect("a clean end");
    assert!(std::net::TcpStream::connect(node.address).is_err());
}

#[test]
fn a_stop_closes_every_client_and_frees_the_port() {
    let mut node = Node::start(&[]);
    let mut clients: Vec<Client> = (0..20).map(|_| node.client()).collect();
    clients.iter_mut().for_each(|client| drop(client.ask("PING")));
    node.stop().expect("a clean end");
    assert!(clients.iter_mut().all(Client::is_closed));
    let port = node.address.port().to_string();
    assert_eq!(Node::start(&[("port", &port)]).client().ask("PING").text(), "PONG");
}

#[test]
fn a_node_that_cannot_start_says_why() {
    use capstan_node::server::{NodeConfig, Server};
    use capstan_proto::env::Env;
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().to_str().expect("utf-8");
    let node = Node::start(&[("dir", folder)]);
    let port = node.address.port().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let fails = |flags: &[(&str, &str)]| {
        let config = NodeConfig { settings: settings(flags), ..NodeConfig::default() };
        let started = runtime.block_on(Server::bind(Env::real(), config));
        started.err().expect("refused").to_string()
    };
    assert!(fails(&[("port", &port)]).contains("is in use: another server listens there"));
    assert!(fails(&[("dir", folder)]).contains("in use by another process"));
    assert!(fails(&[("bind", "192.0.2.1"), ("requirepass", "x")]).contains("is no address of this machine"));
    assert!(fails(&[("bind", "no.such.host.invalid"), ("requirepass", "x")]).contains("is no address"));
}
