//! Access tokens, refresh families, revocation and API keys of MyChat Gateway.
//!
//! [`Authenticator`] gives out and checks tokens; [`ApiKeys`] checks the keys of operators and back ends. An
//! [`Identity`] can be had from a checked token only, so whoever holds one need not doubt it. Passwords are none of
//! this crate's business: the user service checks them.
//!
//! The crate also owns the [`Clock`] and the source of [`Random`]ness that all others are given. The feature
//! `test-util` adds a clock that stands still and mocks of the traits.
#![warn(missing_docs)]

mod api_keys;
mod authenticator;
mod claims;
mod clock;
mod error;
mod identity;
mod keys;
mod metrics;
mod random;
pub mod store;

pub use api_keys::{ApiKeys, KeyRole, same_secret};
pub use authenticator::Authenticator;
pub use clock::{Clock, SystemClock};
#[cfg(any(test, feature = "test-util"))]
pub use clock::{ManualClock, MockClock};
pub use error::{AuthError, SetupError};
pub use identity::{Identity, Subject, TokenPair};
pub use keys::KeyChange;
#[cfg(any(test, feature = "test-util"))]
pub use random::{MockRandom, SeededRandom};
pub use random::{Random, SystemRandom};
#[cfg(any(test, feature = "test-util"))]
pub use store::MockTokenStore;
pub use store::{EmbeddedTokenStore, RedisTokenStore, TokenStore};
