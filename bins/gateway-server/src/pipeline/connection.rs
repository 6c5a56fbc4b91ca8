//! What gateway-net calls: a handshake is admitted, a connection opens, speaks and ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway_auth::AuthError;
use gateway_codec::{CloseCode, Encoding, Notice};
use gateway_config::{OriginPattern, WebOrigin};
use gateway_net::{Accepted, Acceptor, End, Handshake, Message, Outbound, Refusal, SessionHandler};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Pipeline;
use super::binding::stays_in_store;
use super::hello::Hello;
use super::life::Due;
use super::session::{ClaimedDevice, Session};
use crate::metrics::OpenConnection;
use crate::phase::Phase;

/// When a client that was refused because the node goes down may try again: another one may answer it then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Characters of a refused origin that the refusal repeats.
const LONGEST_ORIGIN: usize = 128;

/// Admits every handshake that can be read; who it is is found out on the open socket.
pub struct Door {
    pipeline: Arc<Pipeline>,
    phase: watch::Receiver<Phase>,
}

impl Door {
    /// The door to `pipeline`, shut when `phase` is past serving.
    pub fn new(pipeline: Arc<Pipeline>, phase: watch::Receiver<Phase>) -> Self {
        Self { pipeline, phase }
    }
}

impl Door {
    /// A browser says for which page it connects (RFC 6455, 10.2): the page must come from this host, or be listed. Native
    /// apps say nothing, or name themselves by a scheme of their own.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let parsed = WebOrigin::parse(origin.as_bytes());
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let is_allowed = !parsed.is_of_a_page()
            || host.is_some_and(|host| parsed.is_at(host))
            || OriginPattern::any_allows(&self.pipeline.settings.origins, &parsed);
        if is_allowed && origins.next().is_none() {
            return Ok(());
        }
        let shown: String = String::from_utf8_lossy(origin.as_bytes())
            .chars()
            .take(LONGEST_ORIGIN)
            .collect();
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!(
                "pages of the origin {shown} may not connect: it is not this host, and not listed in cors.allowed_origins \
                 (behind a proxy that does not pass the Host header on, list the page's own origin there)"
            ),
        ))
    }
}

impl Acceptor for Door {
    type Handler = Connection;

    fn accept(&self, handshake: &Handshake) -> Result<Accepted<Connection>, Refusal> {
        if *self.phase.borrow() > Phase::Serving {
            return Err(
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this node is going down")
                    .retry_after(RETRY_AFTER),
            );
        }
        self.check_origin(&handshake.headers)?;
        let hello = Hello::parse(handshake)?;
        let subprotocol = hello.subprotocol.map(str::to_owned);
        let handler = Connection {
            pipeline: self.pipeline.clone(),
            stage: Stage::Greeted(Box::new(hello)),
        };
        Ok(Accepted { handler, subprotocol })
    }
}

/// One connection, from its opening to its end.
pub struct Connection {
    pipeline: Arc<Pipeline>,
    stage: Stage,
}

/// What is known of a connection.
enum Stage {
    /// What its handshake said, until it is opened.
    Greeted(Box<Hello>),
    Open(Arc<Session>, OpenConnection),
    Ended,
}

impl Connection {
    fn session(&self) -> Option<&Arc<Session>> {
        match &self.stage {
            Stage::Open(session, _) => Some(session),
            Stage::Greeted(_) | Stage::Ended => None,
        }
    }
}

