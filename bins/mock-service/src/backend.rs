//! `mychat.backend.v1.Backend` over gRPC.
//!
//! A stream has at most 4,096 commands unanswered; past that it is not read until replies have gone, which
//! HTTP/2 flow control passes on to the gateway. The offline box is the message service's alone.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use gateway_codec::{
    Code,
    proto::backend::{
        Command, CommandBatch, CommandReply, CommandRequest, DeliveredReply, DeliveredRequest,
        RecordOfflineReply, RecordOfflineRequest, Reply, ReplyBatch, SessionBoundReply, SessionBoundRequest,
        backend_server::Backend,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};

use crate::{engine::Engine, error::ServiceError, faults::Fate, options::ServiceKind, wire};

const STREAM_IN_FLIGHT: usize = 4_096;
const MOST_IN_BATCH: usize = 256;

/// The gRPC face of one service.
pub(crate) struct BackendService {
    engine: Arc<Engine>,
}

/// A reply on its way out, with the place that it takes on its stream until it is gone.
type Outgoing = (Reply, OwnedSemaphorePermit);

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
        let (replies, outgoing) = mpsc::channel::<Outgoing>(STREAM_IN_FLIGHT);
        let reading = read_commands(Arc::clone(&self.engine), request.into_inner(), replies);
        self.engine.tasks.spawn(reading);
        Ok(Response::new(Box::pin(stream::unfold(outgoing, next_batch))))
    }

    async fn session_bound(
        &self,
        request: Request<SessionBoundRequest>,
    ) -> Result<Response<SessionBoundReply>, Status> {
        let (pushes, more) = self.offline_box().await?.waiting(&request.into_inner().user_id);
        Ok(Response::new(SessionBoundReply { pushes, more }))
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

/// Reads a stream of commands until it ends, its peer is gone or the service ends.
async fn read_commands(
    engine: Arc<Engine>,
    mut commands: Streaming<CommandBatch>,
    replies: mpsc::Sender<Outgoing>,
) {
    let room = Arc::new(Semaphore::new(STREAM_IN_FLIGHT));
    let read = async {
        loop {
            let Ok(Some(batch)) = commands.message().await else {
                return;
            };
            let received = Instant::now();
            for command in batch.commands {
                let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                    return;
                };
                submit(&engine, command, received, place, replies.clone());
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = replies.closed() => {}
        () = engine.ending.cancelled() => {}
    }
}

fn submit(
    engine: &Arc<Engine>,
    command: Command,
    received: Instant,
    place: OwnedSemaphorePermit,
    replies: mpsc::Sender<Outgoing>,
) {
    let Command {
        correlation_id,
        timeout_ms,
        request,
    } = command;
    let answer = move |reply: Option<CommandReply>| {
        // Never full: it has as many slots as there are places. Closed: the peer has gone.
        if let Some(reply) = reply {
            let _ = replies.try_send((
                Reply {
                    correlation_id,
                    reply: Some(reply),
                },
                place,
            ));
        }
    };
    let Some(request) = request else {
        return answer(Some(wire::refusal(&ServiceError::new(
            Code::BadRequest,
            "no request",
        ))));
    };
    let deadline = (timeout_ms > 0).then(|| received + Duration::from_millis(timeout_ms.into()));
    engine.submit(request, deadline, answer);
}

/// Whatever replies are ready, as one message.
async fn next_batch(
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> Option<(Result<ReplyBatch, Status>, mpsc::Receiver<Outgoing>)> {
    let mut ready = Vec::new();
    if outgoing.recv_many(&mut ready, MOST_IN_BATCH).await == 0 {
        return None;
    }
    let replies = ready.into_iter().map(|(reply, _place)| reply).collect();
    Some((Ok(ReplyBatch { replies }), outgoing))
}
