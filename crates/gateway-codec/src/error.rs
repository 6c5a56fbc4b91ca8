//! What is wrong with a message, in words that a client may read.
//!
//! The words name the fault and hold nothing of the message but names of the contract's own fields, and
//! nothing of the libraries below.

use crate::code::Code;

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or something after it. `column` counts bytes of `line` from 1.
    #[error("the message is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Byte in that line, from 1.
        column: usize,
    },
    /// JSON, and not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Name of the field.
        field: &'static str,
    },
    /// A field of the wrong type or out of its range.
    #[error("{field} is not {expected}")]
    WrongType {
        /// Name of the field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A field of the contract stands twice: which one counts would be a matter of taste.
    #[error("{field} stands twice")]
    Duplicate {
        /// Name of the field.
        field: &'static str,
    },
    /// A field longer than it may be.
    #[error("{field} is too long")]
    TooLong {
        /// Name of the field.
        field: &'static str,
    },
    /// Objects and arrays inside one another, deeper than [`MAX_DATA_DEPTH`](crate::MAX_DATA_DEPTH).
    #[error("data is nested too deeply")]
    TooDeep,
    /// Command 0 is nobody's.
    #[error("cmd_id is 0")]
    ZeroCommand,
    /// Too few bytes to hold a checksum.
    #[error("the envelope is shorter than its checksum")]
    TooShort,
    /// The checksum is another.
    #[error("the envelope's checksum is wrong")]
    BadChecksum,
    /// A length that takes more than 5 bytes or does not fit 32 bits.
    #[error("a length in the envelope is not a 32-bit varint")]
    BadLength,
    /// A header of no bytes.
    #[error("the envelope's header is empty")]
    EmptyHeader,
    /// A type name of no bytes.
    #[error("the envelope's type name is empty")]
    EmptyTypeName,
    /// A length that reaches past the end.
    #[error("a length in the envelope reaches past its end")]
    PastEnd,
    /// The type name is not UTF-8.
    #[error("the envelope's type name is not UTF-8")]
    BadTypeName,
    /// The header is no `im.base.IMHeader`.
    #[error("the envelope's header is not an im.base.IMHeader")]
    BadHeader,
    /// Text in the header that is not UTF-8. It is never replaced: two devices must not become one.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// Name of the field.
        field: &'static str,
    },
    /// The body is not what the type name says.
    #[error("the envelope's body is not of its type")]
    BadBody,
    /// The payload of an `im.base.BaseRequest` or `im.base.BaseResponse` is not JSON in UTF-8.
    #[error("payload is not valid JSON")]
    BadPayload,
}

impl DecodeError {
    /// What a client is told: always [`Code::BadRequest`].
    pub const fn code(&self) -> Code {
        Code::BadRequest
    }
}

/// Why a message cannot be written. What was to be written is at fault, not the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The body does not fit the form of the reply.
    #[error("bad body: {0}")]
    BadBody(&'static str),
}
