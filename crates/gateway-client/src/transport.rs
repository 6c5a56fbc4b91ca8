//! TCP, the WebSocket handshake, and the two halves of the socket behind it.
//!
//! hyper does the handshake and is gone after it: the plain TCP stream is taken out, with what was read past the
//! response put before it. fastwebsockets reads and frames, with three of its traps kept away: its `read_frame` is
//! called by one loop alone and never dropped to be called again; messages are put together here under one total
//! cap; frames are gathered into one write.

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, after_handshake_split};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Chain};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::ClientError;

type Socket = Chain<Cursor<Bytes>, OwnedReadHalf>;

/// What was sent by the gateway, complete.
#[derive(Debug)]
pub(crate) enum Received {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    Close { code: u16, reason: String },
}

/// What is to be written.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Text(Bytes),
    Binary(Bytes),
    Pong(Bytes),
    /// The last frame: the writer ends after it.
    Close {
        code: u16,
        reason: String,
    },
}

pub(crate) struct Reader {
    frames: WebSocketRead<Socket>,
    limit: usize,
    /// The message under way, where it comes in fragments.
    partial: Option<(OpCode, BytesMut)>,
}

pub(crate) struct Writer {
    socket: OwnedWriteHalf,
    gathered: Vec<u8>,
    frame: Vec<u8>,
}

/// Connects and upgrades. `local` is the address to come from, where that matters (many clients on one host).
pub(crate) async fn open(
    url: &Uri,
    headers: HeaderMap,
    local: Option<SocketAddr>,
    limit: usize,
) -> Result<(Reader, Writer), ClientError> {
    let stream = connect(url, local).await?;
    let request = upgrade_request(url, headers)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let mut response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response.status(), response.headers()));
        }
        Ok(hyper::upgrade::on(&mut response).await?)
    };
    // Driven here and not by a task: it ends with the upgrade, or when `sender` is gone.
    let (upgraded, _) = tokio::join!(exchange, connection.with_upgrades());
    let parts = upgraded?
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| ClientError::Protocol("the upgraded stream is not the one that was connected"))?;
    let (read, write) = parts.io.into_inner().into_split();
    let socket = Cursor::new(parts.read_buf).chain(read);
    // Only the read half of the pair is used; the other writes into nothing.
    let (mut frames, _) = after_handshake_split(socket, tokio::io::sink(), Role::Client);
    frames.set_auto_close(false);
    frames.set_auto_pong(false);
    frames.set_max_message_size(limit.saturating_add(1));
    let writer = Writer {
        socket: write,
        gathered: Vec::new(),
        frame: Vec::new(),
    };
    Ok((
        Reader {
            frames,
            limit,
            partial: None,
        },
        writer,
    ))
}

