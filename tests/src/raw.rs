//! Bytes on a WebSocket: for what no well-behaved client would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks for `path` once, with further header lines of any bytes, and returns everything that comes back. Made for a
/// request that is refused: where a WebSocket is opened, it waits for its end.
pub async fn ask(address: SocketAddr, path: &str, connection: &str, headers: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: {connection}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    stream
        .write_all(&[head.as_bytes(), headers, b"\r\n"].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A socket after the handshake.
pub struct RawSocket {
    stream: TcpStream,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl RawSocket {
    /// Connects and upgrades.
    pub async fn connect(address: SocketAddr, path: &str) -> Self {
        let (socket, head) = Self::handshake(address, path, "").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        socket
    }

    /// Connects and asks for an upgrade with further header lines; returns the answer's head.
    pub async fn handshake(address: SocketAddr, path: &str, headers: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        (Self { stream }, String::from_utf8_lossy(&head).into_owned())
    }

    /// Sends bytes as they are. An error is no failure: the server may have closed already.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Reads one frame; `None` where the socket has ended or nothing comes for five seconds.
    pub async fn frame(&mut self) -> Option<RawFrame> {
        tokio::time::timeout(Duration::from_secs(5), self.read_frame())
            .await
            .ok()
            .flatten()
    }

    /// Reads until a close frame and returns its code; `None` where the socket ends without one.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            let frame = self.frame().await?;
            if frame.opcode == 8 {
                return frame
                    .payload
                    .get(..2)
                    .map(|code| u16::from_be_bytes([code[0], code[1]]));
            }
        }
    }

    async fn read_frame(&mut self) -> Option<RawFrame> {
        let first = self.stream.read_u8().await.ok()?;
        let length = match self.stream.read_u8().await.ok()? {
            126 => self.stream.read_u16().await.ok()?.into(),
            127 => self.stream.read_u64().await.ok()?,
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(RawFrame {
            fin: first & 0x80 != 0,
            opcode: first & 0x0f,
            payload,
        })
    }
}

/// A masked client frame. `first` holds FIN, RSV and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        0..126 => bytes.push(0x80 | payload.len() as u8),
        126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .enumerate()
            .map(|(index, byte)| byte ^ mask[index % 4]),
    );
    bytes
}

/// The same frame without a mask, as only a server may send it.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, payload.len() as u8];
    bytes.extend_from_slice(payload);
    bytes
}
