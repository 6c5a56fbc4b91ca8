//! Messages in both encodings: written often and cheaply, read as far as measuring needs.

use gateway_codec::proto::im::base::ImHeader;
use gateway_codec::{
    ClientReply, JsonRequest, base_response, decode_envelope_raw, decode_json_reply, encode_base_request,
    encode_json_request,
};

use crate::clock::Moment;
use crate::frame;
use crate::orders::Encoding;

/// Numbers of messages begin here, so that all have as many digits.
pub(super) const FIRST_SEQ: u32 = 100_000_000;
/// Any key will do (RFC 6455 wants it unpredictable against proxies, of which there are none here).
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// Stands before the moment in what others are sent, so that its receiver can measure.
const STAMP: &str = "loadgen@";

/// A message that is sent again and again with another number.
pub(super) struct Template {
    encoding: Encoding,
    cmd_id: u32,
    data: String,
    /// JSON, and where its number stands.
    json: Vec<u8>,
    seq_at: usize,
}

impl Template {
    pub(super) fn new(encoding: Encoding, cmd_id: u32, data: String) -> Self {
        let json = json_request(cmd_id, FIRST_SEQ, &data);
        let digits = FIRST_SEQ.to_string();
        let seq_at = json.find(&digits).unwrap_or_default();
        Self {
            encoding,
            cmd_id,
            data,
            json: json.into_bytes(),
            seq_at,
        }
    }

    /// Appends it as a masked frame.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, seq: u32) {
        match self.encoding {
            Encoding::Json => {
                let mut rest = seq;
                for digit in self.json[self.seq_at..self.seq_at + 9].iter_mut().rev() {
                    *digit = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
                frame::put(out, frame::TEXT, Some(MASK), &self.json);
            }
            Encoding::Protobuf => put(out, self.encoding, self.cmd_id, seq, &self.data),
        }
    }
}

/// Appends a message as a masked frame.
pub(super) fn put(out: &mut Vec<u8>, encoding: Encoding, cmd_id: u32, seq: u32, data: &str) {
    match encoding {
        Encoding::Json => {
            let json = json_request(cmd_id, seq, data);
            frame::put(out, frame::TEXT, Some(MASK), json.as_bytes());
        }
        Encoding::Protobuf => {
            let header = ImHeader {
                version: "1.0".to_owned(),
                cmd_id,
                seq,
                ..ImHeader::default()
            };
            let envelope = encode_base_request(&header, data);
            frame::put(out, frame::BINARY, Some(MASK), &envelope);
        }
    }
}

/// Appends a masked control frame.
pub(super) fn put_control(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    frame::put(out, opcode, Some(MASK), payload);
}

fn json_request(cmd_id: u32, seq: u32, data: &str) -> String {
    let request = JsonRequest {
        cmd_id,
        seq,
        data,
        ..JsonRequest::default()
    };
    // Only data that is not JSON itself could fail, and it is sent as a string.
    encode_json_request(&request).unwrap_or_default()
}

/// What measuring needs to know of a message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) cmd_id: u32,
    pub(super) seq: u32,
    /// 200 for a push, and for what a baseline gives back.
    pub(super) code: u16,
}

/// Reads the head of a message; `None` for what is none.
pub(super) fn head(opcode: u8, payload: &[u8]) -> Option<Head> {
    if opcode == frame::TEXT {
        return quick(payload).or_else(|| {
            let reply = decode_json_reply(std::str::from_utf8(payload).ok()?).ok()?;
            Some(Head {
                cmd_id: reply.cmd_id,
                seq: reply.seq,
                code: reply.code,
            })
        });
    }
    let envelope = decode_envelope_raw(payload).ok()?;
    let failed = base_response(&envelope).ok()?.map_or(0, |base| base.error_code);
    Some(Head {
        cmd_id: envelope.header.cmd_id,
        seq: envelope.header.seq,
        code: if failed == 0 { 200 } else { 500 },
    })
}

/// The head of JSON that is written as gateways and this program write it, the three fields first.
fn quick(json: &[u8]) -> Option<Head> {
    let (cmd_id, rest) = number(json.strip_prefix(br#"{"cmd_id":"#)?)?;
    let (seq, rest) = match rest.strip_prefix(br#","seq":"#) {
        Some(rest) => number(rest)?,
        None => (0, rest),
    };
    let code = match rest.strip_prefix(br#","code":"#) {
        Some(rest) => u16::try_from(number(rest)?.0).ok()?,
        None => 200,
    };
    Some(Head { cmd_id, seq, code })
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((value, &text[digits..]))
}

/// A whole JSON message: a notice, or one whose data is needed.
pub(super) fn whole(opcode: u8, payload: &[u8]) -> Option<ClientReply> {
    if opcode == frame::TEXT {
        return decode_json_reply(std::str::from_utf8(payload).ok()?).ok();
    }
    let envelope = decode_envelope_raw(payload).ok()?;
    let base = base_response(&envelope).ok()??;
    Some(ClientReply {
        cmd_id: envelope.header.cmd_id,
        seq: envelope.header.seq,
        code: if base.error_code == 0 { 200 } else { 500 },
        message: base.error_message,
        data: String::from_utf8(base.payload.to_vec()).unwrap_or_default(),
        ..ClientReply::default()
    })
}

/// A text for somebody else, with the moment it is meant to be sent at.
pub(crate) fn stamped(intended: Moment, size: usize) -> String {
    let mut text = format!("{STAMP}{}.", intended.0);
    text.extend(std::iter::repeat_n('x', size.saturating_sub(text.len())));
    text
}

/// The moment in a message of this program; others have none.
pub(super) fn stamp(payload: &[u8]) -> Option<Moment> {
    let at = payload
        .windows(STAMP.len())
        .position(|bytes| bytes == STAMP.as_bytes())?;
    let rest = &payload[at + STAMP.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits])
        .ok()?
        .parse()
        .ok()
        .map(Moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(frame_bytes: &mut [u8]) -> (u8, &[u8]) {
        let head = frame::head(frame_bytes).unwrap();
        let payload = &mut frame_bytes[head.head..];
        fastwebsockets::unmask(payload, head.mask.unwrap());
        (head.opcode, payload)
    }

    #[test]
    fn a_template_changes_its_number_and_nothing_else() {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let mut template = Template::new(encoding, 1, "{}".to_owned());
            for seq in [FIRST_SEQ, FIRST_SEQ + 12_345] {
                let mut out = Vec::new();
                template.put(&mut out, seq);
                let (opcode, payload) = payload(&mut out);
                let head = head(opcode, payload).unwrap();
                assert_eq!((head.cmd_id, head.seq), (1, seq));
            }
        }
    }

    #[test]
    fn heads_are_read_however_they_are_written() {
        let expected = Some(Head {
            cmd_id: 2001,
            seq: 7,
            code: 503,
        });
        for json in [
            r#"{"cmd_id":2001,"seq":7,"code":503,"message":""}"#,
            r#"{ "code": 503, "seq": 7, "cmd_id": 2001 }"#,
        ] {
            assert_eq!(head(frame::TEXT, json.as_bytes()), expected, "{json}");
        }
        assert_eq!(head(frame::TEXT, b"hello"), None);
    }

    #[test]
    fn a_stamp_is_found_inside_a_message() {
        let text = format!(r#"{{"content":"{}"}}"#, stamped(Moment(123), 64));
        assert_eq!(stamp(text.as_bytes()), Some(Moment(123)));
        assert_eq!(stamp(b"loadgen@"), None);
    }
}
