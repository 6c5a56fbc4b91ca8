//! Pushes, handlers of an embedding program, and the cluster.

use std::time::Duration;

use crate::node::{AdvertiseAddress, NodeName};
use crate::secret::Secret;
use crate::section::section;
use crate::sections::{PresenceEvents, Rebalance};

section! {
    /// Pushes and their acknowledgement.
    pub struct Delivery {
        /// Time that a device has to acknowledge a push; then it goes to the offline box.
        "push_ack_timeout_ms" => push_ack_timeout: Duration = Duration::from_secs(10), 100..=600_000;
        /// How long a `push_id` is remembered, so that the same push is made once.
        "dedup_window_seconds" => dedup_window: Duration = Duration::from_secs(120), 1..=86_400;
        /// Most `push_id`s remembered; past it the oldest are forgotten.
        "dedup_entries" => dedup_entries: usize = 65_536, 1..=16_777_216;
        /// Pushes of one session that may be unacknowledged; more are answered `slow`.
        "pending_per_session" => pending_per_session: usize = 1_000, 1..=1_000_000;
        /// Time that the message service has to give a new session its offline box.
        "catch_up_timeout_ms" => catch_up_timeout: Duration = Duration::from_secs(3), 100..=60_000;
        /// New pushes that wait for a session while its offline box is fetched.
        "catch_up_buffer" => catch_up_buffer: usize = 256, 1..=65_536;
        /// How long pushes are remembered for a device that lost its connection and comes back with `last_push_id`.
        "resume_window_seconds" => resume_window: Duration = Duration::from_secs(120), 1..=3_600;
        /// Pushes remembered for one device; older ones become part of the gap that it is told of.
        "resume_pushes_per_device" => resume_pushes_per_device: usize = 256, 1..=65_536;
        /// Bytes of them, as they are sent; likewise.
        "resume_bytes_per_device" => resume_bytes_per_device: usize = 524_288, 1_024..=1_073_741_824;
        /// Pushes remembered for all devices, one to several devices counted for each; past it the oldest are forgotten
        /// without a trace, and a device that would have to be told how many is told that it is not known.
        "resume_pushes" => resume_pushes: usize = 65_536, 64..=67_108_864;
        /// Bytes of them, counted in the same way; past it the oldest become part of a gap.
        "resume_bytes" => resume_bytes: usize = 33_554_432, 65_536..=68_719_476_736;
    }
}

section! {
    /// Bounds on the handlers that an embedding program registers.
    pub struct Processing {
        /// Handlers that run at once.
        "max_concurrent_tasks" => max_concurrent_tasks: usize = 1_000, 1..=1_000_000;
        /// Commands that wait for a handler; more get 503.
        "task_queue_size" => task_queue_size: usize = 10_000, 0..=10_000_000;
        /// Time that a handler has, waiting included; then 504.
        "task_timeout_ms" => task_timeout: Duration = Duration::from_secs(5), 1..=600_000;
    }
}

section! {
    /// This node among others. With `storage` `redis` every node is one of a cluster.
    pub struct Cluster {
        /// Name of this node, unique in the cluster: 1 to 128 visible ASCII characters, none of `{`, `}` and `:`. Left out,
        /// one is made at start.
        "node_id" => node_id: Option<NodeName> = None;
        /// `host:port`, or an http or https URL of both, at which other nodes reach this node's gRPC listener; left out, `server.host` (127.0.0.1 where
        /// that is any address) and the port of the listener.
        "advertise_address" => advertise_address: Option<AdvertiseAddress> = None;
        /// What nodes know each other by; the same on all. Needed with `storage` `redis`, unless `certificate_name` is
        /// given. With both, both are asked for.
        "secret" => secret: Option<Secret> = None;
        /// The DNS name (SAN) that the certificate of every node has, and of nobody else: nodes know each other by it.
        /// It needs `server.grpc_tls.client_ca_path`.
        "certificate_name" => certificate_name: Option<String> = None;
        /// A node that has not renewed its lease for so long is dead to the others.
        "lease_seconds" => lease: Duration = Duration::from_secs(10), 1..=300;
        /// How often each bound session is compared with the store.
        "renew_interval_seconds" => renew_interval: Duration = Duration::from_secs(20), 1..=30;
        /// How long a session's record stays in the store without being renewed.
        "session_ttl_seconds" => session_ttl: Duration = Duration::from_secs(90), 3..=3_600;
        /// Time that another node has to take a push.
        "peer_timeout_ms" => peer_timeout: Duration = Duration::from_secs(2), 50..=60_000;
        /// Frames that may wait for another node, or be unanswered by it; past it the node counts as gone for the push.
        "peer_queue" => peer_queue: usize = 16_384, 64..=1_048_576;
        /// Has a second node keep every push until it is settled, so that the death of the first one loses nothing.
        "witness" => witness: bool = true;
        /// Time from being not ready to the first close where the node is drained: for load balancers to notice.
        "drain_lead_ms" => drain_lead: Duration = Duration::from_secs(1), 0..=60_000;
        /// Sessions closed in a second where the node is drained.
        "drain_rate" => drain_rate: u32 = 500, 1..=1_000_000;
        /// The longest that draining takes; what is left then is closed at once.
        "drain_timeout_seconds" => drain_timeout: Duration = Duration::from_secs(60), 1..=3_600;
        /// Online and offline events in a Redis stream.
        "events" => events: PresenceEvents = PresenceEvents::default();
        /// Sending idle sessions from a node with far more than its share to the others.
        "rebalance" => rebalance: Rebalance = Rebalance::default();
    }
}
