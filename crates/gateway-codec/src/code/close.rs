//! The close codes of a WebSocket connection: RFC 6455's, and the gateway's own from 4401.

/// Why a connection was closed, as the Close frame says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The conversation is over.
    Normal = 1000,
    /// The gateway goes away.
    GoingAway = 1001,
    /// The peer broke RFC 6455.
    ProtocolError = 1002,
    /// A text message that is not UTF-8.
    InvalidPayload = 1007,
    /// Too many unreadable messages.
    Policy = 1008,
    /// A message over the limit.
    TooLarge = 1009,
    /// A fault of the gateway.
    Internal = 1011,
    /// The gateway restarts: reconnect after the time its notice names.
    Restart = 1012,
    /// Overloaded, try later.
    Overloaded = 1013,
    /// Authentication failed or expired.
    AuthFailed = 4401,
    /// Not allowed.
    Forbidden = 4403,
    /// Not authenticated in time.
    AuthTimeout = 4408,
    /// No message for longer than the platform allows.
    Idle = 4409,
    /// A newer login took the place.
    Replaced = 4410,
    /// Sent away by an administrator.
    Kicked = 4411,
    /// The token was revoked.
    Revoked = 4412,
    /// The peer reads too slowly: its outbound queue is over the limit.
    TooSlow = 4413,
    /// Too many messages.
    RateLimited = 4429,
}

impl CloseCode {
    /// Every close code, ascending.
    pub const ALL: [Self; 18] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::InvalidPayload,
        Self::Policy,
        Self::TooLarge,
        Self::Internal,
        Self::Restart,
        Self::Overloaded,
        Self::AuthFailed,
        Self::Forbidden,
        Self::AuthTimeout,
        Self::Idle,
        Self::Replaced,
        Self::Kicked,
        Self::Revoked,
        Self::TooSlow,
        Self::RateLimited,
    ];

    /// The number in the Close frame.
    pub const fn as_u16(self) -> u16 {
        self as u16
    }

    /// The close code of a number; nothing for a number the gateway does not use.
    pub fn from_u16(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_u16() == number)
    }

    /// Whether a client may come back by itself, with back-off. After the others it would be sent away again,
    /// or would send away the login that replaced it.
    pub const fn may_reconnect(self) -> bool {
        !matches!(
            self,
            Self::AuthFailed | Self::Forbidden | Self::Replaced | Self::Kicked | Self::Revoked
        )
    }
}
