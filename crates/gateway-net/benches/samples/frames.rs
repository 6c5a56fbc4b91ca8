//! Frames as a client sends them, for the benchmarks of both kinds.

use gateway_net::protocol::{MAX_HEADER, OpCode, encode_header};

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// `count` masked text messages of one frame each, one behind the other, with `bytes` bytes of payload each.
pub(crate) fn text_frames(count: usize, bytes: usize) -> Vec<u8> {
    // Some of it outside of ASCII, as chat is; cut where `bytes` says.
    let pattern = "{\"text\":\"hello, 你好\"}";
    let mut payload = pattern.repeat(bytes / pattern.len());
    payload.push_str(&"x".repeat(bytes - payload.len()));
    let mut frames = Vec::with_capacity(count * (MAX_HEADER + bytes));
    for _ in 0..count {
        let head = frames.len();
        encode_header(&mut frames, OpCode::Text, bytes);
        frames[head + 1] |= 0x80;
        frames.extend_from_slice(&MASK);
        frames.extend(
            payload
                .bytes()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
    }
    frames
}
