//! The connections of one worker whose pushes wait for a flush.
//!
//! A fan-out to thousands of connections from another thread would wake each of their tasks through the runtime's
//! shared queue, and the worker would write the first while the last is still being appended. So a fan-out appends to
//! all of them first ([`Outbound::push_later`](super::Outbound::push_later)) and wakes the worker once; the worker
//! wakes its own tasks, which write what has gathered. A connection stands in the list at most once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Shared;

#[derive(Default)]
pub(crate) struct Dirty {
    list: Mutex<Vec<Arc<Shared>>>,
    work: Notify,
}

/// Room that is kept between fan-outs.
const KEPT: usize = 1_024;

impl Dirty {
    /// True for the first since the last flush: whoever added it flushes.
    pub(super) fn add(&self, shared: Arc<Shared>) -> bool {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(shared);
        list.len() == 1
    }

    /// Has the worker flush what was added.
    pub(super) fn flush(&self) {
        self.work.notify_one();
    }

    /// Flushes when told, for ever. To be run by the worker.
    pub(crate) async fn keep_flushing(&self) {
        let mut taken = Vec::new();
        loop {
            self.work.notified().await;
            std::mem::swap(
                &mut taken,
                &mut *self.list.lock().unwrap_or_else(PoisonError::into_inner),
            );
            for shared in taken.drain(..) {
                shared.flush();
            }
            taken.shrink_to(KEPT);
        }
    }
}
