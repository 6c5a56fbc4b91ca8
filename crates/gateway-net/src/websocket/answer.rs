//! Keeps the 101 back, so that it leaves with the session's first words: one system call, one segment and one wake-up of
//! the client for both, where the answer alone took three calls (a corked socket, the write, the cork drawn), a tenth of a
//! handshake's CPU.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How an answer begins that is kept back.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";
/// Longest answer that is kept in memory; more goes on to the stream.
const KEPT: usize = 16 * 1024;

/// A stream on which an HTTP server answers one request. What is written waits for the flush; an answer of 101 waits for
/// [`into_parts`](Self::into_parts).
pub(super) struct AnswerKept<S> {
    stream: S,
    answer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AnswerKept<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            answer: BytesMut::new(),
        }
    }

    /// The stream, and what is to be written on it before anything else.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.answer)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.answer.is_empty() {
            let wrote = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.answer))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.answer.advance(wrote);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnswerKept<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for AnswerKept<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.answer.len() + bytes.len() > KEPT {
            ready!(this.poll_answer(cx))?;
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        }
        this.answer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.answer.starts_with(SWITCHING) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_101_is_kept_and_a_refusal_goes_out() {
        let (near, mut far) = duplex(1_024);
        let mut kept = AnswerKept::new(near);
        kept.write_all(b"HTTP/1.1 101 Switching").await.unwrap();
        kept.flush().await.unwrap();
        let (near, answer) = kept.into_parts();
        assert_eq!(&answer[..], b"HTTP/1.1 101 Switching");

        let mut kept = AnswerKept::new(near);
        kept.write_all(b"HTTP/1.1 400 Bad").await.unwrap();
        kept.flush().await.unwrap();
        let mut read = [0; 64];
        let length = far.read(&mut read).await.unwrap();
        assert_eq!(&read[..length], b"HTTP/1.1 400 Bad");
    }

    #[tokio::test]
    async fn nothing_is_lost_of_what_is_longer() {
        let (near, mut far) = duplex(64 * 1_024);
        let mut kept = AnswerKept::new(near);
        let long = vec![7; KEPT + 5];
        kept.write_all(b"first").await.unwrap();
        kept.write_all(&long).await.unwrap();
        kept.shutdown().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&b"first"[..], &long].concat());
    }
}
