//! An echo server over this crate: `cargo run -p gateway-net --example echo -- 127.0.0.1:9999`.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway_net::{
    Accepted, Acceptor, End, Frame, Handshake, Message, Outbound, Refusal, SendError, SessionHandler,
    WebSocketServer, WsSettings, raise_file_limit,
};
use tokio_util::sync::CancellationToken;

struct Echo;

struct Session {
    outbound: Option<Outbound>,
}

impl Acceptor for Echo {
    type Handler = Session;

    fn accept(&self, handshake: &Handshake) -> Result<Accepted<Session>, Refusal> {
        let subprotocol = handshake.subprotocols().next().map(str::to_owned);
        Ok(Accepted {
            handler: Session { outbound: None },
            subprotocol,
        })
    }
}

impl SessionHandler for Session {
    fn opened(&mut self, outbound: Outbound) {
        self.outbound = Some(outbound);
    }

    fn message(&mut self, message: Message<'_>) {
        let Some(outbound) = &self.outbound else { return };
        let frame = match message {
            Message::Text(text) => Frame::text(text.to_owned()),
            Message::Binary(bytes) => Frame::binary(bytes.to_vec()),
        };
        if outbound.send(frame) == Err(SendError::Full) {
            outbound.close(4413, "too slow");
        }
    }

    fn closed(&mut self, _: End) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = raise_file_limit()?;
    let address: SocketAddr = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("127.0.0.1:9999")
        .parse()?;
    let server = WebSocketServer::bind(&WsSettings {
        address,
        ..WsSettings::default()
    })?;
    println!(
        "echo on ws://{}/ws, room for {} sockets",
        server.local_addr(),
        limit.sockets()
    );
    let stop = CancellationToken::new();
    let handle = server.serve(Arc::new(Echo), stop.clone());
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    handle.join().await?;
    Ok(())
}
