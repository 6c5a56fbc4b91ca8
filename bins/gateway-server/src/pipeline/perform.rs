//! Carries out a command whose sender may ask for it: here, in a handler of the embedding program, or at a
//! back end.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gateway_codec::{Body, Claims, Code, Payload, ReadError, ReplyTo, Request, read_object};
use gateway_config::{LocalHandler, ServiceName};
use gateway_router::CallLimits;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::handlers::Command;
use super::session::{Bound, Session};
use super::{Action, Pipeline, Target};
use crate::fault::Fault;
use crate::params;
use crate::sign_in::{self, Device, Login};
use crate::upstream::{Answer, Caller};

impl Pipeline {
    pub(super) fn perform(
        self: &Arc<Self>,
        session: &Arc<Session>,
        bound: Option<Bound>,
        request: Request<'_>,
        target: Target,
    ) {
        match (target.action, target.route) {
            (Action::Local(LocalHandler::Heartbeat), _) => {
                let data = heartbeat(self.clock.now());
                self.reply(session, bound.as_ref(), &request.reply_to, Body::Written(&data));
            }
            (Action::Local(LocalHandler::PushAck), _) => self.acknowledge(session, &request),
            (Action::Local(LocalHandler::VerifyToken), _) => self.verify(session, bound, request),
            (Action::Local(LocalHandler::RefreshToken), _) => self.refresh(session, bound, request),
            (Action::Local(LocalHandler::Login), Some(route)) => self.login(session, request, route.limits()),
            (Action::Service(service), Some(route)) => {
                self.forward(session, bound, &request, &service, route.limits());
            }
            (Action::Embedded(cmd_id), _) => self.handle_here(session, bound, &request, cmd_id),
            // A login and a service come from a route.
            (Action::Local(LocalHandler::Login) | Action::Service(_), None) => {}
        }
    }

    /// To a back end. The place in the order of the session's commands is taken before this returns.
    fn forward(
        self: &Arc<Self>,
        session: &Arc<Session>,
        bound: Option<Bound>,
        request: &Request<'_>,
        service: &ServiceName,
        limits: CallLimits,
    ) {
        let claimed = &request.claims;
        let command = self
            .upstream
            .command(request, caller(session, bound.as_ref(), claimed));
        let in_flight = self.in_flight(session, bound, request.reply_to.clone());
        self.upstream
            .submit(&session.flow, service, command, limits, |answer| {
                in_flight.end(answer)
            });
    }

    /// To a handler of the embedding program.
    fn handle_here(
        self: &Arc<Self>,
        session: &Arc<Session>,
        bound: Option<Bound>,
        request: &Request<'_>,
        cmd_id: u32,
    ) {
        let caller = caller(session, bound.as_ref(), &request.claims);
        let answer = self.handlers.call(cmd_id, Command::new(request, caller));
        let in_flight = self.in_flight(session, bound, request.reply_to.clone());
        self.tasks.spawn(async move { in_flight.end(answer.await) });
    }

    fn in_flight(
        self: &Arc<Self>,
        session: &Arc<Session>,
        bound: Option<Bound>,
        reply_to: ReplyTo,
    ) -> InFlight {
        session.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight {
            pipeline: self.clone(),
            session: session.clone(),
            bound,
            reply_to,
            began: Instant::now(),
        }
    }

    /// 5006: no reply, unless it cannot be read.
    fn acknowledge(&self, session: &Session, request: &Request<'_>) {
        match data::<PushAck>(request) {
            Ok(ack) if ack.push_id.is_empty() => {
                self.refuse(session, &request.reply_to, &Fault::missing("push_id"));
            }
            Ok(ack) => {
                session.set_acknowledges();
                self.delivery.acked(session.id, &ack.push_id);
            }
            Err(fault) => self.refuse(session, &request.reply_to, &fault),
        }
    }

