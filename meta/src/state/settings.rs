//! Settings of the cluster: judged by their rows in `capstan_proto::settings`; a lowered TTL stays in force (►10).

use super::State;
use super::apply::{Change, Told, within};
use super::history::Subject;
use super::outcome::{Done, Rejection};
use capstan_proto::env::UnixMs;
use capstan_proto::settings::{ClusterSetting, NODE_TIMEOUT, VALUE_MAX};
use capstan_proto::timing::counted_by_leader;
use capstan_proto::topology::Row;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NAME_MAX: usize = 64;

/// A TTL that was lowered: leases of the old length may run until one old length later (►10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoweredTtl {
    /// The old TTL, milliseconds.
    pub ttl_ms: u64,
    /// Until when it may be in force, by the proposers' wall clocks. A leader that counts on its own clock from when
    /// it saw the change needs this only for changes from before its time.
    pub until: UnixMs,
}

/// `now` is the latest time that any command carried, this one included.
pub(super) fn set_setting(state: &State, name: &str, value: &str, now: UnixMs) -> Result<Change, Rejection> {
    within("the name of a setting", name, NAME_MAX)?;
    within("the value of a setting", value, VALUE_MAX)?;
    let setting = ClusterSetting::find(name)
        .ok_or_else(|| Rejection::UnknownSetting { name: name.escape_debug().to_string() })?;
    let accepted = setting.check(value).map_err(|want| Rejection::BadSetting {
        name: setting.name.to_owned(),
        value: value.escape_debug().to_string(),
        want,
    })?;
    let before = state.topology.setting(setting.name).unwrap_or(setting.default);
    let clamped_from = accepted.clamped.then(|| value.trim().to_owned());
    let why = match &clamped_from {
        Some(asked) => format!("{asked} was asked for and is below the floor"),
        None => String::new(),
    };
    let told = Told {
        what: format!("set {} to {} (it was {before})", setting.name, accepted.value),
        why,
        evidence: String::new(),
        subject: Subject::default(),
    };
    // Only values that differ from the default are kept; an empty one stands for it.
    let kept = if accepted.value == setting.default { String::new() } else { accepted.value.clone() };
    let row = Row::Setting { name: setting.name.to_owned(), value: kept };
    let lowered = match setting.name {
        NODE_TIMEOUT => lowered_ttl(state, &accepted.value, now),
        _ => None,
    };
    let done = Done::SettingStored { value: accepted.value, clamped_from };
    Ok(Change { lowered, ..Change::told(done, vec![row], told) })
}

/// ►10: a TTL that is lowered while an earlier lowering is still in force keeps the longer of both, and the later end.
fn lowered_ttl(state: &State, fresh: &str, now: UnixMs) -> Option<LoweredTtl> {
    let ttl_ms = state.topology.lease_ttl_ms();
    if fresh.parse::<u64>().is_ok_and(|fresh| fresh >= ttl_ms) {
        return None;
    }
    let counted = counted_by_leader(Duration::from_millis(ttl_ms)).as_millis();
    let until = UnixMs(now.0.saturating_add(u64::try_from(counted).unwrap_or(u64::MAX)));
    Some(match state.lowered {
        Some(earlier) if now < earlier.until => {
            LoweredTtl { ttl_ms: earlier.ttl_ms.max(ttl_ms), until: earlier.until.max(until) }
        }
        Some(_) | None => LoweredTtl { ttl_ms, until },
    })
}
