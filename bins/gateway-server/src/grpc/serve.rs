//! The gRPC listener: connections come from gateway-net, plain or with their TLS handshake done.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use gateway_codec::proto::FILE_DESCRIPTOR_SET;
use gateway_codec::proto::cluster::peer_server::PeerServer;
use gateway_codec::proto::gateway::gateway_server::GatewayServer;
use gateway_net::{Arrival, ServerTls, StreamListener, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::Connected;

use super::GatewayService;
use super::caller::Shown;
use crate::cluster::PeerService;
use crate::gateway::GatewayError;

/// How long a gRPC call may take: a push may wait 30 s for its outcomes.
const CALL: Duration = Duration::from_secs(40);

/// Bytes of a back end's request, inflated where it is compressed.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;

/// Calls of one connection at once; further ones wait.
const CALLS: usize = 1_024;

/// Connections that may wait to be served; nothing is accepted meanwhile.
const WAITING: usize = 64;

/// What the listener serves with.
pub struct Grpc {
    pub listener: StreamListener,
    pub tls: Option<Arc<ServerTls>>,
    /// For a TLS handshake.
    pub deadline: Duration,
    /// For calls under way once it is to stop.
    pub grace: Duration,
}

impl Grpc {
    /// Serves until `stop`, then for as long as calls are under way, within the grace.
    ///
    /// # Errors
    /// Where the listener or the server fails as a whole.
    pub async fn serve(
        self,
        gateway: GatewayService,
        peers: PeerService,
        stop: CancellationToken,
    ) -> Result<(), GatewayError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<GatewayServer<GatewayService>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // Older tools ask for v1alpha only.
        let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
        // A peer that watches the health keeps its connection open for ever.
        let patience = {
            let (stop, grace) = (stop.clone(), self.grace);
            async move {
                stop.cancelled().await;
                tokio::time::sleep(grace).await;
            }
        };
        let (arrivals, arrived) = mpsc::channel(WAITING);
        let accepting = self.listener.run(self.tls, self.deadline, arrivals, stop.clone());
        let incoming =
            ReceiverStream::new(arrived).map(|arrival| Ok::<_, io::Error>(Incoming::from(arrival)));
        let served = tonic::transport::Server::builder()
            .timeout(CALL)
            .concurrency_limit_per_connection(CALLS)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(
                GatewayServer::new(gateway)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(LARGEST_REQUEST),
            )
            .add_service(PeerServer::new(peers).max_decoding_message_size(PeerService::largest_batch()))
            .add_service(health.accept_compressed(CompressionEncoding::Gzip))
            .add_service(v1.accept_compressed(CompressionEncoding::Gzip))
            .add_service(v1alpha.accept_compressed(CompressionEncoding::Gzip))
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
        let served = async {
            tokio::select! {
                done = served => done.map_err(GatewayError::from),
                () = patience => Ok(()),
            }
        };
        let (accepted, served) = tokio::join!(accepting, served);
        served.and(accepted.map_err(GatewayError::from))
    }
}

/// A connection as tonic wants it.
struct Incoming {
    stream: Transport,
    shown: Shown,
}

impl From<Arrival> for Incoming {
    fn from(arrival: Arrival) -> Self {
        Self {
            shown: Shown(arrival.stream.client_names()),
            stream: arrival.stream,
        }
    }
}

impl Connected for Incoming {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        self.shown.clone()
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
