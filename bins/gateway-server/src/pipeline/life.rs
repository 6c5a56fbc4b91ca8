//! The life of one connection as a state machine: events and the time go in, what is due comes out.
//!
//! ```text
//! unbound ──bind begins──▶ binding ──bound──▶ bound ──▶ closed
//!    ▲                        │
//!    └────── bind failed ─────┘
//! ```
//! It holds no socket and reads no clock, so every rule of contract section 2, "Life of a connection",
//! that depends on time is tested here without either. Pings and dead peers are the network's own matter.

use std::time::Duration;

use tokio::time::Instant;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has proved anything yet; the time to do so is running.
    Unbound,
    /// A login or a token is being checked; commands wait for it.
    Binding,
    /// It speaks for a user.
    Bound,
    /// It is over; nothing that comes now counts.
    Closed,
}

/// What has become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not bound in time: notice 408, close 4408.
    AuthTimeout,
    /// The token ends soon: notice `token_expiring`.
    TokenExpiring { expires_in: Duration },
    /// The token has ended: close 4401.
    TokenExpired,
    /// No message for the platform's session timeout: close 4409.
    Idle,
}

/// How long the stages may last.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From connecting to being bound.
    pub authenticate: Duration,
    /// How long before the end of a token its client is told.
    pub expiry_notice: Duration,
}

/// The state of one connection's life. Every session holds one, so a stage keeps what it needs and nothing else.
#[derive(Debug)]
pub struct Life(Now);

#[derive(Debug)]
enum Now {
    Unbound { opened: Instant },
    Binding { opened: Instant },
    Bound(Times),
    Closed,
}

/// When a bound connection ends.
#[derive(Debug)]
struct Times {
    last_message: Instant,
    expires: Instant,
    idle_seconds: u32,
    expiry_noticed: bool,
}

impl Times {
    fn idle_end(&self) -> Instant {
        self.last_message + Duration::from_secs(self.idle_seconds.into())
    }
}

impl Life {
    /// A connection that has just been opened.
    pub fn new(now: Instant) -> Self {
        Self(Now::Unbound { opened: now })
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        match self.0 {
            Now::Unbound { .. } => Stage::Unbound,
            Now::Binding { .. } => Stage::Binding,
            Now::Bound(_) => Stage::Bound,
            Now::Closed => Stage::Closed,
        }
    }

    /// A message came, whatever it says.
    pub fn message(&mut self, now: Instant) {
        if let Now::Bound(times) = &mut self.0 {
            times.last_message = now;
        }
    }

    /// When the last message came, or the bind where none did; `None` while it is not bound.
    pub fn last_message(&self) -> Option<Instant> {
        match &self.0 {
            Now::Bound(times) => Some(times.last_message),
            Now::Unbound { .. } | Now::Binding { .. } | Now::Closed => None,
        }
    }

    /// A bind begins. `false`: there is nothing to bind any more.
    pub fn begin_bind(&mut self) -> bool {
        let Now::Unbound { opened } = self.0 else {
            return false;
        };
        self.0 = Now::Binding { opened };
        true
    }

    /// The bind under way did not succeed; the time to authenticate goes on where it was.
    pub fn bind_failed(&mut self) {
        if let Now::Binding { opened } = self.0 {
            self.0 = Now::Unbound { opened };
        }
    }

    /// The bind under way succeeded; `idle` counts in whole seconds, a part of one for a whole. `false`: the connection
    /// was closed meanwhile and the bind is to be undone.
    pub fn bound(&mut self, now: Instant, valid_for: Duration, idle: Duration) -> bool {
        if !matches!(self.0, Now::Binding { .. }) {
            return false;
        }
        let seconds = idle.as_secs() + u64::from(idle.subsec_nanos() > 0);
        self.0 = Now::Bound(Times {
            last_message: now,
            expires: ends(now, valid_for),
            idle_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            expiry_noticed: false,
        });
        true
    }

    /// A later token was accepted on a bound connection; an earlier end than today's is not taken.
    pub fn extend(&mut self, now: Instant, valid_for: Duration) {
        if let Now::Bound(times) = &mut self.0
            && ends(now, valid_for) > times.expires
        {
            times.expires = ends(now, valid_for);
            times.expiry_noticed = false;
        }
    }

    /// It is over. Returns the stage it was in.
    pub fn close(&mut self) -> Stage {
        let stage = self.stage();
        self.0 = Now::Closed;
        stage
    }

