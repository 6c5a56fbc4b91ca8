//! From a client's message to its reply.
//!
//! ```text
//! net ─▶ connection ─▶ receive ─▶ decode ─▶ who may ─▶ perform ─▶ here | embedded handler | back end
//!                        │                    │                              │
//!                        └── held while a bind or a check is under way ◀─────┘ reply ─▶ net
//! ```
//! [`connection`] is what gateway-net calls; [`session`] is what is known of one client; [`life`] says when its
//! time is over; [`admission`] decides whom a message speaks for (the table of contract section 3); [`binding`] ties a
//! session to a user; [`perform`] does what was asked. Everything of one session happens on the worker that
//! owns its socket, so none of these steps overtakes another.

pub mod admission;
pub mod binding;
pub mod connection;
pub mod handlers;
pub mod hello;
pub mod life;
pub mod perform;
pub mod session;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gateway_auth::{Clock, Random};
use gateway_codec::{
    Body, CloseCode, Code, DecodeError, Encoded, Encoding, NOTICE_COMMAND, Notice, PUSH_COMMAND, Reply,
    ReplyTo, Request, SessionId, Unreadable, decode_envelope, decode_json, encode_reply,
};
use gateway_config::{LocalHandler, OriginPattern, ServiceName};
use gateway_conn::{Delivery, Registry};
use gateway_router::{Route, Router};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::fault::Fault;
use crate::load::Load;
use crate::metrics::PipelineMetrics;
use crate::sign_in::SignIn;
use crate::upstream::Upstream;
use handlers::Handlers;
use session::{Bound, HeldMessage, Session};

/// A text frame with this alone is a heartbeat, as many clients send one. Its answer is a text frame with `pong`; it needs
/// no login and waits for none.
const PING: &[u8] = b"ping";

fn pong() -> Encoded {
    Encoded {
        encoding: Encoding::Json,
        bytes: Bytes::from_static(b"pong"),
    }
}

/// What of the configuration the pipeline follows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds of a connection's stages.
    pub life: life::Limits,
    /// Unreadable messages in a row that end a connection.
    pub unreadable: u32,
    /// Commands that may wait for a bind.
    pub held: usize,
    /// Commands of one session at the back ends; past it its socket is not read.
    pub in_flight: u32,
    /// How long a bind may take.
    pub bind_timeout: std::time::Duration,
    /// Pages of other hosts that may connect.
    pub origins: Vec<OriginPattern>,
    /// Who knows users and passwords.
    pub user_service: ServiceName,
}

/// The parts that the pipeline works with. Built once, whole, by the builder.
pub struct Pipeline {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub router: Arc<Router>,
    pub upstream: Arc<Upstream>,
    pub sign_in: Arc<SignIn>,
    pub registry: Arc<Registry>,
    pub delivery: Arc<Delivery>,
    pub handlers: Handlers,
    pub metrics: PipelineMetrics,
    pub load: Arc<Load>,
    /// Everything spawned here, so that stopping can wait for it.
    pub tasks: TaskTracker,
    /// Where work goes on that must outlive the worker it began on.
    pub services: Handle,
    /// Keyed, so that nobody can aim at a token's hash.
    pub token_hasher: RandomState,
}

impl Pipeline {
    /// A message came: it is handled now, or waits behind the bind under way.
    pub fn receive(self: &Arc<Self>, session: &Arc<Session>, encoding: Encoding, bytes: &[u8]) {
        self.metrics.messages.increment(1);
        if session.is_draining() {
            // Not begun, so its client may send it again elsewhere.
            return;
        }
        self.load.received();
        let bound;
        let refused = {
            let mut state = session.state();
            state.life.message(session.coarse_now());
            if encoding == Encoding::Json && bytes == PING {
                drop(state);
                return session.reply(pong());
            }
            bound = state.bound.clone();
            match &mut state.held {
                None => None,
                Some(held) if held.len() < self.settings.held => {
                    held.push_back(HeldMessage {
                        encoding,
                        bytes: Bytes::copy_from_slice(bytes),
                    });
                    return;
                }
                Some(_) => Some(Fault::rule(
                    Code::TooManyRequests,
                    "too many commands wait for the login",
                )),
            }
        };
        match (refused, decode(encoding, bytes)) {
            (Some(fault), Ok(request)) => self.refuse(session, &request.reply_to, &fault),
            (None, Ok(request)) => {
                if session.unreadable.load(Ordering::Relaxed) > 0 {
                    session.unreadable.store(0, Ordering::Relaxed);
                }
                self.handle(session, bound, encoding, bytes, request);
            }
            (_, Err(unreadable)) => self.unreadable(session, unreadable),
        }
    }

    /// Messages that follow wait until [`Pipeline::release`].
    pub fn hold(&self, session: &Session) {
        session.state().held.get_or_insert_default();
    }

    /// What waited is handled, in order, until one of it makes the rest wait again.
    pub fn release(self: &Arc<Self>, session: &Arc<Session>) {
        let Some(mut waiting) = session.state().held.take() else {
            return;
        };
        while let Some(message) = waiting.pop_front() {
            if session.is_draining() {
                return;
            }
            self.again(session, &message);
            // This message may have begun a bind of its own. Nothing can have come in between: the worker
            // that reads the socket is the one that runs this.
            if let Some(held) = &mut session.state().held {
                held.append(&mut waiting);
                return;
            }
        }
    }

    /// Handles a message that had been put aside.
    pub fn again(self: &Arc<Self>, session: &Arc<Session>, message: &HeldMessage) {
        match decode(message.encoding, &message.bytes) {
            Ok(request) => self.handle(
                session,
                session.bound(),
                message.encoding,
                &message.bytes,
                request,
            ),
            Err(unreadable) => self.unreadable(session, unreadable),
        }
    }

