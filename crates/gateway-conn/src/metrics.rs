//! The names and handles of this crate's metrics. No label carries a user, a device or a session.

use metrics::{Counter, Gauge, counter, gauge};

use crate::delivery::order::Outcome;
use crate::{BindError, KickKind};

/// Metrics of the registry.
pub(crate) struct RegistryMetrics {
    pub(crate) live: Gauge,
    pub(crate) bound: Counter,
    refused: Counter,
    unknown_platform: Counter,
    store_failed: Counter,
    displaced: Counter,
    kicked: Counter,
    replaced: Counter,
    revoked: Counter,
    logged_out: Counter,
}

impl RegistryMetrics {
    pub(crate) fn new() -> Self {
        let bind = |result| counter!("gateway_binds_total", "result" => result);
        let ended = |kind: KickKind| counter!("gateway_sessions_ended_total", "kind" => kind.text());
        Self {
            live: gauge!("gateway_sessions_bound"),
            bound: bind("bound"),
            refused: bind("refused"),
            unknown_platform: bind("unknown_platform"),
            store_failed: bind("store_failed"),
            displaced: bind("displaced"),
            kicked: ended(KickKind::Kicked),
            replaced: ended(KickKind::Replaced),
            revoked: ended(KickKind::Revoked),
            logged_out: ended(KickKind::LoggedOut),
        }
    }

    pub(crate) fn bind_failed(&self, error: &BindError) {
        match error {
            BindError::Refused | BindError::AlreadyBound => &self.refused,
            BindError::UnknownPlatform => &self.unknown_platform,
            BindError::Displaced(_) => &self.displaced,
            BindError::Store(_) => &self.store_failed,
        }
        .increment(1);
    }

    pub(crate) fn ended(&self, kind: KickKind) {
        match kind {
            KickKind::Kicked => &self.kicked,
            KickKind::Replaced => &self.replaced,
            KickKind::Revoked => &self.revoked,
            KickKind::LoggedOut => &self.logged_out,
        }
        .increment(1);
    }
}

/// Metrics of the delivery. Outcomes are counted per device, `offline` and `failed` of a user without one once.
pub(crate) struct DeliveryMetrics {
    acked: Counter,
    written: Counter,
    offline: Counter,
    slow: Counter,
    failed: Counter,
    pub(crate) repeats: Counter,
    pub(crate) ack_timeouts: Counter,
    pub(crate) pending: Gauge,
    pub(crate) recorded: Counter,
    pub(crate) record_failed: Counter,
    pub(crate) record_refused: Counter,
    pub(crate) delivered_lost: Counter,
    pub(crate) catch_up_done: Counter,
    pub(crate) catch_up_failed: Counter,
    pub(crate) catch_up_dropped: Counter,
    pub(crate) broadcast_queued: Counter,
    pub(crate) broadcast_slow: Counter,
    pub(crate) broadcast_missed: Counter,
    pub(crate) peer_deliveries: Counter,
    pub(crate) adopted: Counter,
    pub(crate) unwitnessed: Counter,
    pub(crate) blind: Counter,
    pub(crate) looks_dropped: Counter,
    resumes_whole: Counter,
    resumes_with_gap: Counter,
    pub(crate) resumed_pushes: Counter,
    gap_pushes: Counter,
    pub(crate) remembered: Gauge,
    pub(crate) forgotten: Counter,
}

impl DeliveryMetrics {
    pub(crate) fn new() -> Self {
        let outcome = |outcome| counter!("gateway_push_outcomes_total", "outcome" => outcome);
        let record = |result| counter!("gateway_offline_records_total", "result" => result);
        let catch_up = |result| counter!("gateway_catch_ups_total", "result" => result);
        let broadcast = |outcome| counter!("gateway_broadcasts_total", "outcome" => outcome);
        let resume = |result| counter!("gateway_resumes_total", "result" => result);
        Self {
            acked: outcome("acked"),
            written: outcome("written"),
            offline: outcome("offline"),
            slow: outcome("slow"),
            failed: outcome("failed"),
            repeats: counter!("gateway_push_repeats_total"),
            ack_timeouts: counter!("gateway_push_ack_timeouts_total"),
            pending: gauge!("gateway_pushes_pending"),
            recorded: record("recorded"),
            record_failed: record("failed"),
            record_refused: record("queue_full"),
            delivered_lost: counter!("gateway_offline_delivered_failed_total"),
            catch_up_done: catch_up("done"),
            catch_up_failed: catch_up("failed"),
            catch_up_dropped: catch_up("queue_full"),
            broadcast_queued: broadcast("queued"),
            broadcast_slow: broadcast("slow"),
            broadcast_missed: counter!("gateway_broadcast_nodes_missed_total"),
            peer_deliveries: counter!("gateway_peer_deliveries_total"),
            adopted: counter!("gateway_pushes_adopted_total"),
            unwitnessed: counter!("gateway_pushes_unwitnessed_total"),
            blind: counter!("gateway_pushes_not_located_total"),
            looks_dropped: counter!("gateway_box_hints_dropped_total"),
            resumes_whole: resume("whole"),
            resumes_with_gap: resume("gap"),
            resumed_pushes: counter!("gateway_resumed_pushes_total"),
            gap_pushes: counter!("gateway_gap_pushes_total"),
            remembered: gauge!("gateway_pushes_remembered"),
            forgotten: counter!("gateway_pushes_forgotten_total"),
        }
    }

    /// Counts the return of a device; a gap of 0 is one of unknown size.
    pub(crate) fn resumed(&self, gap: Option<u64>) {
        match gap {
            None => self.resumes_whole.increment(1),
            Some(count) => {
                self.resumes_with_gap.increment(1);
                self.gap_pushes.increment(count);
            }
        }
    }

    /// Counts a final outcome; `queued` is none.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        match outcome {
            Outcome::Acked => self.acked.increment(1),
            Outcome::Written => self.written.increment(1),
            Outcome::Offline => self.offline.increment(1),
            Outcome::Slow => self.slow.increment(1),
            Outcome::Failed => self.failed.increment(1),
            Outcome::Queued => {}
        }
    }
}
