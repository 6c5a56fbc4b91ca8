//! Coming back by itself: when, how soon, and as whom.
//!
//! Back-off with full jitter (a random wait between nothing and a bound that doubles), because a gateway that
//! restarts must not be met by all its clients at once. Close codes that say "stay away" are obeyed. A gateway that
//! sends its clients away tells each of them another moment to come back, spread so that its neighbours see them at its
//! configured rate; that moment is kept as it is, since chance on top of it would make the rate worse. Where a handshake
//! is refused for some time, all are told the same, and the random wait comes after it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::builder::Credentials;
use crate::client::Attempt;
use crate::event::{Event, EventQueue};
use crate::wire::{Command, Data};
use crate::{Builder, Client, ClientError, Ended, Events, Reply};

/// How often one command is sent again.
const RESENDS: u32 = 5;
/// Longest wait that a gateway may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// How to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// Bound of the first wait.
    pub base: Duration,
    /// Bound of every wait.
    pub cap: Duration,
    /// Failed attempts in a row after which it is given up; `None` is never.
    pub attempts: Option<u32>,
}

impl Default for ReconnectPolicy {
    /// 4 s, doubling to 30 s, without end. What one node loses at once comes back within these 4 s, evenly: 10,000 clients
    /// as 2,500 handshakes a second, which leaves a node of one core time for others. A single client waits 2 s on average.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(4),
            cap: Duration::from_secs(30),
            attempts: None,
        }
    }
}

impl ReconnectPolicy {
    /// The wait before an attempt, counted from 0: `random` (any number) chooses evenly between zero and
    /// `min(cap, base · 2^attempt)`, both included.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let bound = self
            .base
            .saturating_mul(2u32.saturating_pow(attempt))
            .min(self.cap);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos.checked_add(1).map_or(random, |span| random % span))
    }

    fn is_spent(&self, attempts: u32) -> bool {
        self.attempts.is_some_and(|most| attempts >= most)
    }
}

#[derive(Clone)]
enum State {
    Connected(Client),
    Away,
    Over(Ended),
}

/// A client that comes back after a lost connection and binds again by its tokens. Closed when dropped.
///
/// Its events go on over all connections: on its return it tells the gateway the last push that was taken from
/// [`Events`], and what the gateway delivers twice comes once.
///
/// Its commands ([`Persistent::command`] and the like) are sent again by themselves where that cannot do a thing
/// twice, and only there:
/// - The connection was away, or ended before the command had its place in the queue: it was never sent. It waits
///   for the next connection and goes out there.
/// - The gateway closed with 1012 or 1013 before the answer ([`Ended::may_resend`]): it finishes and answers what it
///   has begun before such a close, so what has no answer was not begun.
///
/// After any other end (a lost connection, silence, another code) a command without an answer ends with
/// [`ClientError::Closed`], since nobody knows whether it was carried out; so does a sixth try. A command is never
/// sent again after [`ClientError::Timeout`], and never because of the code in its reply. Each try has the builder's
/// command timeout to itself. The wait for the next connection has no limit but the [`ReconnectPolicy`]'s: put
/// `tokio::time::timeout` around the call to have one.
pub struct Persistent {
    state: watch::Receiver<State>,
    events: Arc<EventQueue>,
    stop: CancellationToken,
    _stops_when_dropped: DropGuard,
}

impl Persistent {
    /// Makes the first connection, whose failure is an error like any other, and keeps it from then on.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(builder: Builder, policy: ReconnectPolicy) -> Result<Self, ClientError> {
        let events = builder.events_queue();
        let first = builder
            .connect_into(builder.credentials(), Arc::clone(&events), false)
            .await?;
        let (sender, state) = watch::channel(State::Connected(first.clone()));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        // Waited for through `state`, ended by `stop`.
        tokio::spawn(keep(
            builder,
            policy,
            first,
            Arc::clone(&events),
            sender,
            stop.clone(),
        ));
        Ok(Self {
            state,
            events,
            stop,
            _stops_when_dropped: guard,
        })
    }

    /// The connection of this moment, waited for while there is none.
    ///
    /// # Errors
    /// [`ClientError::Closed`] once it has been given up.
    pub async fn client(&self) -> Result<Client, ClientError> {
        self.connected(None).await
    }

    /// As [`Persistent::client`], but another than that one, whose end is known here before it is in `state`.
    async fn connected(&self, other_than: Option<&Client>) -> Result<Client, ClientError> {
        let mut state = self.state.clone();
        let there = state
            .wait_for(|state| match state {
                State::Connected(client) => other_than.is_none_or(|known| !client.is(known)),
                State::Away => false,
                State::Over(_) => true,
            })
            .await;
        match there.as_deref() {
            Ok(State::Connected(client)) => Ok(client.clone()),
            Ok(State::Over(ended)) => Err(ClientError::Closed(ended.clone())),
            Ok(State::Away) | Err(_) => Err(ClientError::Closed(Ended::lost("given up"))),
        }
    }

    /// [`Client::command`] on the connection of this moment, and on the next one where that is safe: see
    /// [`Persistent`].
    ///
    /// # Errors
    /// As there; [`ClientError::Closed`] also once it has been given up.
    pub async fn command(&self, cmd_id: u32, data: Value) -> Result<Reply, ClientError> {
        let data = to_raw_value(&data).map_err(|_| ClientError::BadData)?;
        self.send(cmd_id, Data::Json(&data)).await
    }

    /// As [`Persistent::command`], with the data as JSON text.
    ///
    /// # Errors
    /// As there, and [`ClientError::BadData`] where the text is no JSON.
    pub async fn command_text(&self, cmd_id: u32, data: &str) -> Result<Reply, ClientError> {
        let data: &RawValue = serde_json::from_str(data).map_err(|_| ClientError::BadData)?;
        self.send(cmd_id, Data::Json(data)).await
    }

    /// As [`Persistent::command`], with a protobuf message of a type of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn command_protobuf(
        &self,
        cmd_id: u32,
        type_name: &str,
        body: &[u8],
    ) -> Result<Reply, ClientError> {
        self.send(cmd_id, Data::Protobuf { type_name, body }).await
    }

    async fn send(&self, cmd_id: u32, data: Data<'_>) -> Result<Reply, ClientError> {
        let command = Command { cmd_id, data };
        let mut client = self.client().await?;
        let mut resent = 0;
        loop {
            let ended = match client.attempt(&command).await? {
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::NotSent(ended) => ended,
                Attempt::Unanswered(ended) if ended.may_resend() => ended,
                Attempt::Unanswered(ended) => return Err(ClientError::Closed(ended)),
            };
            if resent == RESENDS {
                return Err(ClientError::Closed(ended));
            }
            resent += 1;
            tracing::debug!(cmd_id, resent, "a command waits for the next connection");
            client = self.connected(Some(&client)).await?;
        }
    }

    /// The events of all connections, with [`Event::Returned`] between them.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.events))
    }

    /// Waits until it has been given up: a close code that says so, attempts spent, credentials refused.
    pub async fn closed(&self) -> Ended {
        let mut state = self.state.clone();
        let over = state.wait_for(|state| matches!(state, State::Over(_))).await;
        match over.as_deref() {
            Ok(State::Over(ended)) => ended.clone(),
            _ => Ended::lost("given up"),
        }
    }

    /// Closes for good and waits for the closing handshake.
    pub async fn close(self) -> Ended {
        self.stop.cancel();
        self.closed().await
    }
}

