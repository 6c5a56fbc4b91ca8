//! Sending sessions to other nodes, a few at a time: when this node goes down, and when it has far more than its share.
//!
//! A client is told first (notice `draining`, with the time after which it may come back, different for each), then its
//! commands are finished, then it is closed (1012). The closes are paced, so that the other nodes are not stormed; the first
//! comes when load balancers have had time to see that this node takes nobody any more, or they would bring clients back to
//! it, and those refused here would come to the others together.

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::Notice;
use gateway_config::Cluster;
use gateway_conn::Live;
use tokio::time::{Instant, sleep};

use crate::pipeline::Pipeline;

/// Closes are begun in portions, so many in a second.
const PORTIONS: u32 = 10;
/// Closes are so much slower than they may be: clients that are held up for a moment come together with the next ones, and
/// the other nodes are still not to see more than the rate.
const SLACK: f64 = 1.05;
/// How often it is looked whether all have gone.
const LOOK: Duration = Duration::from_millis(50);

/// How a rate is kept: so many closes, then a pause.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Closes of one portion.
    pub portion: usize,
    /// From one portion to the next.
    pub pause: Duration,
}

impl Pace {
    /// For at most this many closes a second, at least one.
    pub fn new(rate: u32) -> Self {
        let portion = rate.div_ceil(PORTIONS) as usize;
        Self {
            portion,
            pause: Duration::from_secs_f64(portion as f64 / f64::from(rate) * SLACK),
        }
    }

    /// Tells a client that it will be closed, as the `index`th; returns the reason of the close. Those of one portion come
    /// back evenly until the next one is closed, so that the other nodes see one client after another at the rate. Spread
    /// over more than that the portions would overlap, and come faster.
    pub fn tell(&self, pipeline: &Pipeline, live: &Live, index: u64) -> String {
        let retry_after_ms = self.wait_ms(index);
        live.link
            .notice(&Notice::Draining { retry_after_ms }, pipeline.clock.now());
        format!("retry_after_ms={retry_after_ms}")
    }

    fn wait_ms(&self, index: u64) -> u64 {
        let portion = self.portion as u64;
        index % portion * self.pause.as_millis() as u64 / portion + 1
    }
}

/// Sends all bound sessions elsewhere at the configured rate; returns when they have gone or `drain_timeout` is over.
/// The node is not ready any more when this is called.
pub async fn drain(pipeline: &Pipeline, settings: &Cluster) {
    if pipeline.registry.live_count() > 0 {
        sleep(settings.drain_lead).await;
    }
    let until = Instant::now() + settings.drain_timeout;
    let pace = Pace::new(settings.drain_rate);
    let sessions = pipeline.registry.all_live();
    let tell = |(index, live): (usize, &Arc<Live>)| pace.tell(pipeline, live, index as u64);
    let reasons: Vec<_> = sessions.iter().enumerate().map(tell).collect();
    let portions = sessions.chunks(pace.portion).zip(reasons.chunks(pace.portion));
    for (index, (sessions, reasons)) in portions.enumerate() {
        if index > 0 {
            sleep(pace.pause).await;
        }
        if Instant::now() >= until {
            break;
        }
        for (live, reason) in sessions.iter().zip(reasons) {
            live.link.drain(reason);
        }
    }
    while pipeline.registry.live_count() > 0 && Instant::now() < until {
        sleep(LOOK).await;
    }
    let left = pipeline.registry.live_count();
    if left > 0 {
        tracing::warn!(left, "draining took too long; the rest is closed at once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_no_second_more_clients_come_back_than_the_rate() {
        for rate in [1_u32, 7, 10, 15, 250, 10_000] {
            let pace = Pace::new(rate);
            let back = |index: u64| {
                let portion = (index / pace.portion as u64) as u32;
                pace.pause * portion + Duration::from_millis(pace.wait_ms(index))
            };
            let times: Vec<_> = (0..u64::from(rate) * 4).map(back).collect();
            assert!(times.is_sorted(), "{rate}: portions overlap");
            // Whoever comes as the one after the rate's worth comes a second later than the first of them.
            for (first, next) in times.iter().zip(&times[rate as usize..]) {
                assert!(
                    *next - *first >= Duration::from_secs(1),
                    "{rate}: {first:?} {next:?}"
                );
            }
        }
    }
}
