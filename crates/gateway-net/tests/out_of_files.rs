//! A process at its file limit. In a binary of its own, since the limit is the whole process's.

use std::sync::Arc;
use std::time::Duration;

use gateway_net::{
    Accepted, Acceptor, End, Handshake, Message, Outbound, Refusal, SessionHandler, WebSocketServer,
    WsSettings,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

struct Open;
struct Quiet;

impl Acceptor for Open {
    type Handler = Quiet;

    fn accept(&self, _: &Handshake) -> Result<Accepted<Quiet>, Refusal> {
        Ok(Accepted {
            handler: Quiet,
            subprotocol: None,
        })
    }
}

impl SessionHandler for Quiet {
    fn opened(&mut self, _: Outbound) {}
    fn message(&mut self, _: Message<'_>) {}
    fn closed(&mut self, _: End) {}
}

const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn upgraded(stream: &mut TcpStream) -> bool {
    let mut status = [0; 12];
    let asked = async {
        stream.write_all(REQUEST).await?;
        stream.read_exact(&mut status).await
    };
    asked.await.is_ok() && status.ends_with(b"101")
}

#[tokio::test]
async fn clients_are_hung_up_on_at_once_and_served_again_later() {
    let settings = WsSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        workers: 1,
        max_connections: 1000,
        ..WsSettings::default()
    };
    let server = WebSocketServer::bind(&settings).unwrap();
    let (address, stop) = (server.local_addr(), CancellationToken::new());
    let handle = server.serve(Arc::new(Open), stop.clone());
    // A first client, so that the worker has opened all it needs.
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(upgraded(&mut first).await);

    // Sockets of clients are made before the limit falls; connecting them takes no descriptor.
    let clients: Vec<_> = (0..20).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    rlimit::Resource::NOFILE.set(used + 3, hard).unwrap();
    // Kept, so that no descriptor becomes free.
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    for client in clients {
        let mut stream = client.connect(address).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(8), upgraded(&mut stream));
        if answer.await.expect("no client is left waiting") {
            served.push(stream);
        } else {
            refused.push(stream);
        }
    }
    assert!(!served.is_empty() && served.len() < 8, "{}", served.len());
    assert!(refused.len() >= 12);
    rlimit::Resource::NOFILE.set(soft, hard).unwrap();
    let mut last = TcpStream::connect(address).await.unwrap();
    assert!(upgraded(&mut last).await);

    stop.cancel();
    handle.join().await.unwrap();
}
