//! The body of a Close frame (RFC 6455, 5.5.1 and 7.4).

use super::{MAX_CONTROL, ProtocolError};

/// Stands for a Close frame without a code; never sent.
pub const NO_STATUS: u16 = 1005;

/// The body of a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosePayload<'a> {
    /// The code, `None` for an empty body.
    pub code: Option<u16>,
    /// The reason, often empty.
    pub reason: &'a str,
}

impl<'a> ClosePayload<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let (code, reason) = match body {
            [] => {
                return Ok(Self {
                    code: None,
                    reason: "",
                });
            }
            [_] => return Err(ProtocolError::ShortClose),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !may_be_sent(code) {
            return Err(ProtocolError::BadCloseCode);
        }
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| ProtocolError::BadUtf8)?;
        Ok(Self {
            code: Some(code),
            reason,
        })
    }
}

/// Whether a peer may put this code into a Close frame: what IANA has registered, and 3000 to 4999.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The body of a Close frame of ours; a reason past 123 bytes is cut at a character.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if code == NO_STATUS {
        return Vec::new();
    }
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    let mut body = Vec::with_capacity(2 + reason.len());
    body.extend_from_slice(&code.to_be_bytes());
    body.extend_from_slice(reason.as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_be_sent_are_refused() {
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            assert_eq!(
                ClosePayload::parse(&u16::to_be_bytes(code)),
                Err(ProtocolError::BadCloseCode),
                "{code}"
            );
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(
                ClosePayload::parse(&u16::to_be_bytes(code)).unwrap().code,
                Some(code)
            );
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let body = close_payload(4411, &"踢".repeat(100));
        assert!(body.len() <= MAX_CONTROL);
        assert_eq!(ClosePayload::parse(&body).unwrap().reason, "踢".repeat(41));
    }
}
