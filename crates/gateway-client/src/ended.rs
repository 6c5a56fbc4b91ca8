//! How a connection came to its end, and whether the gateway wants to see this client again.

use std::time::Duration;

use gateway_codec::CloseCode;

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The close code that the gateway sent; `None` where there was none: the network, silence, or this side.
    pub code: Option<u16>,
    /// The reason in the Close frame, or a few words of this side's own.
    pub reason: String,
    /// How long the gateway asked to be left alone, where it did (notice `draining` before
    /// a 1012, or `retry_after_ms=…` in the reason).
    pub retry_after: Option<Duration>,
    /// Whether this side closed it on purpose.
    pub by_us: bool,
}

impl Ended {
    pub(crate) fn by_peer(code: u16, reason: String) -> Self {
        Self {
            code: Some(code),
            reason,
            retry_after: None,
            by_us: false,
        }
    }

    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: reason.into(),
            retry_after: None,
            by_us: false,
        }
    }

    pub(crate) fn by_us() -> Self {
        Self {
            code: None,
            reason: "closed on this side".to_owned(),
            retry_after: None,
            by_us: true,
        }
    }

    /// Whether a client may reconnect without its user asking for it. Not after 4401, 4403, 4410, 4411 and 4412,
    /// and not where this side closed the connection.
    #[must_use]
    pub fn may_reconnect(&self) -> bool {
        let told = self.code.and_then(CloseCode::from_u16);
        !self.by_us && told.is_none_or(CloseCode::may_reconnect)
    }

    /// Whether a command that this end left without an answer was certainly not carried out, and may be sent again
    /// without the risk of doing it twice. So after 1012 and 1013 of the gateway's: it finishes and answers what it
    /// has begun before it closes with them. After any other end, a lost connection above all, nobody knows.
    #[must_use]
    pub fn may_resend(&self) -> bool {
        !self.by_us && matches!(self.code, Some(1012 | 1013))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contracts_codes_forbid_to_come_back() {
        for code in [4401, 4403, 4410, 4411, 4412] {
            assert!(!Ended::by_peer(code, String::new()).may_reconnect(), "{code}");
        }
        for code in [1000, 1001, 1008, 1012, 1013, 4408, 4409, 4413, 4429, 4999] {
            assert!(Ended::by_peer(code, String::new()).may_reconnect(), "{code}");
        }
        assert!(Ended::lost("gone").may_reconnect());
        assert!(!Ended::by_us().may_reconnect());
    }

    #[test]
    fn only_an_orderly_end_of_the_gateways_allows_to_send_again() {
        for code in [1012, 1013] {
            let ended = Ended::by_peer(code, String::new());
            assert!(ended.may_resend(), "{code}");
            assert!(!Ended { by_us: true, ..ended }.may_resend(), "{code}");
        }
        for code in [1000, 1001, 1005, 1006, 1011, 4409, 4410] {
            assert!(!Ended::by_peer(code, String::new()).may_resend(), "{code}");
        }
        assert!(!Ended::lost("gone").may_resend() && !Ended::by_us().may_resend());
    }
}
