//! `CommandBatch` as it is written: each request is already encoded.
//!
//! An embedded message and a `bytes` field look the same on the wire, so a command is encoded once where it is
//! called, shared by its repeats without a copy, and laid into batches whose size is known.

use bytes::Bytes;

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

#[cfg(test)]
mod tests {
    use gateway_codec::proto::backend::{CommandBatch, CommandRequest};
    use prost::Message;

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
        let batch = CommandBatch::decode(raw.encode_to_vec().as_slice()).unwrap();
        assert_eq!(batch.commands.len(), 1);
        assert_eq!(batch.commands[0].correlation_id, 7);
        assert_eq!(batch.commands[0].timeout_ms, 3000);
        assert_eq!(batch.commands[0].request.as_ref(), Some(&request));
    }
}
