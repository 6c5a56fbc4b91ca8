//! The head of a frame, read from a client and written by a server (RFC 6455, 5.2).

use super::ProtocolError;

/// The longest head: two bytes, eight of length, four of mask.
pub const MAX_HEADER: usize = 14;
/// The longest payload of a control frame.
pub const MAX_CONTROL: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 6455, 11.8")]
pub enum OpCode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl OpCode {
    fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping or pong.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// The head of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message.
    pub fin: bool,
    /// What it is.
    pub opcode: OpCode,
    /// What the payload is masked with.
    pub mask: [u8; 4],
    /// Bytes of payload.
    pub length: u64,
    /// Bytes of this head.
    pub size: usize,
}

impl Header {
    /// Reads a head from the start of `input`; `None` when there is more of it to come.
    ///
    /// # Errors
    /// Every breach that one head can show, as soon as the bytes that show it are there.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = OpCode::parse(first & 0x0F).ok_or(ProtocolError::ReservedOpCode)?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(ProtocolError::LongControl);
        }
        let (length, at) = match short {
            126 => {
                let Some(&bytes) = input.get(2..).and_then(<[u8]>::first_chunk) else {
                    return Ok(None);
                };
                let length = u64::from(u16::from_be_bytes(bytes));
                if length < 126 {
                    return Err(ProtocolError::LengthEncoding);
                }
                (length, 4)
            }
            127 => {
                let Some(&bytes) = input.get(2..).and_then(<[u8]>::first_chunk) else {
                    return Ok(None);
                };
                let length = u64::from_be_bytes(bytes);
                if length <= u64::from(u16::MAX) || length >> 63 != 0 {
                    return Err(ProtocolError::LengthEncoding);
                }
                (length, 10)
            }
            _ => (u64::from(short), 2),
        };
        let Some(&mask) = input.get(at..).and_then(<[u8]>::first_chunk) else {
            return Ok(None);
        };
        Ok(Some(Self {
            fin,
            opcode,
            mask,
            length,
            size: at + 4,
        }))
    }
}

/// Bytes of the head of a server's frame with this much payload.
#[must_use]
pub fn header_len(payload: usize) -> usize {
    match payload {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    }
}

/// Appends the head of a server's whole, unmasked frame.
pub fn encode_header(out: &mut Vec<u8>, opcode: OpCode, payload: usize) {
    out.push(0x80 | opcode as u8);
    match u16::try_from(payload) {
        Ok(short) if short < 126 => out.push(short as u8),
        Ok(short) => {
            out.push(126);
            out.extend_from_slice(&short.to_be_bytes());
        }
        Err(_) => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_long_as_announced() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let mut out = Vec::new();
            encode_header(&mut out, OpCode::Binary, length);
            assert_eq!(out.len(), header_len(length), "{length}");
            out[1] |= 0x80;
            out.extend_from_slice(&[1, 2, 3, 4]);
            let header = Header::parse(&out).unwrap().unwrap();
            assert_eq!((header.length, header.size), (length as u64, out.len()));
            for cut in 0..out.len() {
                assert_eq!(Header::parse(&out[..cut]), Ok(None), "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn each_breach_has_its_error() {
        for (bytes, error) in [
            (&[0xC1_u8, 0x80][..], ProtocolError::ReservedBits),
            (&[0xA1], ProtocolError::ReservedBits),
            (&[0x91], ProtocolError::ReservedBits),
            (&[0x83], ProtocolError::ReservedOpCode),
            (&[0x8B], ProtocolError::ReservedOpCode),
            (&[0x09], ProtocolError::FragmentedControl),
            (&[0x81, 0x05], ProtocolError::Unmasked),
            (&[0x89, 0xFE], ProtocolError::LongControl),
            (&[0x81, 0xFE, 0, 125], ProtocolError::LengthEncoding),
            (
                &[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
                ProtocolError::LengthEncoding,
            ),
            (
                &[0x81, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0],
                ProtocolError::LengthEncoding,
            ),
        ] {
            assert_eq!(Header::parse(bytes), Err(error), "{bytes:02x?}");
        }
    }
}
