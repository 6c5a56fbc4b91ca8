//! `mychat.gateway.v1.Gateway`: what back ends may ask of the gateway.
//!
//! Every call proves itself: [`caller`]. The listener is in [`serve`], which hosts the service between nodes too.

pub mod caller;
pub mod serve;

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::UserId;
use gateway_codec::proto::gateway::gateway_server::Gateway;
use gateway_codec::proto::gateway::{
    BroadcastRequest, BroadcastResponse, DeviceOutcome, DevicePresence, KickRequest, KickResponse,
    Outcome as WireOutcome, PresenceRequest, PresenceResponse, PushRequest, PushResponse, UserPresence,
};
use gateway_conn::Outcome;
use tonic::{Request, Response, Status};

use self::caller::BackEnds;
use crate::fault::Fault;
use crate::http::push::MAX_WAIT;
use crate::pipeline::Pipeline;
use crate::presence::{self, Kick};
use crate::upstream::MAX_TARGETS;

/// The service, over the same parts as the WebSocket pipeline.
pub struct GatewayService {
    pipeline: Arc<Pipeline>,
    callers: BackEnds,
}

impl GatewayService {
    /// The service over `pipeline`, for these callers.
    pub fn new(pipeline: Arc<Pipeline>, callers: BackEnds) -> Self {
        Self { pipeline, callers }
    }
}

#[tonic::async_trait]
impl Gateway for GatewayService {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        self.callers.authorize(&request)?;
        let PushRequest { order, wait_ms } = request.into_inner();
        let order = order.ok_or_else(|| Status::invalid_argument("the order is missing"))?;
        let order = self
            .pipeline
            .upstream
            .push_order(order)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let wait = Duration::from_millis(wait_ms.into()).min(MAX_WAIT);
        let wait = (!wait.is_zero()).then_some(wait);
        let report = self
            .pipeline
            .delivery
            .push(order, wait, self.pipeline.clock.now())
            .await;
        let outcomes = report
            .outcomes
            .into_iter()
            .map(|one| DeviceOutcome {
                user_id: one.user_id.to_string(),
                device_id: one
                    .device
                    .as_ref()
                    .map(|(id, _)| id.to_string())
                    .unwrap_or_default(),
                platform: one
                    .device
                    .map(|(_, platform)| platform.to_string())
                    .unwrap_or_default(),
                outcome: wire(one.outcome).into(),
            })
            .collect();
        Ok(Response::new(PushResponse {
            push_id: report.push_id,
            outcomes,
        }))
    }

    async fn broadcast(
        &self,
        request: Request<BroadcastRequest>,
    ) -> Result<Response<BroadcastResponse>, Status> {
        self.callers.authorize(&request)?;
        let push = request
            .into_inner()
            .push
            .ok_or_else(|| Status::invalid_argument("the push is missing"))?;
        let body = self
            .pipeline
            .upstream
            .push_body(push)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let push_id = body.push_id.clone();
        let pipeline = self.pipeline.clone();
        // A caller that gives up half way must not leave half of the sessions without it.
        let broadcast = self
            .pipeline
            .tasks
            .spawn(async move { pipeline.delivery.broadcast(body, pipeline.clock.now()).await });
        let done = broadcast
            .await
            .map_err(|_| Status::unavailable("the gateway is stopping"))?;
        Ok(Response::new(BroadcastResponse {
            push_id,
            queued: done.queued,
            slow: done.slow,
        }))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        self.callers.authorize(&request)?;
        let KickRequest {
            user_id,
            device_id,
            platform,
            reason,
        } = request.into_inner();
        let kick = Kick {
            user_id: &user_id,
            device_id: &device_id,
            platform: &platform,
            reason: &reason,
            by: "a service",
        };
        let kicked = presence::kick(&self.pipeline, kick)
            .await
            .map_err(|fault| status(&fault))?;
        Ok(Response::new(KickResponse {
            kicked: u32::try_from(kicked).unwrap_or(u32::MAX),
        }))
    }

    async fn presence(
        &self,
        request: Request<PresenceRequest>,
    ) -> Result<Response<PresenceResponse>, Status> {
        self.callers.authorize(&request)?;
        let user_ids = request.into_inner().user_ids;
        if user_ids.len() > MAX_TARGETS {
            return Err(Status::invalid_argument(format!("at most {MAX_TARGETS} users")));
        }
        let mut users = Vec::with_capacity(user_ids.len());
        for id in user_ids {
            let user_id =
                UserId::parse(&id).map_err(|_| Status::invalid_argument("a user_id is not valid"))?;
            let sessions = presence::sessions(&self.pipeline, &user_id)
                .await
                .map_err(|fault| status(&fault))?;
            let devices = sessions
                .into_iter()
                .map(|session| DevicePresence {
                    session_id: session.session_id.to_string(),
                    device_id: session.device_id.to_string(),
                    platform: session.platform.to_string(),
                    node: session.node.to_string(),
                    connected_at: session.connected_at.as_millis(),
                })
                .collect();
            users.push(UserPresence { user_id: id, devices });
        }
        Ok(Response::new(PresenceResponse { users }))
    }
}

pub(crate) fn wire(outcome: Outcome) -> WireOutcome {
    match outcome {
        Outcome::Acked => WireOutcome::Acked,
        Outcome::Written => WireOutcome::Written,
        Outcome::Queued => WireOutcome::Queued,
        Outcome::Offline => WireOutcome::Offline,
        Outcome::Slow => WireOutcome::Slow,
        Outcome::Failed => WireOutcome::Failed,
    }
}

fn status(fault: &Fault) -> Status {
    Status::new(tonic::Code::from(fault.code().grpc()), fault.told())
}
