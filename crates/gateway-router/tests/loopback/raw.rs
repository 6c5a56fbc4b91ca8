//! A back end made of h2 alone, which does what gRPC servers in other languages do and tonic's does not: it announces
//! the end of a connection and cuts it after a grace, refuses streams, compresses, sends its headers late.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use gateway_codec::proto::backend::{CommandBatch, CommandReply, CommandRequest, Reply, ReplyBatch};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::io::InspectReader;

/// How the server behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// The age at which a connection is announced to end, and how long it goes on then.
    pub(crate) age: Option<(Duration, Duration)>,
    /// How long a command takes.
    pub(crate) takes: Duration,
    /// Body of a reply, in bytes, by the command's sequence number.
    pub(crate) body: Option<fn(u64) -> usize>,
    /// Replies per batch; fewer wait for others.
    pub(crate) batch: usize,
    pub(crate) encoding: Option<&'static str>,
    /// Sends the response's headers with the first reply only.
    pub(crate) late_headers: bool,
    /// Answers streams with this gRPC status, in headers only.
    pub(crate) status: Option<u32>,
    /// Bytes before each reply of a batch: a field that nobody knows.
    pub(crate) unknown_fields: bool,
}

/// What the server saw, and what is changed while it runs.
#[derive(Default)]
pub(crate) struct Seen {
    /// Sequence numbers by session, in the order of arrival.
    pub(crate) commands: Mutex<HashMap<String, Vec<u64>>>,
    pub(crate) streams: AtomicUsize,
    /// Streams that ended without a reset by the gateway.
    pub(crate) ended: AtomicUsize,
    /// PING frames that are not acknowledgements.
    pub(crate) pings: AtomicUsize,
    /// So many streams are reset as refused once a command has come.
    pub(crate) refuse: AtomicUsize,
    /// So many connections are ended by a GOAWAY that names no stream, once a command has come.
    pub(crate) go_away: AtomicUsize,
    /// Nothing is read, written or answered.
    pub(crate) frozen: AtomicBool,
}

pub(crate) struct RawServer {
    pub(crate) seen: Arc<Seen>,
    address: SocketAddr,
    _connections: JoinSet<()>,
}

impl RawServer {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let mut connections = JoinSet::new();
        let shared = seen.clone();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let (manners, seen) = (manners.clone(), shared.clone());
                open.spawn(async move {
                    if take_one(&seen.go_away) {
                        go_away_at_once(socket, &seen).await;
                    } else {
                        serve(socket, manners, seen).await;
                    }
                });
            }
        });
        Self {
            seen,
            address,
            _connections: connections,
        }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn take_one(count: &AtomicUsize) -> bool {
    count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}

/// Counts PING frames in what a client sends.
fn count_pings(seen: Arc<Seen>) -> impl FnMut(&[u8]) + Send {
    const PREFACE: usize = 24;
    let mut buffer = BytesMut::new();
    let mut preface = PREFACE;
    move |bytes: &[u8]| {
        buffer.extend_from_slice(bytes);
        if preface > 0 && buffer.len() >= preface {
            buffer.advance(preface);
            preface = 0;
        }
        while preface == 0 && buffer.len() >= 9 {
            let length = u32::from_be_bytes([0, buffer[0], buffer[1], buffer[2]]) as usize;
            if buffer.len() < 9 + length {
                return;
            }
            if buffer[3] == 6 && buffer[4] & 1 == 0 {
                seen.pings.fetch_add(1, Ordering::SeqCst);
            }
            buffer.advance(9 + length);
        }
    }
}

type Socket<F> = InspectReader<TcpStream, F>;

async fn serve(socket: TcpStream, manners: Manners, seen: Arc<Seen>) {
    let socket = Box::pin(InspectReader::new(socket, count_pings(seen.clone())));
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    let mut streams = JoinSet::new();
    match manners.age {
        None => accept(&mut connection, &mut streams, &manners, &seen).await,
        Some((age, grace)) => {
            tokio::select! {
                () = accept(&mut connection, &mut streams, &manners, &seen) => return,
                () = sleep(age) => {}
            }
            connection.graceful_shutdown();
            tokio::select! {
                () = accept(&mut connection, &mut streams, &manners, &seen) => {}
                () = sleep(grace) => {}
            }
        }
    }
}

async fn accept<F: FnMut(&[u8]) + Send>(
    connection: &mut Connection<std::pin::Pin<Box<Socket<F>>>, Bytes>,
    streams: &mut JoinSet<()>,
    manners: &Manners,
    seen: &Arc<Seen>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            // Looked at before anything that the client sends.
            () = poll_fn(|_| if seen.frozen.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }) => {
                thawed(seen).await;
                continue;
            }
            accepted = connection.accept() => accepted,
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        streams.spawn(stream(request, respond, manners.clone(), seen.clone()));
    }
}

