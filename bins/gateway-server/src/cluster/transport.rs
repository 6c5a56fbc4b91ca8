//! Streams to other nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use gateway_codec::NodeId;
use gateway_codec::proto::cluster::Batch;
use gateway_codec::proto::cluster::peer_client::PeerClient;
use gateway_config::Secret;
use gateway_conn::PeerTransport;
use gateway_conn::cluster::{AnswerStream, TransportError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use super::{BOOT, LARGEST_BATCH, NODE, SECRET};

/// Windows of HTTP/2, for a stream and for all: what is under way to a node must not wait for its acknowledgements.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// gRPC to the listeners of other nodes, each stream on a connection of its own.
pub struct GrpcTransport {
    secret: Arc<Secret>,
    node: NodeId,
    boot: String,
    connect: Duration,
}

impl GrpcTransport {
    /// Speaks for `node` and its process `boot`.
    pub fn new(secret: Secret, node: NodeId, boot: String, connect: Duration) -> Self {
        Self {
            secret: Arc::new(secret),
            node,
            boot,
            connect,
        }
    }
}

#[async_trait]
impl PeerTransport for GrpcTransport {
    async fn open(
        &self,
        address: &str,
        frames: mpsc::Receiver<Batch>,
    ) -> Result<AnswerStream, TransportError> {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| failed(&error))?
            .connect_timeout(self.connect)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| failed(&error))?;
        let mut request = tonic::Request::new(ReceiverStream::new(frames));
        let entries = [
            (SECRET, self.secret.expose()),
            (NODE, self.node.as_str()),
            (BOOT, self.boot.as_str()),
        ];
        for (name, value) in entries {
            let mut value: MetadataValue<Ascii> = value
                .parse()
                .map_err(|_| TransportError(format!("{name} is not plain ASCII")))?;
            value.set_sensitive(name == SECRET);
            request.metadata_mut().insert(name, value);
        }
        let answers = PeerClient::new(channel)
            .max_decoding_message_size(LARGEST_BATCH)
            .link(request)
            .await
            .map_err(|error| TransportError(format!("{:?}", error.code())))?
            .into_inner();
        Ok(answers
            .map(|answer| answer.map_err(|error| TransportError(format!("{:?}", error.code()))))
            .boxed())
    }
}

fn failed(error: &tonic::transport::Error) -> TransportError {
    TransportError(error.to_string())
}
