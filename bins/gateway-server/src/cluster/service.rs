//! Streams from other nodes.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use gateway_auth::Clock;
use gateway_codec::NodeId;
use gateway_codec::proto::cluster::peer_server::Peer;
use gateway_codec::proto::cluster::{Answers, Batch};
use gateway_conn::{Delivery, Origin};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::{BOOT, LARGEST_BATCH, NODE, NodeProof};

/// Answers sent in one message.
const AT_ONCE: usize = 256;

/// `mychat.cluster.v1.Peer`.
pub struct PeerService {
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    /// `None`: this node is alone, and takes no streams.
    proof: Option<NodeProof>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl PeerService {
    /// The service; streams end with `stop`, and `tasks` waits for them.
    pub fn new(
        delivery: Arc<Delivery>,
        clock: Arc<dyn Clock>,
        proof: Option<NodeProof>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            delivery,
            clock,
            proof,
            tasks,
            stop,
        }
    }

    /// The size that a batch may have.
    pub fn largest_batch() -> usize {
        LARGEST_BATCH
    }

    /// Who calls, if it may.
    fn origin(&self, request: &Request<Streaming<Batch>>) -> Result<Origin, Status> {
        let entry = |name| {
            let value = request.metadata().get(name)?;
            value.to_str().ok()
        };
        let alone = || Status::unauthenticated("this node is alone");
        self.proof.as_ref().ok_or_else(alone)?.check(request)?;
        let bad = || Status::invalid_argument("a node names itself and its process");
        Ok(Origin {
            node: NodeId::parse(entry(NODE).ok_or_else(bad)?).map_err(|_| bad())?,
            boot: Arc::from(entry(BOOT).ok_or_else(bad)?),
        })
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<Answers, Status>> + Send>>;

    async fn link(&self, request: Request<Streaming<Batch>>) -> Result<Response<Self::LinkStream>, Status> {
        let origin = self.origin(&request)?;
        let mut batches = request.into_inner();
        let (inbound, answers) = self.delivery.inbound(origin.clone());
        let (clock, stop) = (self.clock.clone(), self.stop.clone());
        let overrun = inbound.overrun();
        let ended = overrun.clone();
        self.tasks.spawn(async move {
            tracing::info!(node = %origin.node, "a node is linked to this one");
            loop {
                let batch = tokio::select! {
                    () = stop.cancelled() => break,
                    () = overrun.cancelled() => {
                        tracing::error!(node = %origin.node, "a node does not take its answers; its stream is ended");
                        break;
                    }
                    batch = batches.message() => batch,
                };
                match batch {
                    Ok(Some(batch)) => inbound.take(batch, clock.now()),
                    Ok(None) | Err(_) => break,
                }
            }
            tracing::info!(node = %origin.node, "a node's stream has ended");
        });
        let answers = ReceiverStream::new(answers)
            .ready_chunks(AT_ONCE)
            .map(|answers| Ok(Answers { answers }))
            .take_until(async move { ended.cancelled().await });
        Ok(Response::new(Box::pin(answers)))
    }
}
