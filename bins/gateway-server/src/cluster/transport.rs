//! Streams to other nodes.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use gateway_codec::NodeId;
use gateway_codec::proto::cluster::Batch;
use gateway_codec::proto::cluster::peer_client::PeerClient;
use gateway_conn::PeerTransport;
use gateway_conn::cluster::{AnswerStream, TransportError};
use gateway_net::ClientTls;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Service;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use super::{BOOT, LARGEST_BATCH, NODE, NodeProof, SECRET};

/// Windows of HTTP/2, for a stream and for all: what is under way to a node must not wait for its acknowledgements.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// gRPC to the listeners of other nodes, each stream on a connection of its own.
pub struct GrpcTransport {
    proof: NodeProof,
    tls: Option<Arc<ClientTls>>,
    node: NodeId,
    boot: String,
    connect: Duration,
}

impl GrpcTransport {
    /// Speaks for `node` and its process `boot`; with `tls` over that alone.
    pub fn new(
        proof: NodeProof,
        tls: Option<Arc<ClientTls>>,
        node: NodeId,
        boot: String,
        connect: Duration,
    ) -> Self {
        Self {
            proof,
            tls,
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
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| failed(&error))?
            .connect_timeout(self.connect)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true);
        let channel = match &self.tls {
            None => endpoint.connect().await,
            Some(tls) => {
                let dial = Dial {
                    address: address.into(),
                    tls: tls.clone(),
                };
                endpoint.connect_with_connector(dial).await
            }
        };
        let channel = channel.map_err(|error| failed(&error))?;
        let mut request = tonic::Request::new(ReceiverStream::new(frames));
        let secret = self.proof.secret().map(|secret| (SECRET, secret.expose()));
        let entries = [(NODE, self.node.as_str()), (BOOT, self.boot.as_str())];
        for (name, value) in entries.into_iter().chain(secret) {
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

/// Connects to a node with TLS. tonic bounds the wait.
struct Dial {
    address: Arc<str>,
    tls: Arc<ClientTls>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (address, tls) = (self.address.clone(), self.tls.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(&*address).await?;
            stream.set_nodelay(true)?;
            tls.connect(stream).await.map(TokioIo::new)
        })
    }
}

/// tonic's own words are only that it has failed; what stands behind them is told too.
fn failed(error: &tonic::transport::Error) -> TransportError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    TransportError(text)
}
