//! Ids of 128 random bits: unique across nodes and restarts without asking anybody, and not to be guessed.
//!
//! The random bytes come from the caller, because nothing here reads a source of randomness by itself.

use super::IdError;

/// Hexadecimal digits of 128 bits.
const DIGITS: usize = 32;

fn parse_hex(text: &str) -> Result<u128, IdError> {
    // `from_str_radix` would take a sign.
    if text.len() != DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(IdError::NotHex);
    }
    u128::from_str_radix(text, 16).map_err(|_| IdError::NotHex)
}

/// The digits of an id. By a table, because an id stands in every message: `{:032x}` of a `u128` took 3 % of the
/// gateway's time under load.
fn hex(id: u128) -> [u8; DIGITS] {
    const DIGIT: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; DIGITS];
    for (pair, byte) in text.chunks_exact_mut(2).zip(id.to_be_bytes()) {
        pair[0] = DIGIT[usize::from(byte >> 4)];
        pair[1] = DIGIT[usize::from(byte & 0xF)];
    }
    text
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// Makes an id of 16 bytes, which must come from a cryptographic source.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }

            /// Reads 32 hexadecimal digits of either case.
            ///
            /// # Errors
            /// [`IdError::NotHex`] for anything else.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }

            /// Its text, 32 lower-case hexadecimal digits in ASCII.
            pub fn to_hex(self) -> [u8; DIGITS] {
                hex(self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                // Digits are ASCII.
                f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

random_id! {
    /// One connection's session. Shown as 32 lower-case hexadecimal digits.
    SessionId
}

random_id! {
    /// One command on its way to a back end; the same on every retry, so that it is done once. Shown as 32
    /// lower-case hexadecimal digits.
    RequestId
}
