//! MyChat's protobuf framing, written by hand so that the gateway's own codec is not its own judge.

use gateway_codec::proto::im::base::{BaseRequest, ImHeader};
use prost::Message;

/// A header as a client fills it.
pub fn header(cmd_id: u32, seq: u32) -> ImHeader {
    ImHeader {
        version: "1.0".into(),
        cmd_id,
        seq,
        timestamp: 1,
        ..ImHeader::default()
    }
}

/// One binary frame: `varint header_len | varint type_len | type | header | body | crc32`.
pub fn envelope(header: &ImHeader, type_name: &str, body: &impl Message) -> Vec<u8> {
    let header = header.encode_to_vec();
    let mut frame = Vec::new();
    varint(header.len() as u64, &mut frame);
    varint(type_name.len() as u64, &mut frame);
    frame.extend_from_slice(type_name.as_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(&body.encode_to_vec());
    seal(frame)
}

/// A command without an `im.*` type: `im.base.BaseRequest` with JSON inside.
pub fn json_envelope(header: &ImHeader, data: &serde_json::Value) -> Vec<u8> {
    envelope(
        header,
        "im.base.BaseRequest",
        &BaseRequest {
            payload: data.to_string().into(),
        },
    )
}

/// Appends the CRC.
pub fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// An unsigned varint.
pub fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// A received frame, taken apart and checked.
#[derive(Debug)]
pub struct Opened {
    pub header: ImHeader,
    pub type_name: String,
    pub body: Vec<u8>,
}

impl Opened {
    /// Takes a frame apart.
    pub fn read(frame: &[u8]) -> Self {
        let (content, crc) = frame.split_at(frame.len() - 4);
        assert_eq!(crc32fast::hash(content).to_le_bytes(), crc, "the CRC of a reply");
        let (header_len, rest) = read_varint(content);
        let (type_len, rest) = read_varint(rest);
        let (type_name, rest) = rest.split_at(type_len);
        let (header, body) = rest.split_at(header_len);
        Self {
            header: ImHeader::decode(header).unwrap(),
            type_name: String::from_utf8(type_name.to_vec()).unwrap(),
            body: body.to_vec(),
        }
    }

    /// Its body as a message of type `M`, whose full name is `type_name`.
    pub fn body<M: Message + Default>(&self, type_name: &str) -> M {
        assert_eq!(self.type_name, type_name);
        M::decode(self.body.as_slice()).unwrap()
    }
}

fn read_varint(bytes: &[u8]) -> (usize, &[u8]) {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= ((byte & 0x7f) as usize) << (7 * index);
        if byte & 0x80 == 0 {
            return (value, &bytes[index + 1..]);
        }
    }
    panic!("a varint without an end")
}
