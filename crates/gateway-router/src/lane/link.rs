//! One HTTP/2 connection to an endpoint with one stream of commands on it.
//!
//! Tonic and hyper hide a GOAWAY until the connection ends, which is too late: a server that closes aged connections
//! announces it by GOAWAY, goes on with the open stream for its grace, and then cuts it. A lane has to stop sending in
//! between, so it drives h2 itself: connection, requests and replies in one task, without a channel between them.
//!
//! A link counts as connected once the server's SETTINGS have come. Until then nothing is sent on the stream, so a
//! proxy that accepts and closes at once costs no command.
//!
//! This module knows frames and streams, [`reply`](super::reply) the messages in them, [`task`](super::task) what an
//! end means for the commands.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use tokio::net::TcpStream;
use tokio_util::io::InspectReader;
use tonic::Status;

use crate::endpoint::{CONNECTION_WINDOW, Endpoint, STREAM_WINDOW};
use crate::error::RouterError;
use crate::lane::reply::{Encoding, REPLY_BYTES, Reader, Replies, Unreadable};

const STREAM_PATH: &str = "/mychat.backend.v1.Backend/Stream";
/// Header fields of one response, in bytes.
const HEADER_LIST: u32 = 64 * 1024;

type Socket = InspectReader<TcpStream, Box<dyn FnMut(&[u8]) + Send + Sync>>;

/// See the module.
pub(crate) struct Link {
    /// `None` once it has ended.
    connection: Option<Connection<Socket, Bytes>>,
    /// `None` once the server has announced the end.
    requests: Option<SendRequest<Bytes>>,
    outbound: SendStream<Bytes>,
    /// The server lets the stream be open.
    open: bool,
    inbound: Inbound,
    /// A reply has come.
    heard: bool,
}

enum Inbound {
    Head(ResponseFuture),
    Body { stream: RecvStream, reader: Reader },
}

/// The server takes no new streams on this connection; the open one goes on, for a time.
#[derive(Debug)]
pub(crate) struct GoingAway {
    /// Of the GOAWAY.
    pub(crate) reason: Reason,
    /// The GOAWAY as text, with its debug data.
    pub(crate) detail: String,
}

/// How a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// By a gRPC status.
    #[error("gRPC status {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// Without one.
    #[error("the stream ended without a gRPC status")]
    NoStatus,
    /// The other end is no gRPC server.
    #[error("not a gRPC response: HTTP status {status}, content type {content_type:?}")]
    NotGrpc {
        status: StatusCode,
        content_type: String,
    },
    /// A reply cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The server has not looked at the stream: `REFUSED_STREAM`, or above the last stream of its GOAWAY.
    #[error("refused unprocessed: {0}")]
    Refused(h2::Error),
    /// By the connection or a reset.
    #[error("{0}")]
    Broken(h2::Error),
}

