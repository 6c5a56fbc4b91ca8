//! The gateway's configuration: typed sections, where they come from, and what is wrong with them.
//!
//! Three files (`gateway_config.json`, `platform_strategy.json`, `router_config.json`), the environment and flags
//! become one [`Config`]. Every key is declared once, by the `section!` macro: its name, type, default, bounds and
//! meaning; reading, unknown-key messages, [`effective_json`] and [`reference_markdown`] all follow from that.
//!
//! All errors are told at once ([`ConfigErrors`]), each with its origin and path, and never with a secret.
//! What parses but must not run (a placeholder secret, a feature that this version lacks) is told apart:
//! [`Config::check_startable`].
//!
//! This crate opens no socket, makes no client, and reads neither the process's environment nor a clock: the
//! environment is passed in.
#![warn(missing_docs)]

mod byte_size;
mod checks;
mod config;
mod endpoint;
mod error;
mod load;
mod nearest;
mod node;
mod platforms;
mod reading;
mod redis_address;
mod reference;
mod reload;
mod routing;
mod secret;
mod section;
mod sections;
mod services;
mod setting;
mod show;
mod startable;
mod web_origin;

pub use byte_size::ByteSize;
pub use config::{Config, Storage};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ConfigError, ConfigErrors, ErrorKind, Origin};
pub use load::{LoadOptions, Loaded, Sources, Warning, load};
pub use node::{AdvertiseAddress, AdvertiseError, NodeName, NodeNameError};
pub use platforms::{DevicePolicy, Platforms};
pub use redis_address::{RedisUrl, RedisUrlError, redis_host, redis_node};
pub use reference::reference_markdown;
pub use reload::{ReloadError, ReloadSection, Reloaded, reload_auth, reload_section};
pub use routing::{
    Handler, HttpRoute, LoadBalancing, LocalHandler, RouteRule, Routing, Sensitivity, Strategy,
};
pub use secret::Secret;
pub use sections::{
    Algorithm, ApiKey, Auth, Cluster, Cors, Delivery, GrpcTls, Limits, LogFormat, Logging, PresenceEvents,
    Processing, Rebalance, Redis, Server, SigningKey, Telemetry,
};
pub use services::{Service, ServiceName, ServiceNameError};
pub use show::{Change, difference, effective_json};
pub use startable::Problem;
pub use web_origin::{OriginError, OriginPattern, Tuple, WebOrigin};
