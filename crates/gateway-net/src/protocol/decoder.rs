//! Cuts a client's byte stream into events, whatever pieces it comes in.
//!
//! A message that lies in the input as one frame is handed out in place, unmasked where it is. Only
//! what is cut off by the end of the input is copied, into a box that exists no longer than the cut:
//! an idle connection's decoder is two words.

use std::ops::ControlFlow;

use super::assembly::Assembly;
use super::{ClosePayload, Header, MAX_CONTROL, MAX_HEADER, OpCode, ProtocolError};

/// A complete message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, checked.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl Message<'_> {
    /// Bytes of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the payload has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the peer has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A complete message.
    Message(Message<'a>),
    /// A ping, to be answered with its payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A Close frame; nothing that follows it counts.
    Close(ClosePayload<'a>),
}

/// The state between two pieces of input.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    pending: Option<Box<Pending>>,
}

/// What an input's end has cut off.
#[derive(Debug)]
struct Pending {
    head: [u8; MAX_HEADER],
    head_len: u8,
    control_len: u8,
    control: [u8; MAX_CONTROL],
    frame: Option<Current>,
    message: Option<Assembly>,
}

/// A frame whose payload is being taken in.
#[derive(Debug, Clone, Copy)]
struct Current {
    fin: bool,
    opcode: OpCode,
    /// Turned so that its first byte belongs to the next byte of payload.
    mask: [u8; 4],
    remaining: usize,
    /// No byte of the payload has been taken yet.
    fresh: bool,
}

impl Decoder {
    /// A decoder for messages of at most `limit` bytes, all fragments together.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, pending: None }
    }

    /// Whether a frame or a message is unfinished, so that memory is held.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes in `input`, which it unmasks in place, and reports each event until the input is used up
    /// or `on_event` breaks. Says how many bytes were used; only a break leaves any.
    ///
    /// # Errors
    /// The first breach of the protocol. The decoder must not be used after one.
    pub fn decode(
        &mut self,
        input: &mut [u8],
        mut on_event: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<usize, ProtocolError> {
        let mut at = 0;
        while at < input.len() {
            let mut frame = match self.pending.as_mut().and_then(|pending| pending.frame.take()) {
                Some(frame) => frame,
                None => {
                    let (used, header) = self.header(&input[at..])?;
                    at += used;
                    match header {
                        Some(header) => self.start(header)?,
                        None => break,
                    }
                }
            };
            if frame.remaining > 0 && at == input.len() {
                self.pending().frame = Some(frame);
                break;
            }
            let take = frame.remaining.min(input.len() - at);
            let chunk = &mut input[at..at + take];
            at += take;
            fastwebsockets::unmask(chunk, frame.mask);
            frame.mask.rotate_left(take % 4);
            frame.remaining -= take;
            let flow = if frame.opcode.is_control() {
                self.control(&frame, chunk, &mut on_event)?
            } else {
                self.data(&frame, chunk, &mut on_event)?
            };
            if frame.remaining > 0 {
                frame.fresh = false;
                self.pending().frame = Some(frame);
            }
            if flow.is_break() {
                break;
            }
        }
        self.release();
        Ok(at)
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_with(|| {
            Box::new(Pending {
                head: [0; MAX_HEADER],
                head_len: 0,
                control_len: 0,
                control: [0; MAX_CONTROL],
                frame: None,
                message: None,
            })
        })
    }

    fn release(&mut self) {
        if self
            .pending
            .as_ref()
            .is_some_and(|p| p.head_len == 0 && p.frame.is_none() && p.message.is_none())
        {
            self.pending = None;
        }
    }

    /// Reads a head, with what an earlier input left of it. Says how many bytes of `input` it took.
    fn header(&mut self, input: &[u8]) -> Result<(usize, Option<Header>), ProtocolError> {
        let held = self
            .pending
            .as_ref()
            .map_or(0, |pending| usize::from(pending.head_len));
        if held == 0
            && let Some(header) = Header::parse(input)?
        {
            return Ok((header.size, Some(header)));
        }
        let pending = self.pending();
        let add = input.len().min(MAX_HEADER - held);
        pending.head[held..held + add].copy_from_slice(&input[..add]);
        match Header::parse(&pending.head[..held + add])? {
            Some(header) => {
                pending.head_len = 0;
                Ok((header.size - held, Some(header)))
            }
            None => {
                pending.head_len = (held + add) as u8;
                Ok((add, None))
            }
        }
    }

    /// Checks a data frame's place in its message, and the message's size as announced.
    fn start(&mut self, header: Header) -> Result<Current, ProtocolError> {
        if !header.opcode.is_control() {
            let message = self.pending.as_ref().and_then(|pending| pending.message.as_ref());
            match (header.opcode, message) {
                (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (OpCode::Text | OpCode::Binary, Some(_)) => return Err(ProtocolError::InterleavedMessage),
                _ => {}
            }
            let room = self.limit.saturating_sub(message.map_or(0, Assembly::len));
            if header.length > room as u64 {
                return Err(ProtocolError::TooLarge);
            }
        }
        let remaining = usize::try_from(header.length).map_err(|_| ProtocolError::TooLarge)?;
        Ok(Current {
            fin: header.fin,
            opcode: header.opcode,
            mask: header.mask,
            remaining,
            fresh: true,
        })
    }

    fn control(
        &mut self,
        frame: &Current,
        chunk: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ProtocolError> {
        if frame.fresh && frame.remaining == 0 {
            return Ok(on_event(control_event(frame.opcode, chunk)?));
        }
        let pending = self.pending();
        if frame.fresh {
            pending.control_len = 0;
        }
        let held = usize::from(pending.control_len);
        // The head has bounded the whole payload to the size of this array.
        pending.control[held..held + chunk.len()].copy_from_slice(chunk);
        pending.control_len = (held + chunk.len()) as u8;
        if frame.remaining > 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let body = &pending.control[..usize::from(pending.control_len)];
        Ok(on_event(control_event(frame.opcode, body)?))
    }

    fn data(
        &mut self,
        frame: &Current,
        chunk: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ProtocolError> {
        let done = frame.remaining == 0;
        if frame.fresh && frame.fin && done && frame.opcode != OpCode::Continuation {
            let message = if frame.opcode == OpCode::Text {
                Message::Text(simdutf8::basic::from_utf8(chunk).map_err(|_| ProtocolError::BadUtf8)?)
            } else {
                Message::Binary(chunk)
            };
            return Ok(on_event(Event::Message(message)));
        }
        let pending = self.pending();
        let assembly = pending
            .message
            .get_or_insert_with(|| Assembly::new(frame.opcode == OpCode::Text));
        assembly.push(chunk, frame.remaining)?;
        if !(done && frame.fin) {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(assembly) = pending.message.take() else {
            return Ok(ControlFlow::Continue(()));
        };
        Ok(on_event(Event::Message(assembly.message()?)))
    }
}

fn control_event(opcode: OpCode, body: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        OpCode::Ping => Event::Ping(body),
        OpCode::Pong => Event::Pong(body),
        _ => Event::Close(ClosePayload::parse(body)?),
    })
}

#[cfg(test)]
mod tests;