impl SessionHandler for Connection {
    fn opened(&mut self, outbound: Outbound) {
        let Stage::Greeted(hello) = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return;
        };
        let pipeline = &self.pipeline;
        let session = Arc::new(Session::new(
            pipeline.session_id(),
            outbound,
            hello.encoding,
            hello.acknowledges,
            Instant::now(),
        ));
        session.set_claimed_device(ClaimedDevice {
            device_id: hello.device_id,
            platform: hello.platform,
            last_push_id: hello.last_push_id,
        });
        pipeline.schedule(&session);
        // From here on its end is told, whatever the bind comes to.
        self.stage = Stage::Open(session.clone(), pipeline.metrics.connection());
        match hello.token {
            Some(token) => pipeline.bind_at_handshake(&session, token),
            None => pipeline.welcome(&session, false),
        }
    }

    fn message(&mut self, message: Message<'_>) {
        let Some(session) = self.session() else { return };
        match message {
            Message::Text(text) => self.pipeline.receive(session, Encoding::Json, text.as_bytes()),
            Message::Binary(bytes) => self.pipeline.receive(session, Encoding::Protobuf, bytes),
        }
    }

    fn written(&mut self, up_to: u64) {
        if let Some(session) = self.session() {
            self.pipeline.delivery.written(session.id, up_to);
        }
    }

    fn woken(&mut self) {
        if let Some(session) = self.session() {
            self.pipeline.pass_time(session);
        }
    }

    fn backlog(&self) -> bool {
        self.session().is_some_and(|session| {
            session.in_flight.load(Ordering::Relaxed) >= self.pipeline.settings.in_flight
        })
    }

    fn closed(&mut self, end: End) {
        if let Stage::Open(session, open) = std::mem::replace(&mut self.stage, Stage::Ended) {
            drop(open);
            self.pipeline.ended(&session, &end);
        }
    }
}

impl Pipeline {
    /// The first notice of a connection.
    pub fn welcome(&self, session: &Session, authenticated: bool) {
        self.notify(
            session,
            &Notice::Welcome {
                session_id: session.id,
                authenticated,
                timeout_seconds: self.settings.life.authenticate.as_secs(),
            },
        );
    }

    /// Asks the network to wake the session for its next deadline.
    pub fn schedule(&self, session: &Session) {
        let deadline = session.state().life.next_deadline(&self.settings.life);
        session.wake_at(deadline);
        // One that is being sent elsewhere is looked at until it has gone. Asked last: whoever makes it urgent wakes it
        // too, and may have done so just before.
        if session.is_urgent() {
            session.wake_at(Some(Instant::now()));
        }
    }

    /// Does what has become due in a session's life.
    fn pass_time(&self, session: &Session) {
        session.leave_if_done();
        if session.take_doubt() {
            self.check_key(session);
        }
        let due = session.state().life.due(Instant::now(), &self.settings.life);
        match due {
            None => {}
            Some(Due::AuthTimeout) => {
                self.notify(session, &Notice::AuthTimeout);
                session.close_with(CloseCode::AuthTimeout, "not authenticated in time");
            }
            Some(Due::TokenExpiring { expires_in }) => {
                self.notify(
                    session,
                    &Notice::TokenExpiring {
                        expires_in_seconds: expires_in.as_secs(),
                    },
                );
            }
            Some(Due::TokenExpired) => {
                self.notify(
                    session,
                    &Notice::AuthFailed {
                        reason: "access token expired",
                    },
                );
                session.close_with(CloseCode::AuthFailed, "access token expired");
            }
            Some(Due::Idle) => session.close_with(CloseCode::Idle, "no message for too long"),
        }
        self.schedule(session);
    }

    /// Ends a session whose token was signed by a key that has been taken out.
    fn check_key(&self, session: &Session) {
        let Some(bound) = session.bound() else { return };
        if self.sign_in.knows_key(&bound.identity) {
            return;
        }
        let reason = AuthError::UnknownKey.to_string();
        self.notify(session, &Notice::AuthFailed { reason: &reason });
        session.close_with(CloseCode::AuthFailed, &reason);
    }

    /// The connection is over: whatever it was bound to is unbound, and what it had not taken goes elsewhere.
    fn ended(self: &Arc<Self>, session: &Session, end: &End) {
        let bound = {
            let mut state = session.state();
            state.life.close();
            state.held = None;
            state.bound.take()
        };
        tracing::debug!(session_id = %session.id, code = end.code, reason = ?end.reason, "connection ended");
        let Some(bound) = bound else { return };
        tracing::debug!(session_id = %session.id, user_id = %bound.identity.user_id(), code = end.code,
            reason = ?end.reason, "session ended");
        self.delivery.closed(&bound.record, end.last_written);
        if self.registry.ended(&bound.record, self.clock.now()) {
            let registry = Arc::clone(&self.registry);
            // On the services' runtime: the worker may be stopping.
            self.tasks.spawn_on(
                async move { registry.take_out_ended(stays_in_store).await },
                &self.services,
            );
        }
    }
}
