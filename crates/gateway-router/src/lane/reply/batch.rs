//! `mychat.backend.v1.ReplyBatch`, reply by reply, from pieces that may be cut anywhere.

use bytes::{Buf as _, Bytes, BytesMut};
use gateway_codec::proto::backend::Reply;
use prost::Message as _;

use super::{Oversized, Replies, Unreadable, take};

/// `ReplyBatch.replies`.
const REPLIES: u64 = 1;
/// `Reply.correlation_id`.
const CORRELATION_ID: u64 = 1;

/// Reads the replies of one message at a time.
pub(super) struct BatchReader {
    limit: u64,
    /// The beginning of a field, as far as it has arrived.
    head: Head,
    state: State,
}

enum State {
    /// Between fields of the batch.
    Between,
    /// In a reply that is collected until it has `size` bytes.
    Collecting { reply: BytesMut, size: usize },
    /// In a reply over the limit.
    Skipping(Skipping),
    /// In a field that this version does not know.
    Unknown { left: u64 },
}

/// A reply over the limit: its correlation id is read, everything else is dropped as it arrives.
struct Skipping {
    reply: Oversized,
    left: u64,
    /// Of the field that is being dropped.
    field_left: u64,
    head: Head,
}

impl BatchReader {
    /// For replies of up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
            head: Head::default(),
            state: State::Between,
        }
    }

    /// Reads all of `input`, which belongs to the current message.
    pub(super) fn read(&mut self, input: &mut Bytes, replies: &mut Replies) -> Result<(), Unreadable> {
        while !input.is_empty() {
            match &mut self.state {
                State::Between => match self.head.read(input)? {
                    None | Some(Field::Varint { .. }) => {}
                    Some(Field::Bytes {
                        number: REPLIES,
                        size,
                    }) => self.begin(size, input, replies)?,
                    Some(Field::Bytes { size, .. } | Field::Fixed { size }) => {
                        self.state = State::Unknown { left: size };
                    }
                },
                State::Collecting { reply, size } => {
                    reply.extend_from_slice(&take(input, (*size - reply.len()) as u64));
                    if reply.len() == *size {
                        replies.whole.push(Reply::decode(reply.split().freeze())?);
                        self.state = State::Between;
                    }
                }
                State::Skipping(skipping) => {
                    if skipping.read(input)? {
                        replies.oversized.push(skipping.reply);
                        self.state = State::Between;
                    }
                }
                State::Unknown { left } => {
                    *left -= take(input, *left).len() as u64;
                }
            }
            if matches!(self.state, State::Unknown { left: 0 }) {
                self.state = State::Between;
            }
        }
        Ok(())
    }

    fn begin(&mut self, size: u64, input: &mut Bytes, replies: &mut Replies) -> Result<(), Unreadable> {
        if size > self.limit {
            self.state = State::Skipping(Skipping {
                reply: Oversized {
                    correlation_id: 0,
                    size,
                },
                left: size,
                field_left: 0,
                head: Head::default(),
            });
        } else if size <= input.len() as u64 {
            replies.whole.push(Reply::decode(take(input, size))?);
        } else {
            // Grows with the bytes that arrive, not with the length that is announced.
            self.state = State::Collecting {
                reply: BytesMut::new(),
                size: usize::try_from(size).unwrap_or(usize::MAX),
            };
        }
        Ok(())
    }

    /// The message ends here.
    pub(super) fn end(&mut self) -> Result<(), Unreadable> {
        if matches!(self.state, State::Between) && self.head.is_empty() {
            Ok(())
        } else {
            Err(Unreadable::Field("it ends within a field"))
        }
    }
}

impl Skipping {
    /// Reads on; `true` at the end of the reply.
    fn read(&mut self, input: &mut Bytes) -> Result<bool, Unreadable> {
        let mut part = take(input, self.left);
        self.left -= part.len() as u64;
        while !part.is_empty() {
            if self.field_left > 0 {
                self.field_left -= take(&mut part, self.field_left).len() as u64;
                continue;
            }
            match self.head.read(&mut part)? {
                Some(Field::Varint {
                    number: CORRELATION_ID,
                    value,
                }) => self.reply.correlation_id = value,
                None | Some(Field::Varint { .. }) => {}
                Some(Field::Bytes { size, .. } | Field::Fixed { size }) => {
                    if size > self.left + part.len() as u64 {
                        return Err(Unreadable::Field("a field is longer than its reply"));
                    }
                    self.field_left = size;
                }
            }
        }
        if self.left > 0 {
            return Ok(false);
        }
        if self.field_left > 0 || !self.head.is_empty() {
            return Err(Unreadable::Field("a reply ends within a field"));
        }
        Ok(true)
    }
}

/// The beginning of a field: its key, and its length or value.
#[derive(Default)]
struct Head {
    key: Option<u64>,
    varint: u64,
    shift: u32,
}

enum Field {
    Varint { number: u64, value: u64 },
    Bytes { number: u64, size: u64 },
    Fixed { size: u64 },
}

impl Head {
    fn is_empty(&self) -> bool {
        self.key.is_none() && self.shift == 0
    }

    /// Reads on until the head is complete or `input` is empty.
    fn read(&mut self, input: &mut Bytes) -> Result<Option<Field>, Unreadable> {
        while !input.is_empty() {
            let byte = input.get_u8();
            if self.shift == 63 && byte > 1 {
                return Err(Unreadable::Field("a number has more than 64 bits"));
            }
            self.varint |= u64::from(byte & 0x7f) << self.shift;
            if byte >= 0x80 {
                self.shift += 7;
                continue;
            }
            let value = std::mem::take(&mut self.varint);
            self.shift = 0;
            match self.key.take() {
                None => match value & 7 {
                    0 | 2 => self.key = Some(value),
                    1 => return Ok(Some(Field::Fixed { size: 8 })),
                    5 => return Ok(Some(Field::Fixed { size: 4 })),
                    _ => {
                        return Err(Unreadable::Field(
                            "a field has a wire type that proto3 does not use",
                        ));
                    }
                },
                Some(key) if key & 7 == 0 => {
                    return Ok(Some(Field::Varint {
                        number: key >> 3,
                        value,
                    }));
                }
                Some(key) => {
                    return Ok(Some(Field::Bytes {
                        number: key >> 3,
                        size: value,
                    }));
                }
            }
        }
        Ok(None)
    }
}
