//! The command line without a cluster: exit codes, and errors that say what to do.

use std::process::{Command, Output};

fn capstan(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_capstan"));
    command.args(args).current_dir(dir.path()).env_remove("CAPSTAN_META").env_remove("CAPSTAN_SECRET_FILE");
    command.output().expect("the binary runs")
}

/// Exit code and what was said on stderr.
fn ended(args: &[&str]) -> (i32, String) {
    let output = capstan(args);
    (output.status.code().expect("not killed"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for args in [
        &["nonsense"][..],
        &["slots", "16384"],
        &["slots", "-1"],
        &["settings", "set", "cluster-node-timeout"],
        &["add-slots", "1"],
        &["add-slots", "1", "9-3"],
        &["outcome", "abc"],
        &["status", "--meta", "nonsense"],
        &["status", "--meta", "host:0"],
        &["meta", "members", "add", "4", "nonsense"],
        &["meta", "members", "remove"],
        &["meta", "--id", "0"],
        &["meta", "--peers", "1@a:1", "--join"],
        &["dev", "--shards", "0"],
        &["dev", "--replicas", "6"],
        &["dev", "--shards", "26"],
        &["dev", "--port", "64000"],
        &["node", "--port", "x"],
        &["node", "--no-such-setting", "1"],
        &["node", "--maxclients", "0"],
    ] {
        let (code, said) = ended(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(!said.is_empty(), "{args:?} says nothing");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["dev", "--help"],
        &["node", "--help"],
        &["meta", "members", "--help"],
    ] {
        let output = capstan(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
    let help = String::from_utf8_lossy(&capstan(&["node", "--help"]).stdout).into_owned();
    assert!(
        help.contains("--maxmemory") && help.contains("--cluster-node-timeout"),
        "settings are flags: {help}"
    );
}

#[test]
fn a_group_that_cannot_be_reached_is_named_and_nothing_was_asked() {
    // Port 1 of loopback: nobody listens there without being root and asking for it.
    for args in
        [&["status"][..], &["nodes"], &["settings", "set", "cluster-node-timeout", "4000"], &["join", "abcd"]]
    {
        let args = [args, &["--meta", "127.0.0.1:1", "--patience", "1"]].concat();
        let (code, said) = ended(&args);
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(said.contains("127.0.0.1:1") && said.contains("refused"), "{said}");
    }
}

/// Code 1 of this verb says that the request was refused; that nobody could be asked says nothing about it.
#[test]
fn an_outcome_that_nobody_can_be_asked_for_stays_unknown() {
    let request = "00112233445566778899aabbccddeeff";
    let (code, said) = ended(&["outcome", request, "--meta", "127.0.0.1:1", "--patience", "1"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(request) && said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn a_secret_file_that_cannot_be_read_is_named() {
    let (code, said) = ended(&["status", "--secret-file", "nowhere"]);
    assert_eq!(code, 1);
    assert!(said.contains("nowhere") && said.contains("No such file"), "{said}");
}

#[test]
fn dev_refuses_what_is_too_large_and_taken_ports_before_it_makes_anything() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = dir.path().join("cluster").display().to_string();
    let (code, said) = ended(&["dev", "--shards", "26", "--dir", &cluster]);
    assert_eq!(code, 2);
    assert!(said.contains("1 to 50 data nodes") && !dir.path().join("cluster").exists(), "{said}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("bound").port();
    // Ephemeral ports lie above 32768, so this is the port of the first node's peers.
    let (code, said) = ended(&["dev", "--port", &(port - 10_000).to_string(), "--dir", &cluster]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&port.to_string()) && said.contains("another --port"), "{said}");
    assert!(!dir.path().join("cluster/dev.json").exists());
}

#[test]
fn a_refused_setting_of_a_node_names_where_it_stands() {
    let (code, said) = ended(&["node", "--port", "0", "--timeout", "never"]);
    assert_eq!(code, 2);
    assert!(said.contains("--timeout"), "{said}");
}