    /// 1002: binds an unbound session; on a bound one takes a later expiry.
    fn verify(self: &Arc<Self>, session: &Arc<Session>, bound: Option<Bound>, request: Request<'_>) {
        let (token, last_push_id) = match data::<VerifyToken>(&request) {
            Ok(data) if !data.token.is_empty() => (data.token, data.last_push_id),
            Ok(data) if !request.claims.token.is_empty() => {
                (request.claims.token.to_string(), data.last_push_id)
            }
            Ok(_) => {
                return self.refuse(session, &request.reply_to, &Fault::missing("token"));
            }
            Err(fault) => return self.refuse(session, &request.reply_to, &fault),
        };
        let last_push_id = match params::last_push_id(last_push_id) {
            Ok(id) => id,
            Err(error) => return self.refuse(session, &request.reply_to, &error.into()),
        };
        let device_id = request.claims.device_id.into_owned();
        let reply_to = request.reply_to;
        self.aside(session, move |pipeline, session| async move {
            let done = match &bound {
                Some(bound) => match pipeline.confirm(bound).await {
                    Ok(()) => pipeline.renew(&session, bound, &token).await.map(|()| false),
                    Err(fault) => Err(fault),
                },
                None => pipeline
                    .bind_by_token(&session, &token, &device_id, reply_to.encoding())
                    .await
                    .map(|_| true),
            };
            match (done, session.bound()) {
                (Ok(new), Some(bound)) => {
                    let info = json!({"valid": true, "user_info": sign_in::token_info(&bound.identity)});
                    pipeline.reply(
                        &session,
                        Some(&bound),
                        &reply_to,
                        Body::Written(&info.to_string()),
                    );
                    if new {
                        pipeline.catch_up(&session, &bound, last_push_id.as_deref());
                    }
                }
                (Err(fault), _) => pipeline.refuse(&session, &reply_to, &fault),
                (Ok(_), None) => {} // closed meanwhile
            }
        });
    }

    /// 4: a new pair for a refresh token; a bound session of that device takes the later expiry.
    fn refresh(self: &Arc<Self>, session: &Arc<Session>, bound: Option<Bound>, request: Request<'_>) {
        let data = match data::<RefreshToken>(&request) {
            Ok(data) if data.refresh_token.is_empty() => {
                return self.refuse(session, &request.reply_to, &Fault::missing("refresh_token"));
            }
            Ok(data) => data,
            Err(fault) => return self.refuse(session, &request.reply_to, &fault),
        };
        let device_id = match &bound {
            Some(bound) => Some(bound.identity.device_id().to_string()),
            None => [data.device_id.as_str(), &request.claims.device_id]
                .into_iter()
                .find(|id| !id.is_empty())
                .map(str::to_owned),
        };
        let reply_to = request.reply_to;
        self.aside(session, move |pipeline, session| async move {
            match pipeline.sign_in.refresh(&data.refresh_token, device_id.as_deref()).await {
                Ok(pair) => {
                    if let Some(bound) = &bound
                        && let Err(fault) = pipeline.renew(&session, bound, &pair.access_token).await
                    {
                        tracing::debug!(%fault, session_id = %session.id, "a refreshed token is not this session's");
                    }
                    let json = sign_in::pair_json(&pair).to_string();
                    pipeline.reply(&session, bound.as_ref(), &reply_to, Body::Written(&json));
                }
                Err(fault) => pipeline.refuse(&session, &reply_to, &fault),
            }
        });
    }

    /// 1001: the user service says who it is, then come the tokens and the bind.
    fn login(self: &Arc<Self>, session: &Arc<Session>, request: Request<'_>, limits: CallLimits) {
        let device = match self.login_device(session, &request.claims) {
            Ok(device) => device,
            Err(fault) => return self.refuse(session, &request.reply_to, &fault),
        };
        let caller = Caller {
            device_id: device.id.as_str(),
            platform: device.platform.as_str(),
            ..caller(session, None, &request.claims)
        };
        let command = self.upstream.command(&request, caller);
        let reply_to = request.reply_to;
        self.aside(session, move |pipeline, session| async move {
            let service = &pipeline.settings.user_service;
            let bound = match pipeline.sign_in.login(service, limits, command, device).await {
                Ok(login) => pipeline.finish_login(&session, login, &reply_to).await,
                Err(fault) => Err(fault),
            };
            match bound {
                Ok(bound) => pipeline.catch_up(&session, &bound, None),
                Err(fault) => pipeline.refuse(&session, &reply_to, &fault),
            }
        });
    }

    async fn finish_login(
        self: &Arc<Self>,
        session: &Arc<Session>,
        login: Login,
        reply_to: &ReplyTo,
    ) -> Result<Bound, Fault> {
        let identity = login.pair.identity.clone();
        let bound = match self
            .bind(
                session,
                identity.clone(),
                &login.pair.access_token,
                reply_to.encoding(),
            )
            .await
        {
            Ok(bound) => bound,
            Err(fault) => {
                // Nobody will ever hold this pair.
                self.sign_in.discard(&identity).await;
                return Err(fault);
            }
        };
        let json = sign_in::login_json(&login).to_string();
        if login.answer.type_name.is_empty() {
            self.reply(session, Some(&bound), reply_to, Body::Written(&json));
        } else {
            let mut body = login.answer.body.to_vec();
            gateway_codec::add_base_payload(&mut body, json.as_bytes());
            let type_name = &login.answer.type_name;
            self.reply(
                session,
                Some(&bound),
                reply_to,
                Body::Protobuf {
                    type_name,
                    body: &body,
                },
            );
        }
        Ok(bound)
    }

