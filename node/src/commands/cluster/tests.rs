//! CLUSTER as a client on a node alone sees it.

use crate::commands::desk::Desk;

#[test]
fn readonly_readwrite_and_asking_answer_ok_and_are_remembered() {
    let mut desk = Desk::new();
    assert_eq!(desk.say("readonly"), "+OK\\r\\n");
    assert!(desk.session.readonly);
    assert_eq!(desk.say("readwrite"), "+OK\\r\\n");
    assert!(!desk.session.readonly);
    assert_eq!(desk.say("asking"), "+OK\\r\\n");
    assert!(desk.session.asking);
}

#[test]
fn keys_are_counted_and_listed_by_slot_and_database() {
    let mut desk = Desk::new();
    for key in ["{t}1", "{t}2", "{t}3", "other"] {
        desk.say(&format!("set {key} v"));
    }
    assert_eq!(desk.say("cluster keyslot {t}1"), ":15891\\r\\n");
    assert_eq!(desk.say("cluster countkeysinslot 15891"), ":3\\r\\n");
    assert_eq!(desk.say("cluster countkeysinslot 0"), ":0\\r\\n");
    assert!(desk.say("cluster getkeysinslot 15891 2").starts_with("*2\\r\\n$4\\r\\n{t}"));
    assert_eq!(desk.say("cluster getkeysinslot 15891 0"), "*0\\r\\n");
    desk.session.db = 1;
    assert_eq!(desk.say("cluster countkeysinslot 15891"), ":0\\r\\n");
    assert_eq!(desk.say("cluster getkeysinslot 15891 9"), "*0\\r\\n");
}

#[test]
fn what_is_no_slot_no_number_or_no_node_is_refused_as_redis_does() {
    let mut desk = Desk::new();
    for (words, text) in [
        ("cluster countkeysinslot 16384", "-ERR Invalid slot"),
        ("cluster countkeysinslot -1", "-ERR Invalid slot"),
        ("cluster countkeysinslot x", "-ERR value is not an integer or out of range"),
        ("cluster getkeysinslot 16384 1", "-ERR Invalid slot or number of keys"),
        ("cluster getkeysinslot 1 -1", "-ERR Invalid slot or number of keys"),
        ("cluster getkeysinslot 1 x", "-ERR value is not an integer or out of range"),
        ("cluster replicas abc", "-ERR Unknown node abc"),
        ("cluster count-failure-reports abc", "-ERR Unknown node abc"),
    ] {
        assert_eq!(desk.say(words), format!("{text}\\r\\n"), "{words}");
    }
}

#[test]
fn a_node_alone_answers_as_a_cluster_of_one() {
    let mut desk = Desk::new();
    let me = desk.core.view_now().me().to_string();
    assert_eq!(desk.say("cluster myid"), format!("$40\\r\\n{me}\\r\\n"));
    assert_eq!(desk.say("cluster myshardid"), format!("$40\\r\\n{me}\\r\\n"));
    assert_eq!(desk.say(&format!("cluster replicas {me}")), "*0\\r\\n");
    assert_eq!(desk.say(&format!("cluster slaves {}", me.to_uppercase())), "*0\\r\\n");
    assert_eq!(desk.say(&format!("cluster count-failure-reports {me}")), ":0\\r\\n");
    assert_eq!(desk.say("cluster links"), "*0\\r\\n");
    assert_eq!(desk.say("cluster saveconfig"), "+OK\\r\\n");
    assert!(desk.say("cluster info").contains("cluster_state:ok\\r\\ncluster_slots_assigned:16384\\r\\n"));
    assert!(desk.say("cluster nodes").ends_with("myself,master - 0 0 1 connected 0-16383\\n\\r\\n"));
    assert!(desk.say("cluster slots").starts_with("*1\\r\\n*3\\r\\n:0\\r\\n:16383\\r\\n"));
    assert!(
        desk.say("cluster help")
            .contains("+CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    );
}

#[test]
fn a_verb_that_changes_the_cluster_names_what_does_it_here() {
    let mut desk = Desk::new();
    for (words, verb) in [
        ("cluster addslots 1 2", "capstan add-slots"),
        ("cluster meet 127.0.0.1 7001", "capstan join"),
        ("cluster forget abc", "the meta group decides it"),
        ("cluster setslot 1 stable", "the meta group decides it"),
        ("cluster reset", "the meta group decides it"),
    ] {
        let told = desk.say(words);
        assert!(told.starts_with("-ERR CLUSTER ") && told.contains(verb), "{words}: {told}");
    }
}
