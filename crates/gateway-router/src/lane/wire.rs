//! `CommandBatch` as it is written: each request is already encoded.
//!
//! An embedded message and a `bytes` field look the same on the wire, so a command is encoded once where it is
//! called, shared by its repeats without a copy, and laid into batches whose size is known.

use bytes::Bytes;
use prost::Message as _;

/// Bytes before a gRPC message.
const HEADER: usize = 5;

/// `mychat.backend.v1.CommandBatch` with encoded requests.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RawBatch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) commands: Vec<RawCommand>,
}

/// `mychat.backend.v1.Command` with an encoded request.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RawCommand {
    #[prost(uint64, tag = "1")]
    pub(crate) correlation_id: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) timeout_ms: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) request: Bytes,
}

impl RawBatch {
    /// The batch as an uncompressed gRPC message: its flag, its length, itself.
    pub(crate) fn frame(&self) -> Bytes {
        let length = self.encoded_len();
        let mut frame = Vec::with_capacity(HEADER + length);
        frame.push(0);
        // A batch is half a MiB or one command, far below what the length can say.
        frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        self.encode_raw(&mut frame);
        frame.into()
    }
}

#[cfg(test)]
mod tests {
    use gateway_codec::proto::backend::{CommandBatch, CommandRequest};

    use super::*;

    #[test]
    fn a_raw_batch_is_a_command_batch_on_the_wire() {
        let request = CommandRequest {
            request_id: "r-1".to_owned(),
            cmd_id: 2001,
            user_id: "alice".to_owned(),
            body: b"{}".to_vec().into(),
            ..Default::default()
        };
        let raw = RawBatch {
            commands: vec![RawCommand {
                correlation_id: 7,
                timeout_ms: 3000,
                request: request.encode_to_vec().into(),
            }],
        };
        let frame = raw.frame();
        assert_eq!(frame[0], 0);
        assert_eq!(
            frame[1..HEADER],
            u32::try_from(frame.len() - HEADER).unwrap().to_be_bytes()
        );
        let batch = CommandBatch::decode(&frame[HEADER..]).unwrap();
        assert_eq!(batch.commands.len(), 1);
        assert_eq!(batch.commands[0].correlation_id, 7);
        assert_eq!(batch.commands[0].timeout_ms, 3000);
        assert_eq!(batch.commands[0].request.as_ref(), Some(&request));
    }
}
