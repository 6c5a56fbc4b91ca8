//! gRPC messages: one byte that says whether the message is compressed, four of length, the message.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use flate2::write::GzDecoder;
use gateway_codec::proto::backend::ReplyBatch;
use prost::Message as _;

use super::batch::BatchReader;
use super::{Replies, Unreadable, take};

const HEADER: usize = 5;

/// What `grpc-encoding` says about compressed messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// There are none.
    Identity,
    Gzip,
    /// Nothing that the gateway can read.
    Other(String),
}

/// Reads the messages of one stream.
pub(crate) struct Reader {
    encoding: Encoding,
    limit: usize,
    frame: Frame,
    batch: BatchReader,
}

enum Frame {
    Header {
        bytes: [u8; HEADER],
        have: usize,
    },
    Plain {
        left: u32,
    },
    Compressed {
        left: u32,
        inflate: Box<GzDecoder<Vec<u8>>>,
    },
}

const NEXT: Frame = Frame::Header {
    bytes: [0; HEADER],
    have: 0,
};

impl Reader {
    /// For a stream with this encoding, whose replies may have up to `limit` bytes each.
    pub(crate) fn new(encoding: Encoding, limit: usize) -> Self {
        Self {
            encoding,
            limit,
            frame: NEXT,
            batch: BatchReader::new(limit),
        }
    }

    /// Reads the stream's next bytes.
    ///
    /// # Errors
    /// [`Unreadable`]; the reader is of no use afterwards.
    pub(crate) fn read(&mut self, mut input: Bytes) -> Result<Replies, Unreadable> {
        let mut replies = Replies::default();
        while !input.is_empty() {
            match &mut self.frame {
                Frame::Header { bytes, have } => {
                    // Nearly always, a whole message is in one piece: decoded in place.
                    if *have == 0
                        && let Some(message) = whole(&mut input, self.limit)
                    {
                        let mut batch = ReplyBatch::decode(message)?.replies;
                        if replies.whole.is_empty() {
                            replies.whole = batch;
                        } else {
                            replies.whole.append(&mut batch);
                        }
                        continue;
                    }
                    let part = take(&mut input, (HEADER - *have) as u64);
                    bytes[*have..*have + part.len()].copy_from_slice(&part);
                    *have += part.len();
                    if *have == HEADER {
                        let header = *bytes;
                        self.frame = self.begin(header)?;
                    }
                }
                Frame::Plain { left } => {
                    let mut part = take(&mut input, (*left).into());
                    *left -= u32::try_from(part.len()).unwrap_or(*left);
                    let ended = *left == 0;
                    self.batch.read(&mut part, &mut replies)?;
                    if ended {
                        self.end()?;
                    }
                }
                Frame::Compressed { left, inflate } => {
                    let part = take(&mut input, (*left).into());
                    *left -= u32::try_from(part.len()).unwrap_or(*left);
                    let ended = *left == 0;
                    inflate_into(inflate, &part, &mut self.batch, &mut replies)?;
                    if ended {
                        inflate.try_finish().map_err(|_| Unreadable::Gzip)?;
                        drain(inflate, &mut self.batch, &mut replies)?;
                        self.end()?;
                    }
                }
            }
        }
        Ok(replies)
    }

    fn begin(&self, [flag, length @ ..]: [u8; HEADER]) -> Result<Frame, Unreadable> {
        let left = u32::from_be_bytes(length);
        let frame = match (flag, &self.encoding) {
            (0, _) if left == 0 => NEXT,
            (0, _) => Frame::Plain { left },
            (1, _) if left == 0 => return Err(Unreadable::Gzip),
            (1, Encoding::Gzip) => Frame::Compressed {
                left,
                inflate: Box::new(GzDecoder::new(Vec::new())),
            },
            (1, Encoding::Identity) => return Err(Unreadable::NoEncoding),
            (1, Encoding::Other(name)) => return Err(Unreadable::Encoding(name.clone())),
            (flag, _) => return Err(Unreadable::Flag(flag)),
        };
        Ok(frame)
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        self.frame = NEXT;
        self.batch.end()
    }
}

/// Takes the next message if it is plain, complete and has no room for a reply over the limit.
fn whole(input: &mut Bytes, limit: usize) -> Option<Bytes> {
    let [0, a, b, c, d, ..] = **input else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    if length > limit || input.len() - HEADER < length {
        return None;
    }
    input.advance(HEADER);
    Some(input.split_to(length))
}

/// Inflates a part of a message. What comes out is read in small pieces, so that a short input that inflates to
/// gigabytes is never stored.
fn inflate_into(
    inflate: &mut GzDecoder<Vec<u8>>,
    mut part: &[u8],
    batch: &mut BatchReader,
    replies: &mut Replies,
) -> Result<(), Unreadable> {
    while !part.is_empty() {
        // Gives at most the decoder's buffer of 32 KiB.
        let read = inflate.write(part).map_err(|_| Unreadable::Gzip)?;
        if read == 0 {
            // There is something behind the end of the gzip stream.
            return Err(Unreadable::Gzip);
        }
        part = &part[read..];
        drain(inflate, batch, replies)?;
    }
    Ok(())
}

fn drain(
    inflate: &mut GzDecoder<Vec<u8>>,
    batch: &mut BatchReader,
    replies: &mut Replies,
) -> Result<(), Unreadable> {
    if inflate.get_ref().is_empty() {
        return Ok(());
    }
    let mut plain = Bytes::from(std::mem::take(inflate.get_mut()));
    batch.read(&mut plain, replies)
}
