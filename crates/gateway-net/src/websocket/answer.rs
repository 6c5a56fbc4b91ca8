//! The 101 that completes a handshake: written here, and held back so that it leaves with the session's first words.
//!
//! hyper writes a 101 of its own, which [`Withheld`] discards: its `Connection` header is `upgrade, close` or
//! `upgrade, keep-alive` depending on the request, and many clients accept nothing but `Upgrade`. Held back, because one
//! system call, one segment and one wake-up of the client do for the 101 and the welcome notice together.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a response begins that is withheld.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";
/// Longest response that is collected before it is flushed; more of it goes straight to the stream.
const COLLECTED: usize = 16 * 1024;

/// The response of a completed handshake (RFC 6455, 4.2.2), with the header names spelt as in the RFC: some clients on
/// small devices compare them byte by byte. Both values must be fit for a header.
pub(super) fn switching_protocols(accept: &str, subprotocol: Option<&str>) -> BytesMut {
    let mut response = BytesMut::with_capacity(192);
    for part in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ",
        accept,
    ] {
        response.extend_from_slice(part.as_bytes());
    }
    if let Some(subprotocol) = subprotocol {
        response.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        response.extend_from_slice(subprotocol.as_bytes());
    }
    response.extend_from_slice(b"\r\n\r\n");
    response
}

/// A stream on which an HTTP server answers one request. A refusal goes out when it is flushed; a 101 never does.
pub(super) struct Withheld<S> {
    stream: S,
    response: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Withheld<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            response: BytesMut::new(),
        }
    }

    /// The stream, without the 101 that was written to it.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.response.is_empty() {
            let wrote = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.response))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.response.advance(wrote);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Withheld<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Withheld<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.response.len() + bytes.len() > COLLECTED {
            ready!(this.poll_response(cx))?;
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        }
        this.response.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.response.starts_with(SWITCHING) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_response(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_response(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[test]
    fn the_101_says_upgrade_and_nothing_else_of_the_connection() {
        assert_eq!(
            switching_protocols("abc=", Some("mychat.v1")),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: abc=\r\nSec-WebSocket-Protocol: mychat.v1\r\n\r\n"
        );
        assert!(switching_protocols("abc=", None).ends_with(b"Sec-WebSocket-Accept: abc=\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_101_is_withheld_and_a_refusal_goes_out() {
        let (near, mut far) = duplex(1_024);
        let mut withheld = Withheld::new(near);
        withheld.write_all(b"HTTP/1.1 101 Switching").await.unwrap();
        withheld.flush().await.unwrap();

        let mut withheld = Withheld::new(withheld.into_stream());
        withheld.write_all(b"HTTP/1.1 400 Bad").await.unwrap();
        withheld.flush().await.unwrap();
        let mut read = [0; 64];
        let length = far.read(&mut read).await.unwrap();
        assert_eq!(&read[..length], b"HTTP/1.1 400 Bad");
    }

    #[tokio::test]
    async fn a_longer_response_arrives_whole() {
        let (near, mut far) = duplex(64 * 1_024);
        let mut withheld = Withheld::new(near);
        let long = vec![7; COLLECTED + 5];
        withheld.write_all(b"first").await.unwrap();
        withheld.write_all(&long).await.unwrap();
        withheld.shutdown().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&b"first"[..], &long].concat());
    }
}
