//! What a node holds, for comparing.

use capstan_node::core::NodeCore;
use capstan_node::store::object::Kind;
use capstan_node::store::rebuild;
use std::collections::BTreeMap;

/// Every key, with what it is rebuilt from.
pub(crate) fn all(core: &NodeCore) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for number in 0..core.lanes.count() {
        let lane = core.lanes.lock(number);
        for entry in lane.slots().flat_map(|(_, table)| table.entries()) {
            let mut changes = Vec::new();
            rebuild::all(entry, |change| changes.push(format!("{change:?}")));
            if entry.kind() != Kind::List {
                changes.sort();
            }
            let key = String::from_utf8_lossy(entry.key()).into_owned();
            found.insert(key, format!("{changes:?} until {:?}", entry.expires()));
        }
    }
    found
}

/// The numbers under the keys that count.
pub(crate) fn serials(core: &NodeCore) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for number in 0..core.lanes.count() {
        let lane = core.lanes.lock(number);
        for entry in lane.slots().flat_map(|(_, table)| table.entries()) {
            let Some(value) = entry.text().filter(|_| entry.key().starts_with(b"v:")) else { continue };
            let (key, value) = (String::from_utf8_lossy(entry.key()), String::from_utf8_lossy(value));
            found.insert(key.into_owned(), value.parse().unwrap_or(0));
        }
    }
    found
}

/// The first key in which two nodes differ.
pub(crate) fn difference(primary: &NodeCore, replica: &NodeCore) -> Option<String> {
    let (ours, theirs) = (all(primary), all(replica));
    let keys = ours.keys().chain(theirs.keys());
    let mut differing = keys.filter(|key| ours.get(*key) != theirs.get(*key));
    let key = differing.next()?;
    let others = differing.count();
    Some(format!("{key} is {:?} and {:?} ({others} others)", ours.get(key), theirs.get(key)))
}
