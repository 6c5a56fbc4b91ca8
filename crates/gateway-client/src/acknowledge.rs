//! Telling the gateway that a push has arrived (command 5006).

use std::sync::Arc;

use crate::ClientError;
use crate::connection::Link;

const PUSH_ACKNOWLEDGED: u32 = 5006;

/// The acknowledgement of one push, sent when the application has taken it.
pub(crate) struct Acknowledge {
    link: Arc<Link>,
    push_id: String,
}

impl Acknowledge {
    pub(crate) fn new(link: Arc<Link>, push_id: String) -> Self {
        Self { link, push_id }
    }

    /// Without waiting. Where the queue is full or the connection gone it is not sent, and the gateway delivers
    /// the push again.
    pub(crate) fn send(self) {
        let sent = serde_json::value::to_raw_value(&serde_json::json!({ "push_id": self.push_id }))
            .map_err(|_| ClientError::BadData)
            .and_then(|data| self.link.send_unanswered(PUSH_ACKNOWLEDGED, &data));
        if let Err(error) = sent {
            tracing::debug!(%error, "push not acknowledged");
        }
    }
}
