//! Messages of an exact size, for the benchmarks of both kinds: sizes on the wire are what they are named by.

use bytes::Bytes;
use gateway_codec::proto::im::base::ImHeader;
use gateway_codec::{JsonRequest, encode_envelope, encode_json_request};

/// A JSON request of `bytes` bytes, `data` as JSON itself or as a string that holds JSON.
///
/// # Panics
/// Where `bytes` is less than the head alone.
pub(crate) fn json_request(bytes: usize, data_as_json: bool) -> String {
    let request = |text: &str| {
        let data = format!("{{\"text\":\"{text}\"}}");
        let request = JsonRequest {
            cmd_id: 3001,
            seq: 7,
            data: &data,
            data_as_json,
            ..JsonRequest::default()
        };
        encode_json_request(&request).unwrap_or_default()
    };
    let padding = bytes.checked_sub(request("").len());
    let text = request(&"x".repeat(padding.unwrap_or_default()));
    assert_eq!(text.len(), bytes, "no such short message");
    text
}

/// An envelope of `bytes` bytes, its body a protobuf message that the gateway does not look into.
///
/// # Panics
/// Where `bytes` is less than the head alone.
pub(crate) fn envelope(bytes: usize) -> Bytes {
    let header = ImHeader {
        version: "1.0".to_owned(),
        seq: 7,
        cmd_id: 3001,
        ..ImHeader::default()
    };
    let request = |body: &[u8]| encode_envelope(&header, "im.message.SendMessageRequest", body);
    let padding = bytes.checked_sub(request(&[]).len());
    let message = request(&vec![b'x'; padding.unwrap_or_default()]);
    assert_eq!(message.len(), bytes, "no such short message");
    message
}

/// The JSON of a back end's answer, `bytes` bytes long.
///
/// # Panics
/// Where `bytes` is less than 11.
pub(crate) fn json_body(bytes: usize) -> String {
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(bytes.saturating_sub(11)));
    assert_eq!(body.len(), bytes, "no such short body");
    body
}
