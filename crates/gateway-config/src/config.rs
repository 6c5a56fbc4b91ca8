//! The whole configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::load::Sources;
use crate::platforms::Platforms;
use crate::reading::{Place, Reading};
use crate::redis_address;
use crate::routing::Routing;
use crate::section::names;
use crate::sections::{Auth, Cluster, Cors, Delivery, Limits, Logging, Processing, Redis, Server, Telemetry};
use crate::services::{self, Service, ServiceName};
use crate::setting::{Key, Setting, Unit};

names! {
    /// Where sessions and tokens are kept.
    pub enum Storage, "storage" {
        /// In this process's memory, for one node.
        "embedded" => Embedded,
        /// In Redis.
        "redis" => Redis,
    }
}

/// The whole configuration; swapped whole or not at all.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners and threads.
    pub server: Server,
    /// Bounds on what one client may do.
    pub limits: Limits,
    /// Tokens and keys.
    pub auth: Auth,
    /// The Redis server, where one is given.
    pub redis: Option<Redis>,
    /// Where sessions and tokens are kept. Left out it is `redis` where a Redis server is given; with `--dev` it is
    /// always embedded.
    pub storage: Storage,
    /// Logs.
    pub logging: Logging,
    /// Back ends.
    pub services: BTreeMap<ServiceName, Service>,
    /// Pushes.
    pub delivery: Delivery,
    /// Handlers of an embedding program.
    pub processing: Processing,
    /// This node among others.
    pub cluster: Cluster,
    /// How this gateway is named in what it tells.
    pub telemetry: Telemetry,
    /// Web pages of other origins.
    pub cors: Cors,
    /// `platform_strategy.json`.
    pub platforms: Platforms,
    /// `router_config.json`.
    pub router: Routing,
    /// Which files it was read from; not a part of what takes effect.
    pub sources: Sources,
}

impl Config {
    /// Every key at its default: embedded store, no secret.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            server: Server::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            redis: None,
            storage: Storage::Embedded,
            logging: Logging::default(),
            services: services::default_services(&[]),
            delivery: Delivery::default(),
            processing: Processing::default(),
            cluster: Cluster::default(),
            telemetry: Telemetry::default(),
            cors: Cors::default(),
            platforms: Platforms::default(),
            router: Routing::default(),
            sources: Sources::default(),
        }
    }

    /// For tests and embedding programs: the defaults on 127.0.0.1 with free ports. The secret is left out; in
    /// development the server makes one at start.
    #[must_use]
    pub fn for_dev() -> Self {
        let mut config = Self::defaults();
        config.server.host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        config.server.websocket_port = 0;
        config.server.http_port = 0;
        config.server.grpc_port = 0;
        config
    }

    /// Reads the main document into `self`, which holds the defaults; what a file says of routes and platforms is
    /// read apart. `shared` are the endpoints of services that name none.
    pub(crate) fn read_main(reading: &mut Reading, shared: &[crate::Endpoint]) -> Self {
        let mut config = Self::defaults();
        let root = reading.root();
        let top = Place::at("");
        let Some(dict) = reading.open(&root, &top, &Self::keys()) else {
            return config;
        };
        config.server = reading.field(dict, &top, "server", None, Server::default);
        config.limits = reading.field(dict, &top, "limits", None, Limits::default);
        config.auth = reading.field(dict, &top, "auth", None, Auth::default);
        config.redis = reading.field(dict, &top, "redis", None, || None);
        if let Some(redis) = &mut config.redis {
            redis_address::take_apart(redis, reading);
        }
        let storage: Option<Storage> = reading.field(dict, &top, "storage", None, || None);
        config.logging = reading.field(dict, &top, "logging", None, Logging::default);
        config.services = services::read(dict.get("services"), shared, reading);
        config.delivery = reading.field(dict, &top, "delivery", None, Delivery::default);
        config.processing = reading.field(dict, &top, "processing", None, Processing::default);
        config.cluster = reading.field(dict, &top, "cluster", None, Cluster::default);
        config.telemetry = reading.field(dict, &top, "telemetry", None, Telemetry::default);
        config.cors = reading.field(dict, &top, "cors", None, Cors::default);
        let given = if config.redis.is_some() {
            Storage::Redis
        } else {
            Storage::Embedded
        };
        config.storage = storage.unwrap_or(given);
        if config.storage == Storage::Redis && config.redis.is_none() {
            config.redis = Some(Redis::default());
        }
        config
    }

    /// Keys of the main file.
    pub(crate) fn keys() -> Vec<Key> {
        fn section<T: Setting>(name: &'static str, meaning: &'static [&'static str]) -> Key {
            Key {
                name,
                type_name: T::type_name(Unit::None),
                default: serde_json::Value::Null,
                bounds: None,
                meaning,
                nested: T::nested(),
                joint: T::JOINT,
            }
        }
        let services = Key {
            name: "services",
            type_name: "map from service to section".to_owned(),
            default: serde_json::Value::Null,
            bounds: None,
            meaning: &[
                " Back ends by name; `user_service` is read as `user`, and `host` and `port` may stand in place of",
                " `endpoints`. Default: `user`, `message`, `friend`, `group`, `push` at 127.0.0.1:9001 to 9005.",
            ],
            nested: Service::nested(),
            joint: ".*.",
        };
        vec![
            section::<Server>(
                "server",
                &[" Listeners and threads. `gateway` is read as `server` too."],
            ),
            section::<Limits>(
                "limits",
                &[" Bounds on what one client may send, hold and wait for."],
            ),
            section::<Auth>("auth", &[" Tokens, keys and how long they live."]),
            section::<Option<Storage>>(
                "storage",
                &[
                    " Where sessions and tokens are kept. Left out, it is `redis` where a `redis` section, `REDIS_URL` or `REDIS_HOST`",
                    " is given, else `embedded`.",
                ],
            ),
            section::<Option<Redis>>("redis", &[" The Redis server."]),
            services,
            section::<Delivery>("delivery", &[" Pushes and their acknowledgement."]),
            section::<Processing>(
                "processing",
                &[" Bounds on the handlers that an embedding program registers."],
            ),
            section::<Cluster>("cluster", &[" This node among others."]),
            section::<Logging>("logging", &[" Logs, to the console in this version."]),
            section::<Telemetry>(
                "telemetry",
                &[" How this gateway is named in what it tells of itself."],
            ),
            section::<Cors>("cors", &[" Web pages of other origins."]),
        ]
    }
}
