//! A gateway of a few lines on a real socket: takes the handshake by hand, so that it can also refuse it, send
//! frames in pieces, or say things in the same packet as the response.

use std::time::Duration;

use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
use gateway_client::{Client, Persistent, ReconnectPolicy};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

const POLICY: ReconnectPolicy = ReconnectPolicy {
    base: Duration::from_millis(10),
    cap: Duration::from_millis(20),
    attempts: Some(5),
};

pub(crate) struct Stub {
    listener: TcpListener,
}

/// One client, seen from the gateway.
pub(crate) struct Peer {
    /// The request line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) socket: WebSocket<TcpStream>,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.listener.local_addr().unwrap())
    }

    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection and the head of its request.
    pub(crate) async fn accept_raw(&self) -> (TcpStream, String) {
        let (mut stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }

    /// Upgrades the next connection and welcomes it, both in one packet.
    pub(crate) async fn accept(&self, authenticated: bool) -> Peer {
        let (mut stream, head) = self.accept_raw().await;
        let mut packet =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec();
        let welcome = notice(
            200,
            &json!({ "event": "welcome", "session_id": "s1", "authenticated": authenticated }),
        );
        packet.extend_from_slice(&frame(0x81, welcome.to_string().as_bytes()));
        stream.write_all(&packet).await.unwrap();
        let mut socket = WebSocket::after_handshake(stream, Role::Server);
        socket.set_auto_close(false);
        socket.set_auto_pong(false);
        Peer {
            head: head.to_lowercase(),
            socket,
        }
    }
}

/// What a login gives.
pub(crate) fn tokens(access: &str, refresh: &str) -> Value {
    json!({ "token": access, "refresh_token": refresh, "expires_in": 60, "user_info": {} })
}

/// A client that comes back, logged in by name with the tokens `a1` and `r1`.
pub(crate) async fn connected(stub: &Stub) -> (Persistent, Peer) {
    connected_with(stub, POLICY).await
}

/// The same, with other waits.
pub(crate) async fn connected_with(stub: &Stub, policy: ReconnectPolicy) -> (Persistent, Peer) {
    let builder = Client::builder(&stub.url())
        .login("bob", "password")
        .device("pixel", "android");
    let gateway = async {
        let mut peer = stub.accept(false).await;
        peer.answer(tokens("a1", "r1")).await;
        peer
    };
    let (client, peer) = tokio::join!(Persistent::connect(builder, policy), gateway);
    (client.unwrap(), peer)
}

/// The return of such a client, and the data of the 1002 by which it binds.
pub(crate) async fn returned(stub: &Stub) -> (Peer, Value) {
    let mut peer = stub.accept(false).await;
    let request = peer.answer(json!({ "valid": true })).await;
    assert_eq!(request["cmd_id"], 1002);
    (peer, request["data"].clone())
}

/// A frame of the gateway's, short enough for one length byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => bytes.push(short),
        _ => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A notice, its data a string as the contract has it.
pub(crate) fn notice(code: u16, data: &Value) -> Value {
    json!({ "cmd_id": 2, "seq": 0, "code": code, "message": "", "data": data.to_string() })
}

/// A chat message's push.
pub(crate) fn push(id: &str) -> Value {
    let data = json!({ "push_id": id, "type": "message", "content": format!("content of {id}"), "message_id": "m",
        "sender_uid": "alice", "conversation_type": "direct", "conversation_id": "alice" });
    json!({ "cmd_id": 5001, "seq": 0, "code": 200, "message": "Success", "data": data.to_string() })
}

/// The reply to a request, in the form of that request.
pub(crate) fn reply(request: &Value, code: u16, data: &Value) -> Value {
    json!({ "cmd_id": request["cmd_id"], "seq": request["seq"], "code": code, "message": "words", "user_id": "bob",
        "data": data })
}

impl Peer {
    /// The next frame of any kind.
    pub(crate) async fn frame(&mut self) -> (OpCode, Vec<u8>) {
        let frame = timeout(PATIENCE, self.socket.read_frame())
            .await
            .unwrap()
            .unwrap();
        (frame.opcode, frame.payload.to_vec())
    }

    /// The next request, which has to be one.
    pub(crate) async fn request(&mut self) -> Value {
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, OpCode::Text);
        serde_json::from_slice(&payload).unwrap()
    }

    /// The next request, which has to acknowledge a push; the id of that.
    pub(crate) async fn acknowledgement(&mut self) -> String {
        let request = self.request().await;
        assert_eq!(request["cmd_id"], 5006);
        request["data"]["push_id"].as_str().unwrap().to_owned()
    }

    /// Whether the client says nothing for that long.
    pub(crate) async fn is_silent_for(&mut self, time: Duration) -> bool {
        timeout(time, self.socket.read_frame()).await.is_err()
    }

    pub(crate) async fn say(&mut self, message: Value) {
        let text = message.to_string().into_bytes();
        self.socket
            .write_frame(Frame::text(Payload::Owned(text)))
            .await
            .unwrap();
    }

    /// Answers the next request with success; the request.
    pub(crate) async fn answer(&mut self, data: Value) -> Value {
        let request = self.request().await;
        self.say(reply(&request, 200, &data)).await;
        request
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        self.socket
            .write_frame(Frame::close(code, reason.as_bytes()))
            .await
            .unwrap();
    }
}