async fn keep(
    builder: Builder,
    policy: ReconnectPolicy,
    first: Client,
    events: Arc<EventQueue>,
    state: watch::Sender<State>,
    stop: CancellationToken,
) {
    let mut client = first;
    let over = loop {
        let ended = tokio::select! {
            ended = client.closed() => ended,
            () = stop.cancelled() => break client.close().await,
        };
        if !ended.may_reconnect() {
            break ended;
        }
        state.send_replace(State::Away);
        let credentials = client
            .tokens()
            .map_or_else(|| builder.credentials().clone(), Credentials::Known);
        let returning = come_back(&builder, &policy, &credentials, &events, &ended);
        client = tokio::select! {
            back = returning => match back {
                Some(back) => back,
                None => break ended,
            },
            () = stop.cancelled() => break ended,
        };
        events.offer(Event::Returned);
        state.send_replace(State::Connected(client.clone()));
    };
    state.send_replace(State::Over(over));
    events.finish();
}

/// Tries until it works; `None` when it is to be given up.
async fn come_back(
    builder: &Builder,
    policy: &ReconnectPolicy,
    credentials: &Credentials,
    events: &Arc<EventQueue>,
    ended: &Ended,
) -> Option<Client> {
    // Without random bytes the whole bound is waited: slow, but no stampede that this client could help.
    let by_chance = |attempt| policy.delay(attempt, getrandom::u64().unwrap_or(u64::MAX));
    let mut wait = if ended.retry_after.is_some() {
        asked(ended.retry_after)
    } else {
        by_chance(0)
    };
    let mut attempt = 0;
    while !policy.is_spent(attempt) {
        sleep(wait).await;
        match builder.connect_into(credentials, Arc::clone(events), false).await {
            Ok(client) => return Some(client),
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, attempt, "not back yet");
                let at_least = match error {
                    ClientError::Refused { retry_after, .. } => asked(retry_after),
                    ClientError::Closed(ended) => asked(ended.retry_after),
                    _ => Duration::ZERO,
                };
                wait = at_least.saturating_add(by_chance(attempt + 1));
            }
            Err(error) => {
                tracing::warn!(%error, "not coming back");
                return None;
            }
        }
        attempt += 1;
    }
    None
}

/// What the gateway asked for, within reason.
fn asked(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(LONGEST_ASKED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_anything_up_to_a_bound_that_doubles_to_the_cap() {
        let policy = ReconnectPolicy::default();
        let bound = |attempt| {
            (0..1_000u64)
                .map(|n| policy.delay(attempt, n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
                .max()
                .unwrap()
        };
        assert!((3_600..=4_000).contains(&bound(0).as_millis()), "{:?}", bound(0));
        assert!(
            (14_400..=16_000).contains(&bound(2).as_millis()),
            "{:?}",
            bound(2)
        );
        assert!(
            (27_000..=30_000).contains(&bound(40).as_millis()),
            "{:?}",
            bound(40)
        );
        assert_eq!(policy.delay(7, 0), Duration::ZERO);
    }

    #[test]
    fn attempts_are_counted() {
        let policy = ReconnectPolicy {
            attempts: Some(2),
            ..ReconnectPolicy::default()
        };
        assert!(!policy.is_spent(1) && policy.is_spent(2));
        assert!(!ReconnectPolicy::default().is_spent(u32::MAX));
    }
}
