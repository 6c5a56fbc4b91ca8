//! `mychat.backend.v1.Backend` over gRPC. The offline box is the message service's alone.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use gateway_codec::proto::backend::{
    CommandBatch, CommandReply, CommandRequest, DeliveredReply, DeliveredRequest, RecordOfflineReply,
    RecordOfflineRequest, ReplyBatch, SessionBoundReply, SessionBoundRequest, SessionsBoundReply,
    SessionsBoundRequest, backend_server::Backend,
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use crate::{engine::Engine, faults::Fate, options::ServiceKind, stream::CommandStream};

/// Of all boxes that are asked for together; those for which there is no room are asked for again.
const PUSHES_IN_ONE_REPLY: usize = 2_000;

/// The gRPC face of one service.
pub(crate) struct BackendService {
    engine: Arc<Engine>,
}

impl BackendService {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Faults for the calls that are not commands; also says who keeps an offline box.
    async fn offline_box(&self) -> Result<&crate::store::offline::OfflineBoxes, Status> {
        if self.engine.kind != ServiceKind::Message {
            return Err(Status::unimplemented(
                "only the message service keeps an offline box",
            ));
        }
        match self.engine.faults.fate() {
            Fate::Hang => {
                self.engine.ending.cancelled().await;
                Err(Status::unavailable("the service ends"))
            }
            Fate::Fail(code) => Err(Status::new(tonic::Code::from_i32(code.grpc()), "made-up fault")),
            Fate::Run(latency) => {
                self.engine.take_time(latency).await;
                Ok(&self.engine.shared.store.offline)
            }
        }
    }
}

#[tonic::async_trait]
impl Backend for BackendService {
    async fn call(&self, request: Request<CommandRequest>) -> Result<Response<CommandReply>, Status> {
        let (tell, answered) = oneshot::channel();
        self.engine.submit(request.into_inner(), None, move |reply| {
            // Nobody to tell: the caller has gone.
            let _ = tell.send(reply);
        });
        match answered.await {
            Ok(Some(reply)) => Ok(Response::new(reply)),
            Ok(None) => {
                // Left hanging: the caller's deadline or the end of the service comes first.
                self.engine.ending.cancelled().await;
                Err(Status::unavailable("the service ends"))
            }
            Err(_) => Err(Status::unavailable("the service ends")),
        }
    }

    type StreamStream = Pin<Box<dyn Stream<Item = Result<ReplyBatch, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<CommandBatch>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let commands = CommandStream::new(Arc::clone(&self.engine), request.into_inner());
        let replies = stream::unfold(commands, async |mut commands| {
            let replies = commands.next_batch().await?;
            Some((Ok(ReplyBatch { replies }), commands))
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn session_bound(
        &self,
        request: Request<SessionBoundRequest>,
    ) -> Result<Response<SessionBoundReply>, Status> {
        let (pushes, more) = self.offline_box().await?.waiting(&request.into_inner().user_id);
        Ok(Response::new(SessionBoundReply { pushes, more }))
    }

    async fn sessions_bound(
        &self,
        request: Request<SessionsBoundRequest>,
    ) -> Result<Response<SessionsBoundReply>, Status> {
        let boxes = self.offline_box().await?;
        let mut replies = Vec::new();
        let mut length = 0;
        for session in request.into_inner().sessions {
            let (pushes, more) = boxes.waiting(&session.user_id);
            length += pushes.len();
            if length > PUSHES_IN_ONE_REPLY && !replies.is_empty() {
                break;
            }
            replies.push(SessionBoundReply { pushes, more });
        }
        Ok(Response::new(SessionsBoundReply { replies }))
    }

    async fn delivered(
        &self,
        request: Request<DeliveredRequest>,
    ) -> Result<Response<DeliveredReply>, Status> {
        let DeliveredRequest { user_id, push_ids } = request.into_inner();
        self.offline_box().await?.delivered(&user_id, &push_ids);
        Ok(Response::new(DeliveredReply {}))
    }

    async fn record_offline(
        &self,
        request: Request<RecordOfflineRequest>,
    ) -> Result<Response<RecordOfflineReply>, Status> {
        let boxes = self.offline_box().await?;
        for recorded in request.into_inner().pushes {
            let Some(push) = recorded.push.filter(|push| !push.push_id.is_empty()) else {
                return Err(Status::invalid_argument("a push without push_id"));
            };
            if recorded.user_id.is_empty() {
                return Err(Status::invalid_argument("a push without user_id"));
            }
            boxes
                .record(&recorded.user_id, push)
                .map_err(|full| Status::resource_exhausted(full.to_string()))?;
        }
        Ok(Response::new(RecordOfflineReply {}))
    }
}
