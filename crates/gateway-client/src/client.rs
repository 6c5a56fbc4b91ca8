//! The handle that an application holds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::connection::Link;
use crate::event::EventQueue;
use crate::wire::{Command, Data};
use crate::{Builder, ClientError, Ended, Events, PendingReply, Reply, Tokens, http_call};

/// Log in.
pub(crate) const LOGIN: u32 = 1001;
/// Bind by a token.
pub(crate) const VERIFY: u32 = 1002;
/// A new token pair for a refresh token.
pub(crate) const REFRESH: u32 = 4;

/// One connection to the gateway. Clones share it; it is closed when the last one is gone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    events: Arc<EventQueue>,
    timeout: Duration,
    session_id: String,
    http: Option<Uri>,
    state: Mutex<State>,
    _closes_when_dropped: DropGuard,
}

#[derive(Default)]
struct State {
    user_id: String,
    tokens: Option<Tokens>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("session_id", &self.inner.session_id)
            .finish_non_exhaustive()
    }
}

/// How one try to have a command carried out ended.
pub(crate) enum Attempt {
    Answered(Reply),
    /// The connection ended before the command was in its queue: it was not sent.
    NotSent(Ended),
    /// The connection ended before the answer.
    Unanswered(Ended),
}

impl Client {
    /// Starts describing a client. `url` is `ws://host:port/path`.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(
        link: Arc<Link>,
        events: Arc<EventQueue>,
        timeout: Duration,
        session_id: String,
        http: Option<Uri>,
    ) -> Self {
        let guard = link.stop.clone().drop_guard();
        let state = Mutex::default();
        Self {
            inner: Arc::new(Inner {
                link,
                events,
                timeout,
                session_id,
                http,
                state,
                _closes_when_dropped: guard,
            }),
        }
    }

    /// Sends a command with JSON data and waits for its reply, whatever its code; waits for room in the queue first.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] after the builder's command timeout; [`ClientError::Closed`] when the connection
    /// ended first; in both cases the command may have been carried out, but for the ends of [`Ended::may_resend`].
    /// [`ClientError::TooManyInFlight`] at the builder's limit.
    pub async fn command(&self, cmd_id: u32, data: Value) -> Result<Reply, ClientError> {
        let data = to_raw_value(&data).map_err(|_| ClientError::BadData)?;
        self.send(Command {
            cmd_id,
            data: Data::Json(&data),
        })
        .await
    }

    /// As [`Client::command`], with the data as JSON text.
    ///
    /// # Errors
    /// As there, and [`ClientError::BadData`] where the text is no JSON.
    pub async fn command_text(&self, cmd_id: u32, data: &str) -> Result<Reply, ClientError> {
        let data: &RawValue = serde_json::from_str(data).map_err(|_| ClientError::BadData)?;
        self.send(Command {
            cmd_id,
            data: Data::Json(data),
        })
        .await
    }

    /// As [`Client::command`], with a protobuf message of a type of its own, such as `im.user.LoginRequest`.
    ///
    /// # Errors
    /// As there.
    pub async fn command_protobuf(
        &self,
        cmd_id: u32,
        type_name: &str,
        body: &[u8],
    ) -> Result<Reply, ClientError> {
        self.send(Command {
            cmd_id,
            data: Data::Protobuf { type_name, body },
        })
        .await
    }

    /// Puts a command in the queue now and gives its reply to be awaited later: commands go out in the order of
    /// these calls.
    ///
    /// # Errors
    /// [`ClientError::QueueFull`] and [`ClientError::TooManyInFlight`] at the builder's limits,
    /// [`ClientError::Closed`] once the connection has ended.
    pub fn submit(&self, cmd_id: u32, data: &Value) -> Result<PendingReply, ClientError> {
        let data = to_raw_value(data).map_err(|_| ClientError::BadData)?;
        let (seq, reply) = self.inner.link.submit(&Command {
            cmd_id,
            data: Data::Json(&data),
        })?;
        Ok(self.pending(seq, reply, Instant::now() + self.inner.timeout))
    }

    async fn send(&self, command: Command<'_>) -> Result<Reply, ClientError> {
        match self.attempt(&command).await? {
            Attempt::Answered(reply) => Ok(reply),
            Attempt::NotSent(ended) | Attempt::Unanswered(ended) => Err(ClientError::Closed(ended)),
        }
    }

    /// One command on this connection, with its ends told apart.
    pub(crate) async fn attempt(&self, command: &Command<'_>) -> Result<Attempt, ClientError> {
        let deadline = Instant::now() + self.inner.timeout;
        let queued = tokio::time::timeout_at(deadline, self.inner.link.submit_waiting(command)).await;
        let (seq, reply) = match queued.map_err(|_| ClientError::Timeout)? {
            Err(ClientError::Closed(ended)) => return Ok(Attempt::NotSent(ended)),
            queued => queued?,
        };
        match self.pending(seq, reply, deadline).await {
            Err(ClientError::Closed(ended)) => Ok(Attempt::Unanswered(ended)),
            answered => answered.map(Attempt::Answered),
        }
    }

    fn pending(&self, seq: u32, reply: oneshot::Receiver<Reply>, deadline: Instant) -> PendingReply {
        PendingReply::new(Arc::clone(&self.inner.link), seq, reply, deadline)
    }

    /// Whether these are handles of one connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Logs in with a name and a password (command 1001) and keeps the tokens.
    ///
    /// # Errors
    /// [`ClientError::Failed`] with 401 where they are wrong, 409 where the session is bound already.
    pub async fn login(&self, username: &str, password: &str) -> Result<Reply, ClientError> {
        let data = serde_json::json!({ "username": username, "password": password });
        let reply = self.command(LOGIN, data).await?.success()?;
        let tokens: Tokens =
            Tokens::deserialize_from(&reply.data).ok_or(ClientError::Protocol("a login without tokens"))?;
        let mut state = self.state();
        state.user_id = user_of(&reply);
        state.tokens = Some(tokens);
        drop(state);
        Ok(reply)
    }

    /// Binds the session by an access token, or gives a bound one a later expiry (command 1002).
    ///
    /// # Errors
    /// [`ClientError::Failed`] with 401 where it does not verify, 403 where it is another user's or device's.
    pub async fn authenticate(&self, token: &str) -> Result<Reply, ClientError> {
        self.authenticate_after(token, None).await
    }

    /// As [`Client::authenticate`]; the gateway is asked for the pushes after that one.
    pub(crate) async fn authenticate_after(
        &self,
        token: &str,
        last_push_id: Option<&str>,
    ) -> Result<Reply, ClientError> {
        let mut data = serde_json::json!({ "token": token });
        if let Some(id) = last_push_id {
            data["last_push_id"] = id.into();
        }
        let reply = self.command(VERIFY, data).await?.success()?;
        self.adopt(token, user_of(&reply));
        Ok(reply)
    }

    /// Takes an access token as this session's own; a refresh token that is known already stays.
    pub(crate) fn adopt(&self, token: &str, user_id: String) {
        let mut state = self.state();
        if !user_id.is_empty() {
            state.user_id = user_id;
        }
        match &mut state.tokens {
            Some(tokens) => token.clone_into(&mut tokens.access),
            none => {
                *none = Some(Tokens {
                    access: token.to_owned(),
                    refresh: None,
                    expires_in: 0,
                })
            }
        }
    }

    pub(crate) fn keep(&self, tokens: Tokens) {
        self.state().tokens = Some(tokens);
    }

    /// Exchanges the refresh token for a new pair (command 4), which is kept and returned.
    ///
    /// # Errors
    /// [`ClientError::NotSet`] where no refresh token is known; [`ClientError::Failed`] with 401 where it is spent.
    pub async fn refresh(&self) -> Result<Tokens, ClientError> {
        let known = self.tokens().and_then(|tokens| tokens.refresh);
        let refresh = known.ok_or(ClientError::NotSet("a refresh token"))?;
        let reply = self
            .command(REFRESH, serde_json::json!({ "refresh_token": refresh }))
            .await?
            .success()?;
        let tokens =
            Tokens::deserialize_from(&reply.data).ok_or(ClientError::Protocol("a refresh without tokens"))?;
        self.keep(tokens.clone());
        Ok(tokens)
    }

    /// Revokes the token pair over HTTP (`POST /api/auth/logout`), upon which the gateway closes this device's
    /// sessions, and waits for that.
    ///
    /// # Errors
    /// [`ClientError::NotSet`] without [`Builder::http`] or a token; [`ClientError::Refused`] by the gateway.
    pub async fn logout(&self) -> Result<Ended, ClientError> {
        let http = self
            .inner
            .http
            .as_ref()
            .ok_or(ClientError::NotSet("the HTTP address"))?;
        let token = self.tokens().ok_or(ClientError::NotSet("a token"))?.access;
        let revoked = http_call::post(http, "/api/auth/logout", &token);
        tokio::time::timeout(self.inner.timeout, revoked)
            .await
            .map_err(|_| ClientError::Timeout)??;
        tokio::time::timeout(self.inner.timeout, self.closed())
            .await
            .map_err(|_| ClientError::Timeout)
    }

    /// What comes by itself. Several handles share one queue.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.inner.events))
    }

    /// How many events a full queue has refused so far; pushes among them were not acknowledged.
    #[must_use]
    pub fn events_refused(&self) -> u64 {
        self.inner.events.refused()
    }

    /// The session's id, from the welcome.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.inner.session_id
    }

    /// The user that the session is bound to; empty before that, or where a token at the handshake bound it.
    #[must_use]
    pub fn user_id(&self) -> String {
        self.state().user_id.clone()
    }

    /// The tokens known to this client.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        self.state().tokens.clone()
    }

    /// Closes with 1000 and waits for the gateway's answer, two seconds at most.
    pub async fn close(&self) -> Ended {
        self.inner.link.close(1000, String::new()).await;
        self.closed().await
    }

    /// Waits until the connection has ended, by whomever.
    pub async fn closed(&self) -> Ended {
        self.inner.link.ended().await
    }

    /// How the connection ended; `None` while it is open.
    #[must_use]
    pub fn end(&self) -> Option<Ended> {
        self.inner.link.end()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user that a login's or token's reply speaks of.
fn user_of(reply: &Reply) -> String {
    let info = &reply.data["user_info"];
    let named = ["user_id", "uid"].iter().find_map(|key| info[*key].as_str());
    named.unwrap_or(&reply.user_id).to_owned()
}
