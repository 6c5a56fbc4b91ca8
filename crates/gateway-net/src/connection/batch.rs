//! What one system call writes: small frames copied together, large payloads referred to.
//!
//! A batch belongs to the worker and is filled and written within one turn. Only when the socket takes
//! no more is the rest moved into an [`Unsent`], which belongs to the connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::protocol::{OpCode, encode_header};

/// Payloads below this are copied, others are shared and cost a slice of their own.
const COPY_BELOW: usize = 4096;
/// Copied bytes of one batch.
const BATCH_BYTES: usize = 64 * 1024;
/// Slices of one system call.
const BATCH_SLICES: usize = 32;

/// Frames that are written by one system call.
#[derive(Default)]
pub(crate) struct Batch {
    copied: Vec<u8>,
    segments: Vec<Segment>,
    marks: Vec<Mark>,
    total: usize,
    own: usize,
    frames: u64,
}

enum Segment {
    Copied(usize),
    Shared(Bytes),
}

/// A tracked frame is written once `end` bytes are.
#[derive(Clone, Copy)]
struct Mark {
    end: usize,
    ticket: u64,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.copied.shrink_to(2 * BATCH_BYTES);
        self.segments.clear();
        self.marks.clear();
        (self.total, self.own, self.frames) = (0, 0, 0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.copied.len() >= BATCH_BYTES || self.segments.len() >= BATCH_SLICES - 1
    }

    /// Messages in it.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes that were put in by [`own`](Self::own).
    pub(crate) fn own_bytes(&self) -> usize {
        self.own
    }

    /// Appends a frame of the connection's own: pong, ping, close.
    pub(crate) fn own(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.own += self.copy(write);
    }

    /// Appends a message.
    pub(crate) fn frame(&mut self, opcode: OpCode, payload: Bytes, ticket: Option<u64>) {
        self.frames += 1;
        if payload.len() < COPY_BELOW {
            self.copy(|out| {
                encode_header(out, opcode, payload.len());
                out.extend_from_slice(&payload);
            });
        } else {
            self.copy(|out| encode_header(out, opcode, payload.len()));
            self.total += payload.len();
            self.segments.push(Segment::Shared(payload));
        }
        if let Some(ticket) = ticket {
            self.marks.push(Mark {
                end: self.total,
                ticket,
            });
        }
    }

    fn copy(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.copied.len();
        write(&mut self.copied);
        let added = self.copied.len() - before;
        match self.segments.last_mut() {
            Some(Segment::Copied(length)) => *length += added,
            _ => self.segments.push(Segment::Copied(added)),
        }
        self.total += added;
        added
    }

