//! The one table of codes: what a fault is called in JSON and HTTP, in protobuf, in gRPC, and with which code a
//! connection ends because of it.
//!
//! One exhaustive table, so that a new fault cannot be forgotten in one of the five languages. Which error
//! becomes which [`Code`] is decided where the error is known.

mod close;
#[cfg(test)]
mod tests;

pub use close::CloseCode;

use crate::proto::im::base::ErrorCode;

/// Outcome of a command, as told to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Done.
    Success,
    /// The message cannot be read or its content is wrong.
    BadRequest,
    /// Not logged in, or the token does not count.
    Unauthorized,
    /// Logged in, and not allowed.
    Forbidden,
    /// No such command, path or thing.
    NotFound,
    /// Not authenticated in time.
    AuthTimeout,
    /// In conflict with what is: logged in already, name taken.
    Conflict,
    /// Larger than the limit.
    TooLarge,
    /// Too many at once or too often.
    TooManyRequests,
    /// A fault of the gateway or of a back end.
    Internal,
    /// A part that is needed is away or full; trying again helps.
    Unavailable,
    /// A back end did not answer in time.
    GatewayTimeout,
}

/// One line of the table.
struct Row {
    json: u16,
    text: &'static str,
    error_code: ErrorCode,
    /// Number of `google.rpc.Code`.
    grpc: i32,
    close: CloseCode,
}

impl Code {
    /// Every code, in ascending order of [`Code::json`].
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::AuthTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
        Self::GatewayTimeout,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        use CloseCode as C;
        use ErrorCode as E;
        let (json, text, error_code, grpc, close) = match self {
            Self::Success => (200, "Success", E::Success, 0, C::Normal),
            Self::BadRequest => (400, "Bad Request", E::InvalidRequest, 3, C::Policy),
            Self::Unauthorized => (401, "Unauthorized", E::AuthFailed, 16, C::AuthFailed),
            Self::Forbidden => (403, "Forbidden", E::PermissionDenied, 7, C::Forbidden),
            Self::NotFound => (404, "Not Found", E::NotFound, 5, C::Policy),
            Self::AuthTimeout => (408, "Timeout", E::AuthFailed, 16, C::AuthTimeout),
            Self::Conflict => (409, "Conflict", E::AlreadyExists, 6, C::Policy),
            Self::TooLarge => (413, "Too Large", E::InvalidRequest, 3, C::TooLarge),
            Self::TooManyRequests => (429, "Too Many Requests", E::ServerError, 8, C::RateLimited),
            Self::Internal => (500, "Internal Server Error", E::ServerError, 13, C::Internal),
            Self::Unavailable => (503, "Service Unavailable", E::ServerError, 14, C::Overloaded),
            Self::GatewayTimeout => (504, "Gateway Timeout", E::Timeout, 4, C::Overloaded),
        };
        Row { json, text, error_code, grpc, close }
    }

    /// The number in JSON messages: 200, 400, …
    pub const fn json(self) -> u16 {
        self.row().json
    }

    /// The HTTP status: the same number.
    pub const fn http(self) -> u16 {
        self.json()
    }

    /// The text that stands in `message` where there is nothing better to say.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// The code in protobuf replies.
    pub const fn error_code(self) -> ErrorCode {
        self.row().error_code
    }

    /// The gRPC status, a number of `google.rpc.Code`.
    pub const fn grpc(self) -> i32 {
        self.row().grpc
    }

    /// What a connection that ends because of it is closed with.
    pub const fn close(self) -> CloseCode {
        self.row().close
    }

    /// Whether it is [`Code::Success`].
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success)
    }

    /// The code of a number in JSON; nothing for a number that is not in the table.
    pub fn from_json(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.json() == number)
    }

    /// The nearest code of a protobuf reply, for clients. Several codes share one [`ErrorCode`], so this does
    /// not undo [`Code::error_code`].
    pub const fn from_error_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Success => Self::Success,
            ErrorCode::InvalidRequest | ErrorCode::ParamError => Self::BadRequest,
            ErrorCode::AuthFailed => Self::Unauthorized,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::PermissionDenied => Self::Forbidden,
            ErrorCode::AlreadyExists => Self::Conflict,
            ErrorCode::Timeout => Self::GatewayTimeout,
            ErrorCode::ServerError | ErrorCode::UnknownError => Self::Internal,
        }
    }
}
