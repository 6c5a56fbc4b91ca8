//! One command to its back end, and what the back end's reply asks for.
//!
//! The WebSocket pipeline and the HTTP API both come through here, so that a command means the same whichever
//! way it came. The payload is carried, never parsed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gateway_auth::{Clock, Identity, Random};
use gateway_codec::proto::backend::CommandReply;
use gateway_codec::proto::gateway as wire;
use gateway_codec::{
    Body, Code, Command, DeviceId, IdError, Platform, PushBody, Request, RequestId, SessionId, UserId,
};
use gateway_config::ServiceName;
use gateway_conn::{Delivery, PushOrder, Pushed, Target};
use gateway_router::{CallLimits, Flow, Router, RouterError};
use metrics::Counter;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::fault::Fault;

/// Users that one push order may name.
pub const MAX_TARGETS: usize = 1_000;

/// Whom a command speaks for, and where it came from.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Who it is; `None` only on routes that are public.
    pub identity: Option<&'a Identity>,
    /// The session, where there is one.
    pub session_id: Option<SessionId>,
    /// The device as far as it is known: the identity's, or what an unbound client says of itself.
    pub device_id: &'a str,
    /// The platform, known in the same way.
    pub platform: &'a str,
    /// Address of the client.
    pub address: IpAddr,
}

/// What goes back to the client when a back end said yes.
pub struct Answer {
    /// Empty: `body` is JSON.
    pub type_name: String,
    /// Reply data, in the content type of the request.
    pub body: Bytes,
    /// Who this is, where the command was a login.
    pub identity: Option<gateway_codec::proto::backend::Identity>,
}

impl Answer {
    /// The body as the codec takes it.
    pub fn body(&self) -> Body<'_> {
        if !self.type_name.is_empty() {
            Body::Protobuf {
                type_name: &self.type_name,
                body: &self.body,
            }
        } else if self.body.is_empty() {
            Body::Empty
        } else {
            Body::Json(&self.body)
        }
    }
}

/// The way to the back ends.
pub struct Upstream {
    router: Arc<Router>,
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    /// Of this process alone, and how many request ids it has given out.
    process: [u8; 8],
    requests: AtomicU64,
    bad_orders: Counter,
    tasks: TaskTracker,
    services: Handle,
}

impl Upstream {
    /// A way through `router`, whose replies' pushes go to `delivery`.
    pub fn new(
        router: Arc<Router>,
        delivery: Arc<Delivery>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
        tasks: TaskTracker,
        services: Handle,
    ) -> Self {
        let mut process = [0; 8];
        random.fill(&mut process);
        Self {
            router,
            delivery,
            clock,
            process,
            requests: AtomicU64::new(0),
            bad_orders: metrics::counter!("gateway_push_orders_refused_total"),
            tasks,
            services,
        }
    }