    /// Writes what the socket takes. `Ready` with a rest means: blocked.
    pub(crate) fn write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> io::Result<Written> {
        let mut written = 0;
        while written < self.total {
            let mut slices = [IoSlice::new(&[]); BATCH_SLICES];
            let count = self.slices(written, &mut slices);
            let stream = Pin::new(&mut *stream);
            let wrote = match &slices[..count] {
                // Nearly always. `writev` of one slice goes a longer way through the kernel: 2 % of an echo in its entry alone.
                [one] => stream.poll_write(cx, one),
                several => stream.poll_write_vectored(cx, several),
            };
            match wrote {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => written += n,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        let ticket = self
            .marks
            .iter()
            .take_while(|mark| mark.end <= written)
            .last()
            .map(|mark| mark.ticket);
        Ok(Written {
            bytes: written,
            ticket,
            all: written == self.total,
        })
    }

    fn slices<'a>(&'a self, mut skip: usize, out: &mut [IoSlice<'a>; BATCH_SLICES]) -> usize {
        let (mut copied, mut count) = (&self.copied[..], 0);
        for segment in &self.segments {
            let slice = match segment {
                Segment::Copied(length) => copied.split_off(..*length).unwrap_or_default(),
                Segment::Shared(payload) => payload,
            };
            let slice = &slice[skip.min(slice.len())..];
            skip = skip.saturating_sub(segment.len());
            if !slice.is_empty() && count < out.len() {
                out[count] = IoSlice::new(slice);
                count += 1;
            }
        }
        count
    }

    /// Moves what follows the first `written` bytes out of the batch.
    pub(crate) fn rest(&mut self, written: usize) -> Unsent {
        let (mut skip, mut at) = (written, 0);
        let mut chunks = VecDeque::new();
        for segment in self.segments.drain(..) {
            let length = segment.len();
            let from = skip.min(length);
            skip -= from;
            let chunk = match segment {
                Segment::Copied(_) => {
                    let chunk = Bytes::copy_from_slice(&self.copied[at + from..at + length]);
                    at += length;
                    chunk
                }
                Segment::Shared(payload) => payload.slice(from..),
            };
            if !chunk.is_empty() {
                chunks.push_back(chunk);
            }
        }
        let marks = self
            .marks
            .iter()
            .filter(|mark| mark.end > written)
            .copied()
            .collect();
        Unsent {
            chunks,
            marks,
            written,
        }
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Copied(length) => *length,
            Self::Shared(payload) => payload.len(),
        }
    }
}

/// What a write has done.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    /// The last tracked frame that is written whole.
    pub(crate) ticket: Option<u64>,
    /// Nothing is left.
    pub(crate) all: bool,
}

/// The rest of a batch that its socket did not take.
pub(crate) struct Unsent {
    chunks: VecDeque<Bytes>,
    marks: VecDeque<Mark>,
    written: usize,
}

impl Unsent {
    pub(crate) fn write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> io::Result<Written> {
        let before = self.written;
        while !self.chunks.is_empty() {
            match self.write_once(stream, cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => break,
            }
        }
        let mut ticket = None;
        while let Some(mark) = self.marks.front()
            && mark.end <= self.written
        {
            ticket = Some(mark.ticket);
            self.marks.pop_front();
        }
        Ok(Written {
            bytes: self.written - before,
            ticket,
            all: self.chunks.is_empty(),
        })
    }

    fn write_once(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); BATCH_SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let mut n = ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += n;
        while let Some(front) = self.chunks.front_mut()
            && n > 0
        {
            let step = n.min(front.len());
            front.advance(step);
            n -= step;
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(batch: &Batch, skip: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); BATCH_SLICES];
        let count = batch.slices(skip, &mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn the_rest_is_what_was_not_written() {
        let mut batch = Batch::default();
        batch.own(|out| out.extend_from_slice(&[0x89, 0]));
        batch.frame(OpCode::Text, Bytes::from_static(b"small"), Some(1));
        batch.frame(OpCode::Binary, Bytes::from(vec![7; 5000]), Some(2));
        batch.frame(OpCode::Text, Bytes::from_static(b"last"), Some(3));
        let whole = bytes_of(&batch, 0);
        assert_eq!(whole.len(), batch.total);
        assert_eq!(
            (batch.segments.len(), batch.frames(), batch.own_bytes()),
            (3, 3, 2)
        );
        for cut in [0, 1, 2, 8, 9, 12, 13, 14, 3000, 5012, 5013, 5018, whole.len()] {
            assert_eq!(bytes_of(&batch, cut), whole[cut..], "slices from {cut}");
            let mut again = Batch::default();
            again.own(|out| out.extend_from_slice(&[0x89, 0]));
            again.frame(OpCode::Text, Bytes::from_static(b"small"), Some(1));
            again.frame(OpCode::Binary, Bytes::from(vec![7; 5000]), Some(2));
            again.frame(OpCode::Text, Bytes::from_static(b"last"), Some(3));
            let rest = again.rest(cut);
            assert_eq!(
                rest.chunks.iter().flatten().copied().collect::<Vec<_>>(),
                whole[cut..],
                "rest from {cut}"
            );
        }
    }
}
