//! Reads all that a socket has and cuts it into frames.
//!
//! One buffer serves all connections of a thread; a connection keeps bytes of its own only while half a frame
//! is there. Used by workers and baselines alike.

use std::io::{self, ErrorKind, Read};

use crate::frame::{self, Head};

/// Bytes read by one call.
const BUFFER: usize = 64 * 1024;
/// A longer frame is an error: nothing that this program asks for is as long.
const LONGEST_FRAME: usize = 16 * 1024 * 1024;

/// The buffer of a thread.
pub(crate) struct Intake {
    buffer: Vec<u8>,
}

/// Whether the other end may send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Open,
    Ended,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER],
        }
    }

    /// Reads until the socket has no more and gives each whole run of bytes to `cut`, which says how many of
    /// them it has used; what it leaves is kept in `rest` until more comes.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn read(
        &mut self,
        stream: &mut impl Read,
        rest: &mut Vec<u8>,
        short_means_empty: bool,
        mut cut: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Peer> {
        loop {
            let kept = rest.len();
            if self.buffer.len() < kept + BUFFER {
                self.buffer.resize(kept + BUFFER, 0);
            }
            let read = match stream.read(&mut self.buffer[kept..]) {
                Ok(0) => return Ok(Peer::Ended),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Peer::Open),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let drained = short_means_empty && read < self.buffer.len() - kept;
            self.buffer[..kept].copy_from_slice(rest);
            let there = &mut self.buffer[..kept + read];
            let used = cut(there)?;
            if used == there.len() {
                // Most of the time: nothing is kept, not even room.
                *rest = Vec::new();
            } else {
                rest.clear();
                rest.extend_from_slice(&self.buffer[used..kept + read]);
            }
            if drained {
                return Ok(Peer::Open);
            }
        }
    }
}

/// Gives each whole frame in `bytes` to `each`, unmasked; says how many bytes they were.
///
/// # Errors
/// Of kind `InvalidData` for a frame beyond all reason.
pub(crate) fn frames(bytes: &mut [u8], mut each: impl FnMut(Head, &mut [u8])) -> io::Result<usize> {
    let mut used = 0;
    while let Some(head) = frame::head(&bytes[used..]) {
        if head.payload > LONGEST_FRAME {
            return Err(ErrorKind::InvalidData.into());
        }
        let (start, end) = (used + head.head, used + head.head + head.payload);
        if bytes.len() < end {
            break;
        }
        let payload = &mut bytes[start..end];
        if let Some(key) = head.mask {
            fastwebsockets::unmask(payload, key);
        }
        each(head, payload);
        used = end;
    }
    Ok(used)
}

/// Writes from `bytes` what the socket takes, after what still waits in `pending`; the rest waits there.
///
/// # Errors
/// The socket's.
pub(crate) fn write(stream: &mut impl io::Write, pending: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    if !pending.is_empty() {
        pending.extend_from_slice(bytes);
        let written = write_some(stream, pending)?;
        pending.drain(..written);
        if pending.is_empty() {
            *pending = Vec::new();
        }
        return Ok(());
    }
    let written = write_some(stream, bytes)?;
    if written < bytes.len() {
        pending.extend_from_slice(&bytes[written..]);
    }
    Ok(())
}

fn write_some(stream: &mut impl io::Write, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that gives its bytes in pieces of one length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn frames_are_whole_however_their_bytes_come() {
        let mut bytes = Vec::new();
        for text in ["one", "", "three and some"] {
            frame::put(&mut bytes, frame::TEXT, Some([9, 8, 7, 6]), text.as_bytes());
        }
        for piece in 1..bytes.len() {
            let (mut intake, mut rest, mut seen) = (Intake::new(), Vec::new(), Vec::new());
            let peer = intake
                .read(&mut Pieces(&bytes, piece), &mut rest, false, |there| {
                    frames(there, |_, payload| {
                        seen.push(String::from_utf8_lossy(payload).into_owned());
                    })
                })
                .unwrap();
            assert_eq!(peer, Peer::Open);
            assert_eq!(seen, ["one", "", "three and some"], "pieces of {piece}");
            assert!(rest.is_empty());
        }
    }
}
