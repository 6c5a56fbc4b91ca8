//! `router_config.json`: which command goes where, for how long and how freely repeated.
//!
//! A file's routes are laid over the default table: an entry for the same command or the same range replaces the
//! default one. What is in [`Routing::routes`] is the outcome; an exact command comes before any range.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use figment::value::Value;

use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::section::{names, section};
use crate::services::{Service, ServiceName};
use crate::setting::{Key, Secrets, Setting, Unit};

mod defaults;
mod entry;
mod handler;

pub use handler::{Handler, LocalHandler};

names! {
    /// How fresh a session's authentication must be for a command.
    pub enum Sensitivity, "sensitivity" {
        /// None is needed.
        "public" => Public,
        /// It may be up to `auth.revocation_check_seconds` old.
        "normal" => Normal,
        /// It is checked on this very message.
        "sensitive" => Sensitive,
    }
}

names! {
    /// How commands are spread over the endpoints of a service.
    pub enum Strategy, "strategy" {
        /// One after the other.
        "round_robin" => RoundRobin,
    }
}

/// How one command, or each command of a range, is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// The commands, at least 1, both ends included; one alone where they are equal.
    pub commands: RangeInclusive<u32>,
    /// Here, or at which service.
    pub handler: Handler,
    /// The whole call, repeats included.
    pub timeout: Duration,
    /// How often it may be sent again after a failure, with the same request id.
    pub retry_count: u32,
    /// How fresh the session's authentication must be.
    pub sensitivity: Sensitivity,
    /// Whether it may be sent again although it may have been done.
    pub idempotent: bool,
}

impl RouteRule {
    /// The key of its entry: `1001`, or `2001-2999`.
    #[must_use]
    pub fn key(&self) -> String {
        let (first, last) = (self.commands.start(), self.commands.end());
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    }
}

section! {
    /// How commands are spread over the endpoints of a service.
    pub struct LoadBalancing {
        /// How an endpoint is chosen among the healthy ones.
        "strategy" => strategy: Strategy = Strategy::RoundRobin;
        /// Endpoints of every service for which `services` names none, in place of 127.0.0.1 and the default port.
        /// Read at start only.
        "backend_servers" => backend_servers: Vec<Endpoint> = Vec::new();
    }
}

section! {
    /// A further HTTP path that stands for a command. Not available in this version: starting is refused.
    pub struct HttpRoute {
        /// HTTP method, in upper case.
        "method" => method: String = "POST".to_owned();
        /// Required: path, beginning with `/`.
        "path" => path: String = String::new();
        /// Required: the command that a request becomes.
        "cmd_id" => cmd_id: u32 = 0, 1..=4_294_967_295;
    }
}

/// The routes, as the router takes them.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Whether the default table lies below the file's routes.
    pub default_routes: bool,
    /// All routes; in the order of the defaults, then the file's.
    pub routes: Vec<RouteRule>,
    /// How commands are spread over endpoints.
    pub load_balancing: LoadBalancing,
    /// Further HTTP paths.
    pub http_routes: Vec<HttpRoute>,
}

impl Default for Routing {
    /// The default table.
    fn default() -> Self {
        Self {
            default_routes: true,
            routes: defaults::routes(),
            load_balancing: LoadBalancing::default(),
            http_routes: Vec::new(),
        }
    }
}

section! {
    /// The document without its routes, whose keys are free.
    struct Document {
        /// Whether the default table lies below the routes of this file; `false` starts from nothing.
        "default_routes" => default_routes: bool = true;
        /// How commands are spread over the endpoints of a service.
        "load_balancing" => load_balancing: LoadBalancing = LoadBalancing::default();
        /// Further HTTP paths that stand for commands.
        "http_routes" => http_routes: Vec<HttpRoute> = Vec::new();
    }
}

impl Routing {
    /// Keys of the file.
    pub(crate) fn keys() -> Vec<Key> {
        let mut keys = Document::nested();
        keys.insert(1, Key {
            name: "routes",
            type_name: "map from command to route".to_owned(),
            default: serde_json::Value::Null,
            bounds: None,
            meaning: &[
                " Routes by command (`\"1001\"`) or range (`\"2001-2999\"`). An exact command comes before a range; an",
                " entry for the same command or range replaces the default one.",
            ],
            nested: entry::Entry::nested(),
            joint: ".*.",
        });
        keys
    }

    /// The endpoints of services that name none, before anything else is known; wrong ones are told by [`Self::read`].
    pub(crate) fn shared_endpoints(root: &Value) -> Vec<Endpoint> {
        let servers = root
            .find_ref("load_balancing.backend_servers")
            .and_then(Value::as_array);
        servers
            .unwrap_or_default()
            .iter()
            .filter_map(|server| server.as_str()?.parse().ok())
            .collect()
    }

    /// Reads the document.
    pub(crate) fn read(services: &BTreeMap<ServiceName, Service>, reading: &mut Reading) -> Self {
        let mut root = reading.root();
        let mut entries = None;
        if reading.open(&root, &Place::at(""), &Self::keys()).is_none() {
            return Self::default();
        }
        if let Value::Dict(_, dict) = &mut root {
            let known = Self::keys();
            dict.retain(|name, _| known.iter().any(|key| key.name == name));
            entries = dict.remove("routes");
        }
        let document = Document::read(&root, &Place::at(""), reading).unwrap_or_default();
        for (index, route) in document.http_routes.iter().enumerate() {
            let place = Place::at(format!("http_routes[{index}]"));
            if !route.path.starts_with('/') {
                let what = "must begin with `/`".to_owned();
                reading.fault_at(&place.under("path").path, ErrorKind::Invalid(what));
            }
            if route.cmd_id == 0 {
                reading.fault_at(
                    &place.under("cmd_id").path,
                    ErrorKind::Missing("the command of this path"),
                );
            }
            if !matches!(route.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
                let what = "must be GET, POST, PUT, PATCH or DELETE".to_owned();
                reading.fault_at(&place.under("method").path, ErrorKind::Invalid(what));
            }
        }
        let own = entries
            .map(|entries| entry::read(&entries, services, reading))
            .unwrap_or_default();
        let mut routes = if document.default_routes {
            defaults::routes()
        } else {
            Vec::new()
        };
        routes.retain(|route| !own.iter().any(|other| other.commands == route.commands));
        routes.extend(own);
        Self {
            default_routes: document.default_routes,
            routes,
            load_balancing: document.load_balancing,
            http_routes: document.http_routes,
        }
    }

    /// Shows it as the file would have it, default routes written out.
    pub(crate) fn show(&self) -> serde_json::Value {
        let routes: serde_json::Map<_, _> = self
            .routes
            .iter()
            .map(|rule| {
                (
                    rule.key(),
                    entry::Entry::from(rule).show(Unit::None, Secrets::Hidden),
                )
            })
            .collect();
        serde_json::json!({
            "default_routes": self.default_routes,
            "routes": routes,
            "load_balancing": self.load_balancing.show(Unit::None, Secrets::Hidden),
            "http_routes": self.http_routes.show(Unit::None, Secrets::Hidden),
        })
    }
}
