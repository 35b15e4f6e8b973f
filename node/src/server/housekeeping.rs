//! What is done now and then: rates for INFO ten times a second, a look over all clients once a second, and the
//! reclaimer's ticks.

use crate::clients::sweep::{self, Reason};
use crate::config::Key;
use crate::core::NodeCore;
use crate::gauges::{TICK, Totals};
use crate::store::reclaim::Reclaimer;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The clients are looked over once in so many ticks.
const SWEEP_TICKS: u32 = (sweep::EVERY.as_millis() / TICK.as_millis()) as u32;

/// The reclaimer's ticks are so many of ours.
const RECLAIM_TICKS: u32 = (Reclaimer::TICK.as_millis() / TICK.as_millis()) as u32;

/// Runs until it is dropped.
pub(super) async fn run(core: Arc<NodeCore>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0u32;
    loop {
        ticks.tick().await;
        let stats = &core.stats;
        let totals = Totals {
            commands: stats.processed.load(Relaxed),
            bytes_in: stats.bytes_in.load(Relaxed),
            bytes_out: stats.bytes_out.load(Relaxed),
        };
        core.gauges.tick(core.env.clock.boot(), totals);
        core.gauges.memory_peak((core.lanes.memory() + core.lanes.memory_pending()) as u64);
        core.log.set_budget(usize::try_from(core.config.size(Key::ReplBacklogSize)).unwrap_or(usize::MAX));
        count = count.wrapping_add(1);
        if count.is_multiple_of(SWEEP_TICKS) {
            sweep_clients(&core);
        }
        if count.is_multiple_of(RECLAIM_TICKS) {
            core.lanes.reclaim_tick();
        }
    }
}

/// Cuts off the idle, and those that let replies pile up.
fn sweep_clients(core: &NodeCore) {
    let limits = core.config.output_limits();
    let idle_max = Duration::from_secs(core.config.size(Key::Timeout));
    let now = core.env.clock.boot();
    for client in core.clients.list() {
        let counter = match sweep::judge(&client, &limits, idle_max, now) {
            None => continue,
            Some(Reason::Idle) => &core.gauges.cut_for_silence,
            Some(Reason::Output) => {
                tracing::warn!(
                    client = client.id,
                    from = %client.from,
                    waiting = client.waiting(),
                    "client-output-buffer-limit reached: cut off"
                );
                &core.gauges.cut_for_output
            }
        };
        counter.fetch_add(1, Relaxed);
        client.kill();
    }
}