    /// Which command this is and who answers it; then whether its sender may.
    fn handle(
        self: &Arc<Self>,
        session: &Arc<Session>,
        bound: Option<Bound>,
        encoding: Encoding,
        bytes: &[u8],
        request: Request<'_>,
    ) {
        if is_for_clients(request.cmd_id) {
            let reply_to = request.reply_to.under_no_command();
            return self.refuse(session, &reply_to, &for_clients(request.cmd_id));
        }
        match self.target(request.cmd_id) {
            Some(target) => self.admit(session, bound, encoding, bytes, request, target),
            None => {
                let fault = Fault::rule(
                    Code::NotFound,
                    format!("command {} is not known here", request.cmd_id),
                );
                self.refuse(session, &request.reply_to, &fault);
            }
        }
    }

    /// Who answers a command: a handler of the embedding program before the routes.
    pub fn target(&self, cmd_id: u32) -> Option<Target> {
        let route = self.router.route(cmd_id);
        if self.handlers.contains(cmd_id) {
            return Some(Target::embedded(cmd_id, route));
        }
        route.map(Target::routed)
    }

    /// Sends a reply that succeeded.
    pub fn reply(&self, session: &Session, bound: Option<&Bound>, to: &ReplyTo, body: Body<'_>) {
        let reply = Reply {
            code: Code::Success,
            message: "".into(),
            session_id: Some(session.id),
            user_id: bound.map_or("", |bound| bound.identity.user_id().as_str()),
            platform: bound.map_or("", |bound| bound.identity.platform().as_str()),
            timestamp: self.clock.now(),
            body,
        };
        match encode_reply(to, &reply) {
            Ok(encoded) => session.reply(encoded),
            Err(error) => {
                tracing::error!(%error, session_id = %session.id, "a back end's reply cannot be encoded");
                self.refuse(session, to, &Fault::rule(Code::Internal, Code::Internal.text()));
            }
        }
    }

    /// Sends a reply that tells what went wrong.
    pub fn refuse(&self, session: &Session, to: &ReplyTo, fault: &Fault) {
        self.metrics.refused(fault.code());
        self.load.refused();
        if fault.is_ours() {
            tracing::warn!(%fault, session_id = %session.id, "a command failed");
        } else {
            tracing::debug!(%fault, session_id = %session.id, "a command was refused");
        }
        let reply = Reply {
            code: fault.code(),
            message: fault.told(),
            session_id: Some(session.id),
            user_id: "",
            platform: "",
            timestamp: self.clock.now(),
            body: Body::Empty,
        };
        if let Ok(encoded) = encode_reply(to, &reply) {
            session.reply(encoded);
        }
    }

    /// Sends a notice.
    pub fn notify(&self, session: &Session, notice: &Notice<'_>) {
        session.notify(notice, self.clock.now());
    }

    /// A fresh session id.
    pub fn session_id(&self) -> SessionId {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        SessionId::from_random(bytes)
    }

    /// A keyed hash of a token, to know it again cheaply.
    pub fn token_hash(&self, token: &str) -> u64 {
        self.token_hasher.hash_one(token)
    }

    fn unreadable(&self, session: &Session, Unreadable { error, reply_to }: Unreadable) {
        self.refuse(session, &reply_to, &error.into());
        let before = session.unreadable.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= self.settings.unreadable {
            session.close_with(CloseCode::Policy, "too many unreadable messages");
        }
    }
}

/// Whether a command goes from the server to clients, and so is none that a client may send.
pub(crate) fn is_for_clients(cmd_id: u32) -> bool {
    matches!(cmd_id, NOTICE_COMMAND | PUSH_COMMAND)
}

/// What a client is told that sends one.
pub(crate) fn for_clients(cmd_id: u32) -> Fault {
    Fault::rule(
        Code::BadRequest,
        format!("command {cmd_id} is sent by the server, never to it"),
    )
}

/// Who answers a command.
pub struct Target {
    /// What the route table says, or for an embedded handler's command without a route, its defaults.
    pub route: Option<Arc<Route>>,
    pub action: Action,
}

/// The place where a command is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Local(LocalHandler),
    Service(ServiceName),
    /// A handler that the embedding program registered for this command.
    Embedded(u32),
}

impl Target {
    fn routed(route: Arc<Route>) -> Self {
        let action = match &route.handler {
            gateway_config::Handler::Local(local) => Action::Local(*local),
            gateway_config::Handler::Service(service) => Action::Service(service.clone()),
        };
        Self {
            route: Some(route),
            action,
        }
    }

    fn embedded(cmd_id: u32, route: Option<Arc<Route>>) -> Self {
        Self {
            route,
            action: Action::Embedded(cmd_id),
        }
    }

    /// How sure the gateway must be of the sender.
    pub fn sensitivity(&self) -> gateway_config::Sensitivity {
        self.route
            .as_ref()
            .map_or(gateway_config::Sensitivity::Normal, |route| route.sensitivity)
    }
}

/// Reads a message in either encoding.
///
/// # Errors
/// Says what is wrong with it, and what a reply repeats.
pub fn decode(encoding: Encoding, bytes: &[u8]) -> Result<Request<'_>, Unreadable> {
    match encoding {
        // The network has checked it already; asking again costs less than carrying `str` and bytes apart.
        Encoding::Json => match std::str::from_utf8(bytes) {
            Ok(text) => decode_json(text),
            Err(_) => Err(Unreadable {
                error: DecodeError::NotJson { line: 1, column: 0 },
                reply_to: ReplyTo::unreadable(encoding),
            }),
        },
        Encoding::Protobuf => decode_envelope(bytes),
    }
}
