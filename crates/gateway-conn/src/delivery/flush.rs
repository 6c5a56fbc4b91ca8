//! The promise to flush: made where a push is queued to be written later, kept when this is dropped, so that a fan-out
//! that is cut half way leaves nothing unwritten.

use std::sync::Arc;

use gateway_codec::EncodedPush;

use crate::LinkError;
use crate::registry::Live;

/// Links to be flushed in the end: about one for each worker of the network.
#[derive(Default)]
pub(super) struct Flushes(Vec<Arc<Live>>);

impl Flushes {
    /// Queues a push on a session, to be written when all of the fan-out is queued.
    pub(super) fn push(&mut self, live: &Arc<Live>, push: &EncodedPush) -> Result<u64, LinkError> {
        let (ticket, to_flush) = live.link.push_later(push)?;
        if to_flush {
            self.0.push(live.clone());
        }
        Ok(ticket)
    }
}

impl Drop for Flushes {
    fn drop(&mut self) {
        for live in &self.0 {
            live.link.flush();
        }
    }
}
