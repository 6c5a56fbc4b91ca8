//! Sessions whose connections are gone, on their way out of the store.
//!
//! When a network goes away, thousands end in one moment, and a login goes over the same connection to the store as their
//! ends do. So they leave it in batches, one after the other, and whatever else the store is asked comes in between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_codec::Timestamp;

use super::Registry;
use crate::{SessionRecord, StoreError};

/// Sessions taken out in one step.
pub(super) const AT_ONCE: usize = 16;
/// Room that is kept from one rush to the next.
const KEPT: usize = 1024;

/// Those that wait: at most as many as were bound here.
#[derive(Default)]
pub(super) struct Ends {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    ends: VecDeque<(Arc<SessionRecord>, Timestamp)>,
    /// Somebody takes them out of the store.
    are_taken: bool,
}

impl Ends {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ones; where there are none, whoever asked is done.
    fn next(&self) -> Vec<(Arc<SessionRecord>, Timestamp)> {
        let mut waiting = self.waiting();
        let some = waiting.ends.len().min(AT_ONCE);
        waiting.are_taken = some > 0;
        let next = waiting.ends.drain(..some).collect();
        if waiting.ends.is_empty() {
            waiting.ends.shrink_to(KEPT);
        }
        next
    }
}

impl Registry {
    /// Ends a session whose connection is gone, as [`unbind`](Self::unbind) does, but the store is told behind this:
    /// returns whether somebody has to be set to [`take_out_ended`](Self::take_out_ended) now.
    #[must_use]
    pub fn ended(&self, record: &Arc<SessionRecord>, now: Timestamp) -> bool {
        self.forget(record);
        let mut waiting = self.ends.waiting();
        waiting.ends.push_back((Arc::clone(record), now));
        !std::mem::replace(&mut waiting.are_taken, true)
    }

    /// Takes out of the store what has [`ended`](Self::ended), until nothing is left. `failed` hears of each session that
    /// stays there; it goes when its life is over, or at the next login of its device.
    pub async fn take_out_ended(&self, failed: impl Fn(&SessionRecord, &StoreError) + Send) {
        loop {
            let ends = self.ends.next();
            if ends.is_empty() {
                return;
            }
            let results = self.store.remove_all(&ends).await;
            for ((record, _), result) in ends.iter().zip(results) {
                if let Err(error) = result {
                    failed(record, &error);
                }
            }
        }
    }
}