    /// The device a login is for: what the message says, else what the handshake said.
    fn login_device(&self, session: &Session, claims: &Claims<'_>) -> Result<Device, Fault> {
        let claimed = session.state().claimed();
        let or = |said: &str, before: Option<String>| {
            if said.is_empty() {
                before.unwrap_or_default()
            } else {
                said.to_owned()
            }
        };
        let device_id = or(&claims.device_id, claimed.device_id.map(|id| id.to_string()));
        let platform = or(
            &claims.platform,
            claimed.platform.map(|platform| platform.to_string()),
        );
        self.sign_in.device(&device_id, &platform)
    }

    /// Work that later messages of the session wait for.
    fn aside<F, Fut>(self: &Arc<Self>, session: &Arc<Session>, work: F)
    where
        F: FnOnce(Arc<Pipeline>, Arc<Session>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        self.hold(session);
        let (pipeline, session) = (self.clone(), session.clone());
        self.tasks.spawn(async move {
            work(pipeline.clone(), session.clone()).await;
            pipeline.release(&session);
        });
    }
}

/// A command whose answer is not there yet.
struct InFlight {
    pipeline: Arc<Pipeline>,
    session: Arc<Session>,
    bound: Option<Bound>,
    reply_to: ReplyTo,
    began: Instant,
}

impl InFlight {
    /// Replies, and reads on where the session had as many commands under way as it may.
    fn end(self, answer: Result<Answer, Fault>) {
        let Self {
            pipeline,
            session,
            bound,
            reply_to,
            began,
        } = self;
        pipeline.load.answered(began.elapsed());
        match answer {
            Ok(answer) => pipeline.reply(&session, bound.as_ref(), &reply_to, answer.body()),
            Err(fault) => pipeline.refuse(&session, &reply_to, &fault),
        }
        let were = session.in_flight.fetch_sub(1, Ordering::Relaxed);
        if were == pipeline.settings.in_flight {
            session.resume_reading();
        }
    }
}

/// Data of command 5006.
#[derive(Deserialize, Default)]
#[serde(default)]
struct PushAck {
    push_id: String,
}

/// Data of command 1002.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct VerifyToken {
    pub(crate) token: String,
    /// The last push that the device has; for a session that is bound by this command.
    last_push_id: Option<String>,
}

/// Data of command 4.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct RefreshToken {
    pub(crate) refresh_token: String,
    device_id: String,
}

/// Reply data of a heartbeat.
pub fn heartbeat(now: gateway_codec::Timestamp) -> String {
    let mut data = String::with_capacity(48);
    for part in [r#"{"timestamp":""#, &now.to_rfc3339(), r#""}"#] {
        data.push_str(part);
    }
    data
}

/// How errors name the data of a command.
const DATA: &str = "data of this command";

/// The data of a command that is answered here: JSON, in either encoding.
pub fn data<T: DeserializeOwned>(request: &Request<'_>) -> Result<T, Fault> {
    read_object(json_payload(request)?).map_err(|error| Fault::unreadable(DATA, &error))
}

/// The data of a login by HTTP, which goes on to the user service as it stands.
pub fn login_data<'r>(request: &'r Request<'_>) -> Result<&'r str, Fault> {
    serde_json::from_str::<&RawValue>(json_payload(request)?)
        .map(RawValue::get)
        .map_err(|error| Fault::unreadable(DATA, &ReadError::not_json(&error)))
}

fn json_payload<'r>(request: &'r Request<'_>) -> Result<&'r str, Fault> {
    match &request.payload {
        Payload::Json(json) => Ok(json),
        Payload::Protobuf { .. } => Err(Fault::rule(
            Code::BadRequest,
            "this command takes im.base.BaseRequest",
        )),
    }
}

fn caller<'a>(session: &'a Session, bound: Option<&'a Bound>, claims: &'a Claims<'_>) -> Caller<'a> {
    let address: IpAddr = session.address();
    match bound {
        Some(bound) => Caller {
            identity: Some(&bound.identity),
            session_id: Some(session.id),
            device_id: bound.identity.device_id().as_str(),
            platform: bound.identity.platform().as_str(),
            address,
        },
        None => Caller {
            identity: None,
            session_id: Some(session.id),
            device_id: &claims.device_id,
            platform: &claims.platform,
            address,
        },
    }
}