impl End {
    /// What the end means for the commands that were on the stream.
    pub(crate) fn error(&self) -> RouterError {
        match self {
            Self::Status(status) => RouterError::from_status(status),
            Self::NotGrpc { status, .. }
                if !status.is_server_error() && *status != StatusCode::TOO_MANY_REQUESTS =>
            {
                RouterError::BadReply
            }
            Self::Unreadable(_) => RouterError::BadReply,
            Self::NoStatus | Self::NotGrpc { .. } | Self::Refused(_) | Self::Broken(_) => {
                RouterError::Disconnected
            }
        }
    }
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLink {
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
    #[error("the connection ended before the server's SETTINGS")]
    NoSettings,
    #[error("connecting took too long")]
    Timeout,
    #[error("the endpoint's address is not usable: {0}")]
    Address(#[from] http::Error),
}

impl Link {
    /// Connects to the endpoint and opens the stream, within the endpoint's connect timeout.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, NoLink> {
        match tokio::time::timeout(endpoint.connect_timeout, Self::open(endpoint)).await {
            Ok(link) => link,
            Err(_) => Err(NoLink::Timeout),
        }
    }

    async fn open(endpoint: &Endpoint) -> Result<Self, NoLink> {
        let request = request(&endpoint.origin)?;
        let heard = Arc::new(AtomicBool::new(false));
        let note = heard.clone();
        let inspect = move |bytes: &[u8]| {
            if !bytes.is_empty() {
                note.store(true, Ordering::Relaxed);
            }
        };
        let socket: Socket = InspectReader::new(endpoint.socket().await?, Box::new(inspect));
        let (requests, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .enable_push(false)
            .handshake(socket)
            .await?;
        // The first bytes of a server are its SETTINGS; anything else is an error here.
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(NoLink::NoSettings)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending if heard.load(Ordering::Relaxed) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let mut requests = requests.ready().await?;
        let (response, outbound) = requests.send_request(request, false)?;
        Ok(Self {
            connection: Some(connection),
            requests: Some(requests),
            outbound,
            open: false,
            inbound: Inbound::Head(response),
            heard: false,
        })
    }

    /// Reads from and writes to the socket. Call it first in every poll: the other calls give what it has read.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = Pin::new(connection).poll(cx)
        {
            // The stream says how it ended.
            tracing::trace!(?ended, "a connection to a back end ended");
            self.connection = None;
        }
    }

    /// Whether the server has announced since the last call that the connection will end.
    pub(crate) fn going_away(&mut self, cx: &mut Context<'_>) -> Option<GoingAway> {
        match self.requests.as_mut()?.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                self.open = true;
                None
            }
            Poll::Pending => None,
            Poll::Ready(Err(error)) => {
                self.requests = None;
                let reason = error
                    .reason()
                    .filter(|_| error.is_go_away() && error.is_remote())?;
                Some(GoingAway {
                    reason,
                    detail: error.to_string(),
                })
            }
        }
    }

    /// The next replies, or how the stream ended; do not call it again after that.
    pub(crate) fn poll_replies(&mut self, cx: &mut Context<'_>) -> Poll<Result<Replies, End>> {
        loop {
            match &mut self.inbound {
                Inbound::Head(response) => {
                    let response = ready!(Pin::new(response).poll(cx));
                    let response = response.map_err(|error| ended(error, self.heard))?;
                    let encoding = encoding(&response)?;
                    self.inbound = Inbound::Body {
                        stream: response.into_body(),
                        reader: Reader::new(encoding, REPLY_BYTES),
                    };
                }
                Inbound::Body { stream, reader } => match ready!(stream.poll_data(cx)) {
                    Some(Ok(data)) => {
                        // Nothing is kept beyond what the reader bounds.
                        let _ = stream.flow_control().release_capacity(data.len());
                        let replies = reader.read(data)?;
                        if !replies.is_empty() {
                            self.heard = true;
                            return Poll::Ready(Ok(replies));
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Err(ended(error, self.heard))),
                    None => {
                        let trailers = ready!(stream.poll_trailers(cx));
                        let trailers = trailers.map_err(|error| ended(error, self.heard))?;
                        return Poll::Ready(Err(trailers.as_ref().map_or(End::NoStatus, status)));
                    }
                },
            }
        }
    }

    /// Ready when the server's windows have room for more commands; a started batch may exceed them.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.open {
            return Poll::Pending;
        }
        while self.outbound.capacity() == 0 {
            self.outbound.reserve_capacity(1);
            match ready!(self.outbound.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                // The stream is over; its replies say how.
                Some(Err(_)) | None => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Sends a gRPC message.
    pub(crate) fn send(&mut self, message: Bytes) {
        // Fails where the stream is over; its replies say how.
        let _ = self.outbound.send_data(message, false);
    }

    /// Ends our half of the stream.
    pub(crate) fn finish(&mut self) {
        let _ = self.outbound.send_data(Bytes::new(), true);
    }
}

fn request(origin: &Uri) -> Result<Request<()>, http::Error> {
    let mut parts = origin.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(STREAM_PATH));
    Request::builder()
        .method(Method::POST)
        .uri(Uri::from_parts(parts)?)
        .version(Version::HTTP_2)
        .header(TE, "trailers")
        .header(CONTENT_TYPE, "application/grpc")
        .header("grpc-accept-encoding", "gzip,identity")
        .header(
            http::header::USER_AGENT,
            concat!("mychat-gateway/", env!("CARGO_PKG_VERSION")),
        )
        .body(())
}

/// Checks the head of the response; gives how its messages are compressed.
fn encoding<T>(response: &Response<T>) -> Result<Encoding, End> {
    let headers = response.headers();
    let text = |value: Option<&HeaderValue>| {
        value.map_or_else(String::new, |value| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        })
    };
    // An error may come as headers only.
    if headers.contains_key("grpc-status") {
        return Err(status(headers));
    }
    let content_type = text(headers.get(CONTENT_TYPE));
    if response.status() != StatusCode::OK || !content_type.starts_with("application/grpc") {
        return Err(End::NotGrpc {
            status: response.status(),
            content_type,
        });
    }
    Ok(match text(headers.get("grpc-encoding")).as_str() {
        "" | "identity" => Encoding::Identity,
        "gzip" => Encoding::Gzip,
        other => Encoding::Other(other.to_owned()),
    })
}

fn status(headers: &HeaderMap) -> End {
    Status::from_header_map(headers).map_or(End::NoStatus, |status| End::Status(Box::new(status)))
}

/// `heard`: a reply has come, so the stream was not unprocessed, whatever is said about it now.
///
/// A GOAWAY without an error fails only the streams above the last one that it names (RFC 9113, 6.8). One with an error
/// fails all of them when the connection ends, and h2 does not say which: commands may have been carried out.
fn ended(error: h2::Error, heard: bool) -> End {
    let refused = match error.reason() {
        Some(Reason::REFUSED_STREAM) => error.is_remote(),
        Some(Reason::NO_ERROR) => error.is_remote() && error.is_go_away(),
        _ => false,
    };
    if refused && !heard {
        End::Refused(error)
    } else {
        End::Broken(error)
    }
}