async fn thawed(seen: &Seen) {
    while seen.frozen.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn stream(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    manners: Manners,
    seen: Arc<Seen>,
) {
    // Whatever else is asked for, the health service too, is not known here.
    let status = if request.uri().path() == "/mychat.backend.v1.Backend/Stream" {
        seen.streams.fetch_add(1, Ordering::SeqCst);
        manners.status
    } else {
        Some(12)
    };
    if let Some(status) = status {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", status)
            .body(())
            .unwrap();
        let _ = respond.send_response(head, true);
        return;
    }
    let mut body = request.into_body();
    if take_one(&seen.refuse) {
        let _ = body.data().await;
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let head = {
        let mut head = Response::builder().header("content-type", "application/grpc");
        if let Some(encoding) = manners.encoding {
            head = head.header("grpc-encoding", encoding);
        }
        head.body(()).unwrap()
    };
    let mut head = Some(head);
    let mut out: Option<SendStream<Bytes>> = None;
    if !manners.late_headers {
        out = Some(respond.send_response(head.take().unwrap(), false).unwrap());
    }
    let (answers, mut answered) = mpsc::unbounded_channel::<Vec<Reply>>();
    let reading = read(&mut body, &manners, &seen, answers);
    let writing = async {
        while let Some(replies) = answered.recv().await {
            let out = out.get_or_insert_with(|| respond.send_response(head.take().unwrap(), false).unwrap());
            if out.send_data(message(replies, &manners), false).is_err() {
                return;
            }
        }
        let Some(out) = &mut out else { return };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        if out.send_trailers(trailers).is_ok() {
            seen.ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    tokio::join!(reading, writing);
}

/// Reads commands and answers each after its time, until the gateway's half of the stream ends.
async fn read(
    body: &mut RecvStream,
    manners: &Manners,
    seen: &Seen,
    answers: mpsc::UnboundedSender<Vec<Reply>>,
) {
    let mut buffer = BytesMut::new();
    let mut gathered = Vec::new();
    let mut late = JoinSet::new();
    while let Some(data) = body.data().await {
        let Ok(data) = data else { break };
        let _ = body.flow_control().release_capacity(data.len());
        buffer.extend_from_slice(&data);
        while buffer.len() >= 5 {
            let length = u32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]) as usize;
            if buffer.len() < 5 + length {
                break;
            }
            buffer.advance(5);
            let batch = CommandBatch::decode(buffer.split_to(length)).unwrap();
            for command in batch.commands {
                let request = command.request.unwrap();
                gathered.push(Reply {
                    correlation_id: command.correlation_id,
                    reply: Some(answer(&request, manners)),
                });
                seen.commands
                    .lock()
                    .unwrap()
                    .entry(request.session_id)
                    .or_default()
                    .push(request.seq);
            }
            if gathered.len() >= manners.batch {
                let (replies, answers, takes) =
                    (std::mem::take(&mut gathered), answers.clone(), manners.takes);
                late.spawn(async move {
                    sleep(takes).await;
                    let _ = answers.send(replies);
                });
            }
        }
    }
    late.join_all().await;
}

fn answer(request: &CommandRequest, manners: &Manners) -> CommandReply {
    let body = manners.body.map_or(0, |body| body(request.seq));
    CommandReply {
        code: 200,
        body: vec![b'x'; body].into(),
        ..CommandReply::default()
    }
}

fn message(replies: Vec<Reply>, manners: &Manners) -> Bytes {
    let mut plain = Vec::new();
    for reply in replies {
        if manners.unknown_fields {
            // Field 1000 of the batch, three bytes.
            plain.extend_from_slice(&[0xc2, 0x3e, 3, 1, 2, 3]);
        }
        plain.extend(ReplyBatch { replies: vec![reply] }.encode_to_vec());
    }
    let (flag, message) = match manners.encoding {
        Some("gzip") => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&plain).unwrap();
            (1, encoder.finish().unwrap())
        }
        Some("deflate") => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&plain).unwrap();
            (1, encoder.finish().unwrap())
        }
        _ => (0, plain),
    };
    let mut frame = vec![flag];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// Sends SETTINGS, waits for DATA, and closes with a GOAWAY that says that no stream was looked at.
async fn go_away_at_once(mut socket: TcpStream, seen: &Seen) {
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut read = vec![0; 24];
    socket.read_exact(&mut read).await.unwrap();
    loop {
        let mut head = [0; 9];
        if socket.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        if head[3] == 0 {
            break;
        }
        if head[3] == 1 {
            seen.streams.fetch_add(1, Ordering::SeqCst);
        }
    }
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&[0; 8]);
    socket.write_all(&frame).await.unwrap();
    let _ = socket.shutdown().await;
}
