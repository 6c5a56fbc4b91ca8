//! Evening out: a node with far more sessions than the mean node sends idle ones away, slowly, until it is at the mean.
//!
//! They go as a drain's do (notice `draining`, then 1012), but only those in which nothing goes on, and at a rate of their
//! own. It begins when the node has been over the threshold for a while; once it has sent away what was too much it
//! rests, so that clients that come back to the very same node are not sent round and round.

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::NodeId;
use gateway_config::Rebalance;
use gateway_conn::{Cluster, Live, Member};
use metrics::{Counter, counter};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::drain::Pace;
use crate::gateway::GatewayError;
use crate::phase::Phase;
use crate::pipeline::Pipeline;

/// How often the loads are looked at. They are as old as a third of a lease.
const LOOK: Duration = Duration::from_secs(1);
/// Sessions looked at for one portion, so that a node full of busy ones is not walked through at once.
const LOOKED_AT: usize = 4_096;

/// Keeps the node near the mean until it stops to serve.
///
/// # Errors
/// None: it is one of the servers, and they may fail.
pub async fn keep(
    pipeline: Arc<Pipeline>,
    cluster: Arc<Cluster>,
    settings: Rebalance,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), GatewayError> {
    let shedding = Shedding {
        pace: Pace::new(settings.rate),
        idle: settings.idle,
        pipeline,
        cluster,
        shed: counter!("gateway_sessions_shed_total"),
        begun: counter!("gateway_rebalances_total"),
    };
    tokio::select! {
        // Also where nobody can change it any more.
        _ = phase.wait_for(|phase| *phase > Phase::Serving) => {}
        () = shedding.watch(Balance::new(settings)) => {}
    }
    Ok(())
}

/// When to begin, and how many are too many. Reads no clock.
struct Balance {
    settings: Rebalance,
    over_since: Option<Instant>,
    rests_until: Option<Instant>,
}

impl Balance {
    fn new(settings: Rebalance) -> Self {
        Self {
            settings,
            over_since: None,
            rests_until: None,
        }
    }

    /// How many sessions to send away, once it is time to; `others` are the sessions of the other nodes.
    fn surplus(&mut self, own: u64, others: &[u64], now: Instant) -> Option<u64> {
        let mean = mean(own, others);
        let threshold = mean.saturating_mul(u64::from(self.settings.threshold_percent));
        let over = own.saturating_mul(100) > threshold && own >= self.settings.min_sessions;
        if others.is_empty() || !over || self.rests_until.is_some_and(|until| now < until) {
            self.over_since = None;
            return None;
        }
        let since = *self.over_since.get_or_insert(now);
        (now.saturating_duration_since(since) >= self.settings.hold).then(|| own - mean)
    }

    /// That was that.
    fn rest(&mut self, now: Instant) {
        self.over_since = None;
        self.rests_until = Some(now + self.settings.pause);
    }
}

/// Of all nodes, this one among them; rounded up, so that no node is over it by a fraction.
fn mean(own: u64, others: &[u64]) -> u64 {
    let all = others.iter().fold(own, |all, other| all.saturating_add(*other));
    all.div_ceil(others.len() as u64 + 1)
}

struct Shedding {
    pipeline: Arc<Pipeline>,
    cluster: Arc<Cluster>,
    pace: Pace,
    idle: Duration,
    shed: Counter,
    begun: Counter,
}

