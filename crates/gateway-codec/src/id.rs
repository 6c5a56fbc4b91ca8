//! Validated ids, so that nothing unchecked of a peer's becomes a map key, a Redis key or a log field.
//!
//! The textual ids share their text, since one user's id is held by each of its sessions, and are one word each
//! (`ArcStr`; an `Arc<str>` is two): an idle session holds a dozen of them. User and device ids are what other systems
//! make of them: addresses, URIs, GUIDs in braces, names with spaces. Whoever builds keys of them escapes separators.

mod random;
#[cfg(test)]
mod tests;

use arcstr::{ArcStr, literal};

pub use random::{RequestId, SessionId};

/// Longest user or device id, in bytes. An OpenID Connect subject has at most 255.
pub(crate) const MAX_ID_BYTES: usize = 256;

/// Longest node id, in bytes.
const MAX_NODE_ID_BYTES: usize = 128;

/// Longest platform name, in bytes.
const MAX_PLATFORM_BYTES: usize = 32;

/// Names that nearly every platform has: each token says one, and these cost its session no text of its own.
static WELL_KNOWN: [ArcStr; 10] = [
    literal!("android"),
    literal!("ios"),
    literal!("web"),
    literal!("desktop"),
    literal!("admin"),
    literal!("windows"),
    literal!("macos"),
    literal!("linux"),
    literal!("ipad"),
    literal!("harmony"),
];

/// Why a text is not an id. Safe to show to a client: the text itself is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// There is no text.
    #[error("is empty")]
    Empty,
    /// More bytes than such an id may have.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A character that such an id must not hold.
    #[error("holds a character that is not allowed")]
    BadCharacter,
    /// Not 32 hexadecimal digits.
    #[error("is not 32 hexadecimal digits")]
    NotHex,
}

fn check(text: &str, max_bytes: usize, is_refused: fn(char) -> bool) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > max_bytes {
        return Err(IdError::TooLong(max_bytes));
    }
    if text.contains(is_refused) {
        Err(IdError::BadCharacter)
    } else {
        Ok(())
    }
}

macro_rules! textual_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(ArcStr);

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

macro_rules! plain_id {
    ($name:ident, $max_bytes:expr, $is_refused:expr, $rules:literal) => {
        impl $name {
            #[doc = $rules]
            ///
            /// # Errors
            /// The rule that `text` breaks.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, $max_bytes, $is_refused)?;
                Ok(Self(text.into()))
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

textual_id! {
    /// A user: what a back end calls an account. Compared byte by byte. Cheap to clone.
    UserId
}
plain_id!(
    UserId,
    MAX_ID_BYTES,
    char::is_control,
    "Checks the rules: 1 to 256 bytes, no control character."
);

textual_id! {
    /// One device of a user, as the device names itself. Compared byte by byte. Cheap to clone.
    DeviceId
}
plain_id!(
    DeviceId,
    MAX_ID_BYTES,
    char::is_control,
    "Checks the rules: 1 to 256 bytes, no control character."
);

textual_id! {
    /// One running gateway of a cluster. Cheap to clone.
    NodeId
}
plain_id!(
    NodeId,
    MAX_NODE_ID_BYTES,
    |c| c.is_control() || c.is_whitespace() || matches!(c, '{' | '}' | ':'),
    "Checks the rules: 1 to 128 bytes, no control character, no white space, none of `{`, `}`, `:`."
);

textual_id! {
    /// A kind of device with a policy of its own: `android`, `ios`, `web`, `desktop`, … Cheap to clone.
    Platform
}

impl Platform {
    /// Checks the rules: 1 to 32 of `a-z`, `0-9`, `_`, `-`. Upper-case ASCII letters become lower case, so that
    /// `Android` and `android` are one platform.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MAX_PLATFORM_BYTES {
            return Err(IdError::TooLong(MAX_PLATFORM_BYTES));
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        {
            return Err(IdError::BadCharacter);
        }
        let known = WELL_KNOWN.iter().find(|known| known.eq_ignore_ascii_case(text));
        Ok(Self(
            known.map_or_else(|| text.to_ascii_lowercase().into(), ArcStr::clone),
        ))
    }

    /// The platform's name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
