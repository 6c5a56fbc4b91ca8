//! The sections of `gateway_config.json`.

mod auth;
mod cluster;
mod credentials;
mod limits;
mod observe;
mod redis;
mod server;
mod work;

pub use auth::Auth;
pub use cluster::{PresenceEvents, Rebalance};
pub use credentials::{Algorithm, ApiKey, SigningKey};
pub use limits::Limits;
pub use observe::{LogFormat, Logging, Telemetry};
pub use redis::Redis;
pub use server::{Cors, GrpcTls, Server};
pub use work::{Cluster, Delivery, Processing};