    /// A new request id: half of it is random and this process's, so that no restart repeats one; the other half
    /// counts. Nobody gains by guessing one, and asking the system for randomness each time was 2 % of a command.
    pub fn request_id(&self) -> RequestId {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.process);
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        RequestId::from_random(bytes)
    }

    /// What the back end is given of `request`: an encoded `CommandRequest`.
    pub fn command(&self, request: &Request<'_>, caller: Caller<'_>) -> Bytes {
        Command {
            request_id: self.request_id(),
            cmd_id: request.cmd_id,
            seq: request.seq,
            user_id: caller.identity.map_or("", |identity| identity.user_id().as_str()),
            session_id: caller.session_id,
            device_id: caller.device_id,
            platform: caller.platform,
            address: caller.address,
            payload: &request.payload,
            traceparent: &request.traceparent,
        }
        .encode()
    }

    /// Submits a command of a session and tells `done` what came of it; its place in the order of `flow` is taken
    /// before this returns. Goes on to its end whatever becomes of the session.
    pub fn submit(
        self: &Arc<Self>,
        flow: &Flow,
        service: &ServiceName,
        command: Bytes,
        limits: CallLimits,
        done: impl FnOnce(Result<Answer, Fault>) + Send + 'static,
    ) {
        let upstream = self.clone();
        let done = Box::new(move |reply| upstream.answer(reply, done));
        self.router.submit(flow, service, command, limits, done);
    }

    /// As [`Upstream::submit`], awaited: for a caller that is in no order. What the reply asks for is done even where
    /// the future is dropped.
    pub async fn call(
        self: &Arc<Self>,
        service: &ServiceName,
        command: Bytes,
        limits: CallLimits,
    ) -> Result<Answer, Fault> {
        let (tell, answered) = oneshot::channel();
        self.submit(&Flow::default(), service, command, limits, move |answer| {
            // Whoever asked may have gone.
            let _ = tell.send(answer);
        });
        answered
            .await
            .unwrap_or_else(|_| Err(RouterError::ShuttingDown.into()))
    }

    /// Makes the pushes that a reply asks for and turns the rest into what the client gets. Where a push cannot be promised
    /// yet (it is being recorded, or another node has to say that it keeps it), the client's reply waits for that.
    fn answer(
        &self,
        reply: Result<CommandReply, RouterError>,
        done: impl FnOnce(Result<Answer, Fault>) + Send + 'static,
    ) {
        let mut reply = match reply {
            Ok(reply) => reply,
            Err(error) => return done(Err(error.into())),
        };
        let code = u16::try_from(reply.code)
            .ok()
            .and_then(Code::from_json)
            .unwrap_or(Code::Internal);
        if !code.is_success() {
            return done(Err(Fault::Refused {
                code,
                message: reply.message,
            }));
        }
        let mut pushed = Vec::with_capacity(reply.pushes.len());
        let asked = !reply.pushes.is_empty();
        for order in std::mem::take(&mut reply.pushes) {
            match self.push_order(order) {
                Ok(order) => pushed.push(self.delivery.push_now(order, self.clock.now())),
                Err(error) => {
                    self.bad_orders.increment(1);
                    tracing::warn!(%error, "a back end's reply asked for a push that cannot be made");
                }
            }
        }
        if pushed.iter().all(Pushed::is_accepted) {
            return done(told(reply, asked, &pushed));
        }
        let later = async move {
            for one in &pushed {
                one.secured().await;
            }
            done(told(reply, asked, &pushed));
        };
        self.tasks.spawn_on(later, &self.services);
    }

    /// Parses what somebody asks to be pushed.
    ///
    /// # Errors
    /// Says which part of the order is wrong.
    pub fn push_order(&self, order: wire::PushOrder) -> Result<PushOrder, OrderError> {
        let body = order
            .push
            .ok_or(OrderError::NoPush)
            .and_then(|push| self.push_body(push))?;
        let target = match (order.user_ids.is_empty(), order.device) {
            (false, None) if order.user_ids.len() > MAX_TARGETS => return Err(OrderError::TooMany),
            (false, None) => Target::Users(
                order
                    .user_ids
                    .iter()
                    .map(|id| UserId::parse(id).map_err(|error| OrderError::Id("user_id", error)))
                    .collect::<Result<_, _>>()?,
            ),
            (true, Some(device)) => Target::Device {
                user: UserId::parse(&device.user_id).map_err(|error| OrderError::Id("user_id", error))?,
                device: DeviceId::parse(&device.device_id)
                    .map_err(|error| OrderError::Id("device_id", error))?,
                platform: Platform::parse(&device.platform)
                    .map_err(|error| OrderError::Id("platform", error))?,
            },
            _ => return Err(OrderError::Target),
        };
        Ok(PushOrder { body, target })
    }

    /// Parses a push; one without an id gets one.
    ///
    /// # Errors
    /// Where its id is too long or its type is none.
    pub fn push_body(&self, push: wire::Push) -> Result<PushBody, OrderError> {
        Ok(self.with_push_id(PushBody::try_from(push)?))
    }

    /// Gives a push an id where it has none.
    pub fn with_push_id(&self, mut body: PushBody) -> PushBody {
        if body.push_id.is_empty() {
            body.push_id = self.request_id().to_string();
        }
        body
    }
}

/// What the client gets of a reply whose pushes have been made.
fn told(reply: CommandReply, asked: bool, pushed: &[Pushed]) -> Result<Answer, Fault> {
    let mut reached = false;
    for one in pushed {
        if one.any_queued() {
            reached = true;
        } else if one.any_failed() {
            return Err(Fault::rule(Code::Unavailable, "the push could not be kept"));
        }
    }
    let offline = asked && !reached && !reply.body_if_offline.is_empty();
    Ok(Answer {
        type_name: reply.type_name,
        body: if offline {
            reply.body_if_offline
        } else {
            reply.body
        },
        identity: reply.identity,
    })
}

/// Why a push order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Neither users nor a device, or both.
    #[error("a push order names either users or one device")]
    Target,
    /// More than [`MAX_TARGETS`].
    #[error("a push order names at most {MAX_TARGETS} users")]
    TooMany,
    /// There is nothing to push.
    #[error("the push is missing")]
    NoPush,
    /// An id that is not one.
    #[error("{0} {1}")]
    Id(&'static str, IdError),
    /// The push itself.
    #[error(transparent)]
    Push(#[from] gateway_codec::PushError),
}
