//! What can be wrong with a configuration, where, and whose word it was.
//!
//! No error holds a secret: values are repeated only for keys that are not secret, and cut short.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in defaults.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line, by the path it sets.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("configuration"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(path) => write!(f, "flag for {path}"),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read: missing, not a regular file, too large, no permission.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A file is not JSON.
    #[error("is not valid JSON at line {line}, column {column}: {what}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser said.
        what: String,
    },
    /// A key that nobody knows.
    #[error("unknown key; the nearest known key is `{nearest}`")]
    UnknownKey {
        /// Full path of the nearest known key.
        nearest: String,
    },
    /// A value of another type than the key's.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What the key takes.
        expected: String,
        /// What was there; the value itself only where it cannot be a secret.
        found: String,
    },
    /// A number outside its bounds.
    #[error("must be from {low} to {high}, is {found}")]
    OutOfBounds {
        /// Smallest value.
        low: u64,
        /// Largest value.
        high: u64,
        /// What was there.
        found: String,
    },
    /// A name out of a closed set that is not in it.
    #[error("unknown {what} `{found}`; the nearest known one is `{nearest}`")]
    UnknownName {
        /// What kind of name.
        what: &'static str,
        /// The name.
        found: String,
        /// The nearest known one.
        nearest: String,
    },
    /// A key that must be there.
    #[error("is required: {0}")]
    Missing(&'static str),
    /// A value of the right type that cannot be.
    #[error("{0}")]
    Invalid(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Whose word it was.
    pub origin: Origin,
    /// Path of the key as it was written there, as in `server.http_port` or `auth.keys[0].kid`; empty for a whole
    /// file.
    pub path: String,
    /// What is wrong.
    pub kind: ErrorKind,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.kind),
            path => write!(f, "{}: {path}: {}", self.origin, self.kind),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong, at once; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, in the order of the files and keys.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    /// One error a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
