//! A server with a handler that reports everything, and a client that speaks in bytes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test helpers")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_net::{
    Accepted, Acceptor, End, Frame, Handshake, Message, Outbound, Refusal, SendError, ServerHandle,
    SessionHandler, WebSocketServer, WsSettings,
};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a handler was told.
#[derive(Debug)]
pub(crate) enum Told {
    Opened(Outbound),
    Message(usize),
    Written(u64),
    Woken,
    Closed(End),
}

/// Echoes, reports, and does what some texts ask for.
pub(crate) struct Probe {
    outbound: Option<Outbound>,
    told: mpsc::UnboundedSender<Told>,
    held: bool,
    /// What it does as soon as it is opened: greet, or panic.
    at_opening: String,
}

impl SessionHandler for Probe {
    fn opened(&mut self, outbound: Outbound) {
        match self.at_opening.as_str() {
            "greet" => echo(&outbound, Frame::text("welcome".to_owned())),
            "panic" => panic!("as asked for"),
            _ => {}
        }
        self.outbound = Some(outbound.clone());
        self.told.send(Told::Opened(outbound)).ok();
    }

    fn message(&mut self, message: Message<'_>) {
        self.told.send(Told::Message(message.len())).ok();
        let Some(outbound) = &self.outbound else { return };
        match message {
            Message::Text("panic") => panic!("as asked for"),
            Message::Text("hold") => self.held = true,
            Message::Text("silence") => {}
            Message::Text(text) if text.starts_with("close") => outbound.close(4411, "kicked"),
            Message::Text(text) => echo(outbound, Frame::text(text.to_owned())),
            Message::Binary(bytes) => echo(outbound, Frame::binary(bytes.to_vec())),
        }
    }

    fn written(&mut self, up_to: u64) {
        self.told.send(Told::Written(up_to)).ok();
    }

    fn woken(&mut self) {
        self.told.send(Told::Woken).ok();
    }

    fn backlog(&self) -> bool {
        self.held
    }

    fn closed(&mut self, end: End) {
        self.told.send(Told::Closed(end)).ok();
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.held = false;
    }
}

fn echo(outbound: &Outbound, frame: Frame) {
    if outbound.send(frame) == Err(SendError::Full) {
        outbound.close(4413, "too slow");
    }
}

struct Door {
    told: mpsc::UnboundedSender<Told>,
}

impl Acceptor for Door {
    type Handler = Probe;

    fn accept(&self, handshake: &Handshake) -> Result<Accepted<Probe>, Refusal> {
        match handshake.query.as_str() {
            "refuse=403" => return Err(Refusal::new(StatusCode::FORBIDDEN, "no \"entry\"")),
            "refuse=503" => {
                let busy = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "draining");
                return Err(busy.retry_after(Duration::from_millis(2500)));
            }
            _ => {}
        }
        let subprotocol = handshake
            .subprotocols()
            .find(|name| *name == "mychat.v1")
            .map(str::to_owned);
        Ok(Accepted {
            handler: Probe {
                outbound: None,
                told: self.told.clone(),
                held: false,
                at_opening: handshake.query.clone(),
            },
            subprotocol,
        })
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
    pub(crate) stop: CancellationToken,
    pub(crate) handle: Option<ServerHandle>,
}

/// Small and quick: one worker, ticks of 20 ms.
pub(crate) fn settings() -> WsSettings {
    WsSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        workers: 1,
        tick: Duration::from_millis(20),
        max_connections: 1000,
        ..WsSettings::default()
    }
}

impl Server {
    pub(crate) fn start(settings: &WsSettings) -> Self {
        let (tx, told) = mpsc::unbounded_channel();
        let server = WebSocketServer::bind(settings).unwrap();
        let (address, stop) = (server.local_addr(), CancellationToken::new());
        let handle = server.serve(Arc::new(Door { told: tx }), stop.clone());
        Self {
            address,
            told,
            stop,
            handle: Some(handle),
        }
    }

    pub(crate) async fn next(&mut self) -> Told {
        tokio::time::timeout(PATIENCE, self.told.recv())
            .await
            .expect("the handler is told in time")
            .unwrap()
    }

    pub(crate) async fn opened(&mut self) -> Outbound {
        match self.next().await {
            Told::Opened(outbound) => outbound,
            other => panic!("{other:?} instead of opened"),
        }
    }

    /// Skips to the end of the connection.
    pub(crate) async fn closed(&mut self) -> End {
        loop {
            if let Told::Closed(end) = self.next().await {
                return end;
            }
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        let mut client = Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
        };
        client.send(request("/ws", "").as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

/// What a server has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Frame(u8, Vec<u8>),
    Closed(u16, String),
    /// The end of the stream, without a Close frame before it.
    End,
}

impl Got {
    pub(crate) fn text(text: &str) -> Self {
        Self::Frame(0x81, text.as_bytes().to_vec())
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads one byte at a time, so that nothing of the frames behind it is taken.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = tokio::time::timeout(PATIENCE, self.stream.read_u8())
                .await
                .unwrap();
            match byte {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn get(&mut self) -> Got {
        tokio::time::timeout(PATIENCE, self.read_frame())
            .await
            .expect("a frame in time")
            .unwrap_or(Got::End)
    }

    async fn read_frame(&mut self) -> std::io::Result<Got> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        if first != 0x88 {
            return Ok(Got::Frame(first, payload));
        }
        let code = if payload.is_empty() {
            1005
        } else {
            u16::from_be_bytes([payload[0], payload[1]])
        };
        Ok(Got::Closed(
            code,
            String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned(),
        ))
    }

    /// Skips to the Close frame.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.get().await {
                Got::Closed(code, _) => return code,
                Got::End => return 0,
                Got::Frame(..) => {}
            }
        }
    }

    /// Reads `length` bytes away.
    pub(crate) async fn exactly(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut bytes))
            .await
            .expect("bytes in time")
            .unwrap();
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .unwrap()
            .ok();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// A masked frame: first byte, payload.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | n as u8),
        n @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

/// Resident memory of this process in bytes.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
