//! What the nodes of a cluster do beside serving: telling who comes and goes, and evening out their load.

use std::time::Duration;

use crate::section::section;

section! {
    /// Online and offline events in a Redis stream.
    pub struct PresenceEvents {
        /// Writes an entry for every device that comes online or goes offline. The same on all nodes; needs `storage`
        /// `redis`.
        "enabled" => enabled: bool = false;
        /// Entries that the stream keeps, give or take a hundred; the oldest go first.
        "stream_length" => stream_length: u32 = 100_000, 100..=100_000_000;
        /// A device that is back within this time was never gone: neither its going nor its coming is told.
        "flap_window_seconds" => flap_window: Duration = Duration::from_secs(10), 0..=300;
        /// Events that may wait in a node to be written, as while Redis is away; further ones are lost, and counted.
        "queue" => queue: usize = 65_536, 64..=16_777_216;
    }
}

section! {
    /// Sending idle sessions from a node with far more than its share to the others.
    pub struct Rebalance {
        /// Has this node do it.
        "enabled" => enabled: bool = false;
        /// It begins where a node has more than so many percent of the sessions of the mean node, and ends at the mean.
        "threshold_percent" => threshold_percent: u32 = 125, 101..=10_000;
        /// A node with fewer sessions sends none away.
        "min_sessions" => min_sessions: u64 = 1_000, 1..=100_000_000;
        /// Sessions closed in a second.
        "rate" => rate: u32 = 20, 1..=1_000_000;
        /// A session is idle that has sent no message for so long and has nothing under way. Heartbeats are messages.
        "idle_seconds" => idle: Duration = Duration::from_secs(10), 1..=3_600;
        /// How long a node has been over the threshold before it begins.
        "hold_seconds" => hold: Duration = Duration::from_secs(30), 1..=3_600;
        /// From the end of one time to the beginning of the next, at least.
        "pause_seconds" => pause: Duration = Duration::from_secs(120), 1..=86_400;
    }
}