/// A TCP stream to the URL's host with Nagle's delay off.
pub(crate) async fn connect(url: &Uri, local: Option<SocketAddr>) -> Result<TcpStream, ClientError> {
    let host = url
        .host()
        .ok_or(ClientError::Url("no host"))?
        .trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(80);
    let stream = match local {
        None => TcpStream::connect((host, port)).await?,
        Some(local) => {
            let address = tokio::net::lookup_host((host, port))
                .await?
                .find(|found| found.is_ipv4() == local.is_ipv4());
            let address = address.ok_or(ClientError::Url(
                "the host has no address of the local one's family",
            ))?;
            let socket = if local.is_ipv4() {
                tokio::net::TcpSocket::new_v4()?
            } else {
                tokio::net::TcpSocket::new_v6()?
            };
            socket.bind(local)?;
            socket.connect(address).await?
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn upgrade_request(url: &Uri, headers: HeaderMap) -> Result<Request<Empty<Bytes>>, ClientError> {
    let path = url.path_and_query().map_or("/ws", |path| path.as_str());
    let authority = url.authority().ok_or(ClientError::Url("no host"))?.as_str();
    let mut request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(
            header::SEC_WEBSOCKET_KEY,
            fastwebsockets::handshake::generate_key(),
        )
        .body(Empty::new())
        .map_err(|_| ClientError::Url("not usable in a request"))?;
    request.headers_mut().extend(headers);
    Ok(request)
}

pub(crate) fn refused(status: StatusCode, headers: &HeaderMap) -> ClientError {
    let seconds = headers
        .get(header::RETRY_AFTER)
        .map(HeaderValue::to_str)
        .and_then(Result::ok);
    let retry_after = seconds
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    ClientError::Refused {
        status: status.as_u16(),
        retry_after,
    }
}

impl Reader {
    /// The next whole message or control frame. Not safe to drop and call again: whoever drops it has done with
    /// this connection.
    pub(crate) async fn next(&mut self) -> Result<Received, WebSocketError> {
        loop {
            let frame = self
                .frames
                .read_frame(&mut |_| std::future::ready(io::Result::Ok(())))
                .await?;
            let (fin, opcode, payload) = (frame.fin, frame.opcode, take(frame.payload));
            let (kind, message) = match opcode {
                OpCode::Ping => return Ok(Received::Ping(payload.freeze())),
                OpCode::Pong => return Ok(Received::Pong),
                OpCode::Close => return Ok(close(&payload)),
                OpCode::Text | OpCode::Binary if self.partial.is_some() => {
                    return Err(WebSocketError::InvalidFragment);
                }
                OpCode::Text | OpCode::Binary => (opcode, payload),
                OpCode::Continuation => {
                    let Some((kind, mut message)) = self.partial.take() else {
                        return Err(WebSocketError::InvalidContinuationFrame);
                    };
                    if message.len() + payload.len() > self.limit {
                        return Err(WebSocketError::FrameTooLarge);
                    }
                    message.extend_from_slice(&payload);
                    (kind, message)
                }
            };
            if !fin {
                self.partial = Some((kind, message));
                continue;
            }
            return match kind {
                OpCode::Text => String::from_utf8(message.into())
                    .map(Received::Text)
                    .map_err(|_| WebSocketError::InvalidUTF8),
                _ => Ok(Received::Binary(message.freeze())),
            };
        }
    }
}

/// The payload as a buffer of its own; the usual case costs nothing.
fn take(payload: Payload<'_>) -> BytesMut {
    match payload {
        Payload::Bytes(bytes) => bytes,
        other => BytesMut::from(&*other),
    }
}

/// RFC 6455, 7.1.5: no code in the frame counts as 1005.
fn close(payload: &[u8]) -> Received {
    match payload {
        [high, low, reason @ ..] => Received::Close {
            code: u16::from_be_bytes([*high, *low]),
            reason: String::from_utf8_lossy(reason).into_owned(),
        },
        _ => Received::Close {
            code: 1005,
            reason: String::new(),
        },
    }
}

impl Writer {
    /// Writes all of them in one call, masked as a client has to. True when a Close was among them; what comes
    /// after it is not written.
    pub(crate) async fn write(&mut self, batch: &mut Vec<Outgoing>) -> io::Result<bool> {
        self.gathered.clear();
        let mut closing = false;
        for outgoing in batch.drain(..) {
            if closing {
                continue;
            }
            let mut frame = match &outgoing {
                Outgoing::Text(payload) => Frame::text(Payload::Borrowed(payload)),
                Outgoing::Binary(payload) => Frame::binary(Payload::Borrowed(payload)),
                Outgoing::Pong(payload) => Frame::pong(Payload::Borrowed(payload)),
                Outgoing::Close { code, reason } => {
                    closing = true;
                    // 1005 stands for "no code" and must not be sent.
                    let code = if *code == 1005 { 1000 } else { *code };
                    Frame::close(code, reason.as_bytes())
                }
            };
            frame.mask();
            self.gathered.extend_from_slice(frame.write(&mut self.frame));
        }
        self.socket.write_all(&self.gathered).await?;
        // One large message must not keep its memory for the rest of an idle connection's life.
        const KEEP: usize = 16 * 1024;
        self.gathered.clear();
        self.gathered.shrink_to(KEEP);
        self.frame.clear();
        self.frame.shrink_to(KEEP);
        Ok(closing)
    }
}