    /// What is due now. Told once each; everything but [`Due::TokenExpiring`] ends the connection.
    pub fn due(&mut self, now: Instant, limits: &Limits) -> Option<Due> {
        match &mut self.0 {
            Now::Closed => None,
            Now::Unbound { opened } | Now::Binding { opened } => {
                (now >= *opened + limits.authenticate).then_some(Due::AuthTimeout)
            }
            Now::Bound(times) if now >= times.expires => Some(Due::TokenExpired),
            Now::Bound(times) if now >= times.idle_end() => Some(Due::Idle),
            Now::Bound(times) if !times.expiry_noticed && now + limits.expiry_notice >= times.expires => {
                times.expiry_noticed = true;
                Some(Due::TokenExpiring {
                    expires_in: times.expires - now,
                })
            }
            Now::Bound(_) => None,
        }
    }

    /// When to ask [`Life::due`] next. A message in between moves the idle end, so waking may find nothing due.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        match &self.0 {
            Now::Closed => None,
            Now::Unbound { opened } | Now::Binding { opened } => Some(*opened + limits.authenticate),
            Now::Bound(times) => {
                let expiry = if times.expiry_noticed {
                    times.expires
                } else {
                    times
                        .expires
                        .checked_sub(limits.expiry_notice)
                        .unwrap_or(times.expires)
                };
                Some(expiry.min(times.idle_end()))
            }
        }
    }
}

/// When something ends that is valid for so long; bounded, so that no token can overflow the clock.
fn ends(now: Instant, valid_for: Duration) -> Instant {
    now + valid_for.min(Duration::from_secs(100 * 365 * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        authenticate: Duration::from_secs(30),
        expiry_notice: Duration::from_secs(60),
    };

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn bound(start: Instant, valid: u64, idle: u64) -> Life {
        let mut life = Life::new(start);
        assert!(life.begin_bind());
        assert!(life.bound(start, secs(valid), secs(idle)));
        life
    }

    #[test]
    fn authentication_times_out_also_while_a_bind_hangs() {
        let start = Instant::now();
        let mut life = Life::new(start);
        assert_eq!(life.due(start + secs(29), &LIMITS), None);
        assert_eq!(life.due(start + secs(30), &LIMITS), Some(Due::AuthTimeout));
        life.begin_bind();
        assert_eq!(life.due(start + secs(30), &LIMITS), Some(Due::AuthTimeout));
        life.bind_failed();
        assert_eq!(life.next_deadline(&LIMITS), Some(start + secs(30)));
    }

    #[test]
    fn only_one_bind_at_a_time() {
        let mut life = Life::new(Instant::now());
        assert!(life.begin_bind());
        assert!(!life.begin_bind());
    }

    #[test]
    fn a_close_during_a_bind_undoes_it() {
        let start = Instant::now();
        let mut life = Life::new(start);
        life.begin_bind();
        assert_eq!(life.close(), Stage::Binding);
        assert!(!life.bound(start, secs(10), secs(10)));
        assert_eq!(life.due(start + secs(100), &LIMITS), None);
    }

    #[test]
    fn expiry_is_announced_once_then_enforced() {
        let start = Instant::now();
        let mut life = bound(start, 100, 1000);
        assert_eq!(life.next_deadline(&LIMITS), Some(start + secs(40)));
        assert_eq!(
            life.due(start + secs(40), &LIMITS),
            Some(Due::TokenExpiring { expires_in: secs(60) })
        );
        assert_eq!(life.due(start + secs(41), &LIMITS), None);
        assert_eq!(life.next_deadline(&LIMITS), Some(start + secs(100)));
        assert_eq!(life.due(start + secs(100), &LIMITS), Some(Due::TokenExpired));
    }

    #[test]
    fn a_later_token_moves_the_expiry_and_an_earlier_one_does_not() {
        let start = Instant::now();
        let mut life = bound(start, 100, 1000);
        life.extend(start, secs(50));
        assert_eq!(life.due(start + secs(30), &LIMITS), None);
        life.extend(start, secs(500));
        assert_eq!(life.due(start + secs(100), &LIMITS), None);
        assert_eq!(life.due(start + secs(500), &LIMITS), Some(Due::TokenExpired));
    }

    #[test]
    fn a_silent_session_goes_idle_and_a_message_keeps_it() {
        let start = Instant::now();
        let mut life = bound(start, 10_000, 100);
        life.message(start + secs(90));
        assert_eq!(life.due(start + secs(100), &LIMITS), None);
        assert_eq!(life.next_deadline(&LIMITS), Some(start + secs(190)));
        assert_eq!(life.due(start + secs(190), &LIMITS), Some(Due::Idle));
    }

    #[test]
    fn a_token_valid_for_ages_does_not_overflow() {
        let start = Instant::now();
        let mut life = bound(start, u64::MAX / 2, 100);
        life.extend(start, Duration::MAX);
        assert_eq!(life.due(start, &LIMITS), None);
    }
}
