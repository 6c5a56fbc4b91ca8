//! How often and how long a command is sent again after a connection was lost, or a server could not serve.
//!
//! The deadline of a command is the response time that is configured, whatever it takes to keep it. A server that says that
//! it cannot serve is asked for half of it: what is wrong for longer is an outage, and an outage must not hold commands up.

use std::time::Duration;

use deadpool_redis::redis;
use tokio::time::{Instant, sleep};

use crate::error::{Repeat, repeat};

/// The wait before the second try over a connection that answered with an error; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LAST_WAIT: Duration = Duration::from_millis(100);

/// The tries of one call.
pub(super) struct Attempts {
    begun: Instant,
    response: Duration,
    wait: Duration,
    /// Whether the next try meets the same server with the same trouble.
    must_wait: bool,
}

impl Attempts {
    pub(super) fn new(response: Duration) -> Self {
        Self {
            begun: Instant::now(),
            response,
            wait: FIRST_WAIT,
            must_wait: false,
        }
    }

    /// When the call has to be answered.
    pub(super) fn deadline(&self) -> Instant {
        self.begun + self.response
    }

    /// Whether a command with this error is to be sent again. `cluster`: over the connection that it failed on, since a
    /// Cluster has one for all nodes.
    pub(super) fn again(&mut self, error: &redis::RedisError, is_repeatable: bool, cluster: bool) -> bool {
        let elapsed = self.begun.elapsed();
        // The library's own time-out is the deadline. One that comes earlier is the network's: the peer is gone.
        if elapsed >= self.response || (error.is_timeout() && elapsed + LAST_WAIT >= self.response) {
            return false;
        }
        let kind = repeat(error);
        self.must_wait |= cluster || kind == Repeat::Always;
        match kind {
            Repeat::Never => false,
            Repeat::IfRepeatable if !is_repeatable => false,
            Repeat::IfRepeatable if !cluster => true,
            Repeat::IfRepeatable | Repeat::Always => elapsed < self.response / 2,
        }
    }

    /// Waits before the next try, where it would meet the same server.
    pub(super) async fn pause(&mut self) {
        if std::mem::take(&mut self.must_wait) {
            sleep(self.wait).await;
            self.wait = (self.wait * 2).min(LAST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: Duration = Duration::from_secs(2);

    fn lost() -> redis::RedisError {
        std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
    }

    fn said(reply: &str) -> redis::RedisError {
        redis::parse_redis_value(format!("-{reply}\r\n").as_bytes())
            .and_then(redis::Value::extract_error)
            .unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_left_at_once_until_the_deadline() {
        let mut attempts = Attempts::new(RESPONSE);
        assert!(!attempts.again(&lost(), false, false));
        assert!(attempts.again(&lost(), true, false));
        attempts.pause().await;
        assert!(attempts.begun.elapsed() < Duration::from_millis(2), "no wait");
        tokio::time::advance(RESPONSE - Duration::from_millis(20)).await;
        assert!(attempts.again(&lost(), true, false));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert!(!attempts.again(&lost(), true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_cannot_serve_is_asked_for_half_the_time() {
        let mut attempts = Attempts::new(RESPONSE);
        let mut asked = 0;
        while attempts.again(&said("LOADING x"), false, false) {
            attempts.pause().await;
            asked += 1;
        }
        assert!(attempts.begun.elapsed() >= RESPONSE / 2);
        assert!(attempts.begun.elapsed() < RESPONSE / 2 + LAST_WAIT * 2);
        assert!((10..20).contains(&asked), "{asked}");
        assert!(!Attempts::new(RESPONSE).again(&said("ERR x"), true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_itself_is_no_reason_to_ask_again() {
        let late = || redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let mut attempts = Attempts::new(RESPONSE);
        // The network gave the peer up.
        assert!(attempts.again(&late(), true, false));
        tokio::time::advance(RESPONSE - Duration::from_millis(1)).await;
        assert!(!attempts.again(&late(), true, false));
    }
}
