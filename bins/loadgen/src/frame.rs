//! WebSocket frames (RFC 6455, 5.2) as bytes, for either side, without I/O.
//!
//! The workers and the baselines use the same few functions, so that neither has an advantage of its own.

/// Bytes of the longest head: two, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;

/// A text message.
pub(crate) const TEXT: u8 = 0x1;
/// A binary message.
pub(crate) const BINARY: u8 = 0x2;
/// The end, with a code and a reason.
pub(crate) const CLOSE: u8 = 0x8;
/// To be answered by a pong with the same bytes.
pub(crate) const PING: u8 = 0x9;
/// The answer to a ping.
pub(crate) const PONG: u8 = 0xA;

/// What the head of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) opcode: u8,
    /// The key that clients mask with.
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes of the head itself.
    pub(crate) head: usize,
    /// Bytes that follow it.
    pub(crate) payload: usize,
}

/// Reads a head; `None` while it is not complete.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (payload, after) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let (mask, head) = if second & 0x80 == 0 {
        (None, after)
    } else {
        (Some(*bytes.get(after..)?.first_chunk()?), after + 4)
    };
    Some(Head {
        opcode: first & 0x0F,
        mask,
        head,
        payload: usize::try_from(payload).unwrap_or(usize::MAX),
    })
}

/// Appends a whole frame, masked where there is a key.
pub(crate) fn put(out: &mut Vec<u8>, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) {
    let mut bytes = [0; LONGEST_HEAD];
    bytes[0] = 0x80 | opcode;
    let mut length = match payload.len() {
        short @ 0..=125 => {
            bytes[1] = short as u8;
            2
        }
        medium @ 126..=0xFFFF => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
            4
        }
        long => {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(long as u64).to_be_bytes());
            10
        }
    };
    if let Some(key) = mask {
        bytes[1] |= 0x80;
        bytes[length..length + 4].copy_from_slice(&key);
        length += 4;
    }
    out.extend_from_slice(&bytes[..length]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        fastwebsockets::unmask(&mut out[start..], key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_again_at_every_length() {
        for length in [0, 1, 125, 126, 0xFFFF, 0x1_0000] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload = vec![7; length];
                let mut bytes = Vec::new();
                put(&mut bytes, TEXT, mask, &payload);
                let head = head(&bytes).unwrap();
                assert_eq!((head.opcode, head.mask, head.payload), (TEXT, mask, length));
                assert_eq!(bytes.len(), head.head + length);
                for cut in 0..head.head {
                    assert_eq!(super::head(&bytes[..cut]), None, "{cut}");
                }
                if let Some(key) = mask {
                    fastwebsockets::unmask(&mut bytes[head.head..], key);
                }
                assert_eq!(bytes[head.head..], payload);
            }
        }
    }
}
