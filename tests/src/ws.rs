//! A WebSocket client that shows codes, close reasons and order as they are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::envelope::Opened;

/// How long anything is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// What a client sees.
#[derive(Debug)]
pub enum Event {
    /// A text frame; `data`, where it is a string, is opened.
    Json(Value),
    /// A text frame that is not JSON.
    Text(String),
    /// A binary frame.
    Envelope(Opened),
    /// The server closed.
    Closed { code: u16, reason: String },
}

/// One connection.
pub struct WsClient {
    socket: FragmentCollector<TokioIo<Upgraded>>,
    /// What was read while something else was looked for.
    aside: VecDeque<Event>,
    seq: u32,
    /// Of the last login.
    pub token: String,
    pub refresh_token: String,
    pub session_id: String,
}

/// A handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl WsClient {
    /// Opens a WebSocket; an answer other than 101 is the error.
    pub async fn connect(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, Refused> {
        Self::connect_with_head(address, path, headers)
            .await
            .map(|(client, _)| client)
    }

    /// The same, with the headers of the answer.
    pub async fn connect_with_head(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Self, http::HeaderMap), Refused> {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::connect_over(stream, &address.to_string(), path, headers).await
    }

    /// The same over a connection that is there, with TLS around it for one.
    pub async fn connect_over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Self, http::HeaderMap), Refused> {
        let mut request = http::Request::builder()
            .uri(path)
            .header("host", host)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", fastwebsockets::handshake::generate_key());
        for (name, value) in headers {
            // As bytes: a header may hold UTF-8.
            request = request.header(*name, value.as_bytes());
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let executor = TokioExecutor::new();
        hyper::rt::Executor::execute(&executor, async move {
            let _ = connection.with_upgrades().await;
        });
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        let head = response.headers().clone();
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            return Err(Refused {
                status,
                headers: head,
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        }
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let mut socket =
            fastwebsockets::WebSocket::after_handshake(TokioIo::new(upgraded), fastwebsockets::Role::Client);
        socket.set_auto_close(false);
        socket.set_auto_pong(true);
        let client = Self {
            socket: FragmentCollector::new(socket),
            aside: VecDeque::new(),
            seq: 0,
            token: String::new(),
            refresh_token: String::new(),
            session_id: String::new(),
        };
        Ok((client, head))
    }

    /// Sends text as it is.
    pub async fn send_text(&mut self, text: &str) {
        let frame = Frame::text(Payload::Borrowed(text.as_bytes()));
        self.socket.write_frame(frame).await.unwrap();
    }

    /// Sends a binary frame as it is.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.socket
            .write_frame(Frame::binary(Payload::Borrowed(bytes)))
            .await
            .unwrap();
    }

    /// Sends a JSON message.
    pub async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a command and returns its sequence number.
    pub async fn send_command(&mut self, cmd_id: u32, data: &Value) -> u32 {
        self.seq += 1;
        let seq = self.seq;
        self.send(&json!({"cmd_id": cmd_id, "seq": seq, "data": data}))
            .await;
        seq
    }

    /// Sends a command and waits for its reply; what else comes is put aside.
    pub async fn command(&mut self, cmd_id: u32, data: &Value) -> Value {
        let seq = self.send_command(cmd_id, data).await;
        self.reply(seq).await
    }

    /// Sends a whole JSON message and waits for the reply to its `seq`.
    pub async fn request(&mut self, message: &Value) -> Value {
        self.send(message).await;
        let seq = message["seq"].as_u64().unwrap_or(0);
        self.reply(u32::try_from(seq).unwrap()).await
    }

    /// Logs in with the password of the made accounts; keeps the tokens.
    pub async fn login(&mut self, user: &str, device_id: &str, platform: &str) -> Value {
        self.seq += 1;
        let seq = self.seq;
        let reply = self
            .request(&json!({
                "cmd_id": 1001, "seq": seq, "device_id": device_id, "platform": platform,
                "data": {"username": user, "password": "password"},
            }))
            .await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.token = text(&reply["data"]["token"]);
        self.refresh_token = text(&reply["data"]["refresh_token"]);
        self.session_id = text(&reply["session_id"]);
        reply
    }

    /// The next thing that comes, in the order in which it came.
    pub async fn next(&mut self) -> Event {
        match self.aside.pop_front() {
            Some(event) => event,
            None => self.read().await,
        }
    }

    /// The reply to `seq`; other things are put aside.
    pub async fn reply(&mut self, seq: u32) -> Value {
        self.find(&format!("the reply to {seq}"), |event| match event {
            Event::Json(value) => {
                let cmd_id = value["cmd_id"].as_u64();
                value["seq"] == json!(seq) && cmd_id != Some(2) && cmd_id != Some(5001)
            }
            _ => false,
        })
        .await
        .json()
    }

    /// The next notice of a kind.
    pub async fn notice(&mut self, kind: &str) -> Value {
        self.find(&format!("notice {kind}"), |event| {
            matches!(event, Event::Json(value) if value["cmd_id"] == 2 && value["data"]["event"] == kind)
        })
        .await
        .json()
    }

    /// The next push.
    pub async fn push(&mut self) -> Value {
        self.find(
            "a push",
            |event| matches!(event, Event::Json(value) if value["cmd_id"] == 5001),
        )
        .await
        .json()
    }

    /// The next push, acknowledged.
    pub async fn push_and_ack(&mut self) -> Value {
        let push = self.push().await;
        let push_id = push["data"]["push_id"].clone();
        self.send(&json!({"cmd_id": 5006, "data": {"push_id": push_id}}))
            .await;
        push
    }

    /// The next binary frame that is no push and no notice, taken apart.
    pub async fn envelope_reply(&mut self, seq: u32) -> Opened {
        let found = self
            .find(&format!("the envelope of {seq}"), |event| {
                matches!(event, Event::Envelope(opened)
                    if opened.header.seq == seq && opened.header.cmd_id != 2 && opened.header.cmd_id != 5001)
            })
            .await;
        match found {
            Event::Envelope(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    /// The next envelope of a command.
    pub async fn envelope_of(&mut self, cmd_id: u32) -> Opened {
        let found = self
            .find(
                &format!("an envelope of {cmd_id}"),
                |event| matches!(event, Event::Envelope(opened) if opened.header.cmd_id == cmd_id),
            )
            .await;
        match found {
            Event::Envelope(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the server's close; what comes before it is passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        match self
            .find("a close", |event| matches!(event, Event::Closed { .. }))
            .await
        {
            Event::Closed { code, reason } => (code, reason),
            other => panic!("{other:?}"),
        }
    }

    /// Whether no push comes for a while, nor is one here already; pings are answered meanwhile.
    pub async fn no_push_for(&mut self, time: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + time;
        while !self.aside.iter().any(Event::is_push) {
            match tokio::time::timeout_at(deadline, self.read_frame()).await {
                Err(_) => return true,
                Ok(event @ Event::Closed { .. }) => panic!("closed while no push was waited for: {event:?}"),
                Ok(event) => self.aside.push_back(event),
            }
        }
        false
    }

    /// Whether the connection still answers.
    pub async fn is_alive(&mut self) -> bool {
        self.command(1, &json!({})).await["code"] == 200
    }

    /// Closes normally.
    pub async fn close(mut self) {
        let _ = self.socket.write_frame(Frame::close(1000, b"")).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.read_frame()).await;
    }

    async fn find(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        if let Some(index) = self.aside.iter().position(&wanted) {
            return self.aside.remove(index).unwrap();
        }
        loop {
            let event = self.read().await;
            if wanted(&event) {
                return event;
            }
            let over = matches!(event, Event::Closed { .. });
            self.aside.push_back(event);
            assert!(
                !over,
                "the connection closed while waiting for {what}: {:?}",
                self.aside
            );
        }
    }

    async fn read(&mut self) -> Event {
        match tokio::time::timeout(WAIT, self.read_frame()).await {
            Ok(event) => event,
            Err(_) => panic!("nothing came for {WAIT:?}; put aside: {:?}", self.aside),
        }
    }

    async fn read_frame(&mut self) -> Event {
        loop {
            let Ok(frame) = self.socket.read_frame().await else {
                return Event::Closed {
                    code: 1006,
                    reason: String::new(),
                };
            };
            match frame.opcode {
                OpCode::Text => {
                    let Ok(mut value) = serde_json::from_slice::<Value>(&frame.payload) else {
                        return Event::Text(String::from_utf8_lossy(&frame.payload).into_owned());
                    };
                    if let Some(inner) = value["data"]
                        .as_str()
                        .and_then(|text| serde_json::from_str(text).ok())
                    {
                        value["data"] = inner;
                    }
                    return Event::Json(value);
                }
                OpCode::Binary => return Event::Envelope(Opened::read(&frame.payload)),
                OpCode::Close => {
                    let code = frame
                        .payload
                        .get(..2)
                        .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    let reason =
                        String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).into_owned();
                    let _ = self.socket.write_frame(Frame::close(code, b"")).await;
                    return Event::Closed { code, reason };
                }
                _ => {}
            }
        }
    }
}

impl Event {
    fn is_push(&self) -> bool {
        match self {
            Self::Json(value) => value["cmd_id"] == 5001,
            Self::Envelope(opened) => opened.header.cmd_id == 5001,
            Self::Text(_) | Self::Closed { .. } => false,
        }
    }

    /// The JSON of a text frame.
    pub fn json(self) -> Value {
        match self {
            Self::Json(value) => value,
            other => panic!("not JSON: {other:?}"),
        }
    }
}