impl Shedding {
    async fn watch(&self, mut balance: Balance) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            // Whoever does not know how the others are sends nobody to them.
            if self.cluster.fit().is_err() {
                continue;
            }
            let (own, others) = self.loads();
            if let Some(surplus) = balance.surplus(own, &others, now) {
                self.begun.increment(1);
                tracing::info!(own, ?others, surplus, "idle sessions are sent to other nodes");
                let shed = self.shed(surplus).await;
                tracing::info!(shed, left = self.own(), "rebalanced");
                balance.rest(Instant::now());
            }
        }
    }

    /// Sends away at most `surplus` idle sessions, and none below the mean; returns how many.
    async fn shed(&self, surplus: u64) -> u64 {
        let mut sessions = self.pipeline.registry.all_live().into_iter();
        let mut shed = 0;
        while shed < surplus && self.cluster.fit().is_ok() {
            let (own, others) = self.loads();
            let portion = own
                .saturating_sub(mean(own, &others))
                .min(surplus - shed)
                .min(self.pace.portion as u64);
            if portion == 0 || sessions.len() == 0 {
                break;
            }
            let now = Instant::now();
            let looked_at = sessions.by_ref().take(LOOKED_AT);
            let idle = looked_at.filter(|live| self.is_idle(live, now));
            for live in idle.take(portion as usize) {
                let reason = self.pace.tell(&self.pipeline, &live, shed);
                live.link.drain(&reason);
                self.shed.increment(1);
                shed += 1;
            }
            sleep(self.pace.pause).await;
        }
        shed
    }

    fn is_idle(&self, live: &Live, now: Instant) -> bool {
        live.idle_since()
            .is_some_and(|since| now.saturating_duration_since(since) >= self.idle)
    }

    fn own(&self) -> u64 {
        self.pipeline.registry.live_count() as u64
    }

    /// The sessions of this node, and of each other one that is not going down.
    fn loads(&self) -> (u64, Vec<u64>) {
        let own = self.pipeline.registry.node();
        let serves = |(node, member): &(NodeId, Member)| node != own && !member.load.draining;
        let others = self.cluster.members().into_iter().filter(serves);
        (
            self.own(),
            others.map(|(_, member)| member.load.sessions).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn balance() -> Balance {
        Balance::new(Rebalance {
            enabled: true,
            threshold_percent: 120,
            min_sessions: 100,
            hold: secs(10),
            pause: secs(60),
            ..Rebalance::default()
        })
    }

    #[test]
    fn a_node_that_stays_over_the_threshold_sheds_down_to_the_mean() {
        let (mut balance, start) = (balance(), Instant::now());
        assert_eq!(balance.surplus(900, &[300, 300], start), None);
        assert_eq!(balance.surplus(900, &[300, 300], start + secs(9)), None);
        assert_eq!(balance.surplus(900, &[300, 300], start + secs(10)), Some(400));
    }

    #[test]
    fn within_the_threshold_small_or_alone_it_keeps_all() {
        let start = Instant::now();
        for (own, others) in [
            (360, &[300, 240][..]),
            (99, &[0][..]),
            (1_000, &[][..]),
            (300, &[900, 900][..]),
        ] {
            let mut balance = balance();
            assert_eq!(balance.surplus(own, others, start), None);
            assert_eq!(
                balance.surplus(own, others, start + secs(100)),
                None,
                "{own} {others:?}"
            );
        }
    }

    #[test]
    fn a_moment_below_the_threshold_begins_the_waiting_anew() {
        let (mut balance, start) = (balance(), Instant::now());
        assert_eq!(balance.surplus(900, &[300], start), None);
        assert_eq!(balance.surplus(600, &[600], start + secs(8)), None);
        assert_eq!(balance.surplus(900, &[300], start + secs(10)), None);
        assert_eq!(balance.surplus(900, &[300], start + secs(20)), Some(300));
    }

    #[test]
    fn it_rests_before_it_begins_again() {
        let (mut balance, start) = (balance(), Instant::now());
        balance.rest(start);
        assert_eq!(balance.surplus(900, &[300], start + secs(59)), None);
        assert_eq!(balance.surplus(900, &[300], start + secs(60)), None);
        assert_eq!(balance.surplus(900, &[300], start + secs(70)), Some(300));
    }

    #[test]
    fn the_mean_is_rounded_up_and_overflows_nowhere() {
        assert_eq!(mean(2, &[1]), 2);
        assert_eq!(mean(0, &[]), 0);
        assert!(mean(u64::MAX, &[u64::MAX]) > 0);
    }
}
