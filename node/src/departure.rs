//! Replies leave together: a worker executes what all its ready connections have sent, then writes their replies, then
//! sleeps.
//!
//! The intuition: a reply that is written at once wakes its client, whose next command arrives alone and wakes the worker
//! for itself; written together, the replies bring the next commands together, and both sides sleep once for many. Redis
//! does the same before it sleeps (`handleClientsWithPendingWrites`). A reply waits in its connection's
//! [`Outbox`], which looks at the lease when it leaves (►9), until its worker parks, or until so many wait that the first
//! should not wait longer. Only threads whose runtime calls [`depart`] before it parks them
//! gather replies; on all others they are written at once. It decides nothing about what may leave.

use crate::core::NodeCore;
use crate::release::Outbox;
use std::cell::RefCell;
use std::sync::Arc;

/// So many replies wait at most.
const TOGETHER: usize = 32;
/// Longer ones are written at once: their copies would cost more than is saved.
const LONGEST: usize = 4096;

#[derive(Default)]
struct Gathered {
    /// This thread's runtime calls [`depart`].
    on: bool,
    core: Option<Arc<NodeCore>>,
    outboxes: Vec<Arc<Outbox>>,
}

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

/// For the start of a thread of a runtime that calls [`depart`] whenever such a thread is about to park.
pub fn gather_on_this_thread() {
    GATHERED.with_borrow_mut(|gathered| gathered.on = true);
}

/// Whether a reply of this length may wait for others on this thread.
#[inline]
#[must_use]
pub fn gathers(len: usize) -> bool {
    len <= LONGEST && GATHERED.with_borrow(|gathered| gathered.on)
}

/// The replies of an outbox wait for this thread to park.
pub fn enlist(core: &Arc<NodeCore>, outbox: &Arc<Outbox>) {
    let (full, stranger) = GATHERED.with_borrow_mut(|gathered| {
        let stranger = gathered.core.as_ref().is_some_and(|of| !Arc::ptr_eq(of, core));
        if !stranger {
            gathered.core.get_or_insert_with(|| core.clone());
            gathered.outboxes.push(outbox.clone());
        }
        (gathered.outboxes.len() >= TOGETHER, stranger)
    });
    if full || stranger {
        depart();
    }
    if stranger {
        outbox.release(core, core.log.sent());
    }
}

/// Writes what has been gathered on this thread.
pub fn depart() {
    // Nothing is borrowed while replies are written: buffers and wakers may lead anywhere.
    let Ok((core, mut outboxes)) = GATHERED.try_with(|gathered| {
        let mut gathered = gathered.borrow_mut();
        (gathered.core.take(), std::mem::take(&mut gathered.outboxes))
    }) else {
        return;
    };
    let Some(core) = core else { return };
    let sent = core.log.sent();
    outboxes.drain(..).for_each(|outbox| outbox.release(&core, sent));
    let _ = GATHERED.try_with(|gathered| gathered.borrow_mut().outboxes = outboxes);
}
