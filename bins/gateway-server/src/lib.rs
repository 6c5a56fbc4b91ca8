//! MyChat Gateway as a library: build it, register handlers, run it, speak to it.
//!
//! ```no_run
//! use gateway_server::{CommandAnswer, Gateway};
//! # async fn example(config: gateway_config::Config) -> Result<(), gateway_server::GatewayError> {
//! let gateway = Gateway::builder(config)
//!     .on_command(9001, |command| async move {
//!         Ok(CommandAnswer::json(&serde_json::json!({"bytes": command.data.len()})))
//!     })
//!     .build()
//!     .await?;
//! println!("{:?}", gateway.addresses());
//! gateway.run(tokio_util::sync::CancellationToken::new()).await
//! # }
//! ```
//!
//! [`gateway`] holds all wiring. A message goes through [`pipeline`], then [`upstream`] where a back end answers
//! it; [`http`] and [`grpc`] are the two other doors to the same parts.

pub mod cli;
pub mod cluster;
pub mod drain;
pub mod fault;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod load;
pub mod logging;
pub mod metrics;
pub mod offline;
pub mod params;
pub mod phase;
pub mod pipeline;
pub mod preflight;
pub mod presence;
pub mod rebalance;
pub mod reload;
pub mod rotation;
pub mod sign_in;
pub mod state;
pub mod tls;
pub mod upstream;

pub use gateway::{Addresses, Gateway, GatewayBuilder, GatewayError, GatewayHandle};
pub use phase::Phase;
pub use pipeline::handlers::{Command, CommandAnswer, CommandError};
