//! Writes a JSON message field by field.
//!
//! By hand, because `data` is either raw JSON or JSON inside a string, and because a message is written once
//! into the bytes that are sent, without a tree or a struct between.

use bytes::Bytes;

use crate::code::Code;
use crate::id::SessionId;
use crate::timestamp::Timestamp;

/// Room for everything but `data` in most messages: a buffer that has to grow costs as much as encoding.
const HEAD_BYTES: usize = 320;

/// A JSON message that is being written.
pub(crate) struct JsonMessage(Vec<u8>);

impl JsonMessage {
    /// Begins a message; `message` `""` stands for the code's own text, `data_len` is a guess at its size.
    pub(crate) fn begin(cmd_id: u32, seq: u64, code: Code, message: &str, data_len: usize) -> Self {
        // Quotes in `data` are escaped: an eighth more is about right for typical JSON in a string.
        let mut out = Self(Vec::with_capacity(HEAD_BYTES + data_len + data_len / 8));
        out.0.extend_from_slice(b"{\"cmd_id\":");
        out.number(cmd_id.into());
        out.key("seq");
        out.number(seq);
        out.key("code");
        out.number(code.json().into());
        out.text("message", if message.is_empty() { code.text() } else { message });
        out
    }

    /// A field whose value is a string.
    pub(crate) fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        if value
            .bytes()
            .all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
        {
            return self.quoted(value.as_bytes());
        }
        // A `Vec` takes every write, and a `str` serializes without fail.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// The field `session_id`.
    pub(crate) fn session(&mut self, id: SessionId) {
        self.key("session_id");
        self.quoted(&id.to_hex());
    }

    /// A field whose value is JSON already.
    pub(crate) fn raw(&mut self, key: &'static str, json: &str) {
        self.key(key);
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Ends the message with the time it was made.
    pub(crate) fn end(mut self, timestamp: Timestamp) -> Bytes {
        self.key("timestamp");
        self.quoted(&timestamp.to_ascii());
        self.0.push(b'}');
        self.0.into()
    }

    fn key(&mut self, key: &'static str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A string that needs no escapes.
    fn quoted(&mut self, value: &[u8]) {
        self.0.push(b'"');
        self.0.extend_from_slice(value);
        self.0.push(b'"');
    }

    fn number(&mut self, value: u64) {
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}
