//! Back-end services: their names, and how each is reached.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use figment::value::Value;

use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::section::section;
use crate::setting::Setting;

/// The five services of the contract, with the ports they have on 127.0.0.1 by default.
pub(crate) const DEFAULT_SERVICES: &[(&str, u16)] = &[
    ("user", 9001),
    ("message", 9002),
    ("friend", 9003),
    ("group", 9004),
    ("push", 9005),
];

/// Name of a back-end service: 1 to 32 of `a-z`, `0-9`, `-` and `_`, beginning with a letter. `user_service` is read
/// as `user`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// A text that is not a [`ServiceName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a service name is 1 to 32 of a-z, 0-9, - and _, beginning with a letter")]
pub struct ServiceNameError;

impl ServiceName {
    /// The service that knows users and passwords.
    #[must_use]
    pub fn user() -> Self {
        Self("user".into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        let name = match text.strip_suffix("_service") {
            Some(name) if !name.is_empty() => name,
            _ => text,
        };
        let plausible =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let fits = name.len() <= 32 && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if fits && name.bytes().all(plausible) {
            Ok(Self(name.into()))
        } else {
            Err(ServiceNameError)
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for ServiceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

section! {
    /// How one service is reached. `host` and `port` may stand in place of `endpoints`.
    pub struct Service {
        /// Where it listens; commands are spread over all that are healthy.
        "endpoints" => endpoints: Vec<Endpoint> = Vec::new();
        /// Commands that may be under way to it; more get 503.
        "max_in_flight" => max_in_flight: usize = 10_000, 1..=1_000_000;
        /// Time to make a connection.
        "connect_timeout_ms" => connect_timeout: Duration = Duration::from_secs(2), 10..=60_000;
        /// gRPC streams to each endpoint per worker thread.
        "lanes_per_worker" => lanes_per_worker: usize = 1, 1..=64;
    }
}

/// The five services at their default places, or all at `endpoints` where there are some.
pub(crate) fn default_services(endpoints: &[Endpoint]) -> BTreeMap<ServiceName, Service> {
    let place = |port| match endpoints {
        [] => Endpoint::new("127.0.0.1", port).into_iter().collect(),
        _ => endpoints.to_vec(),
    };
    let named = |(name, port): &(&str, u16)| {
        let name = ServiceName(Arc::from(*name));
        (
            name,
            Service {
                endpoints: place(*port),
                ..Service::default()
            },
        )
    };
    DEFAULT_SERVICES.iter().map(named).collect()
}

/// Reads the `services` section: entries are laid over the defaults.
///
/// `shared` are the endpoints of services that name none (`load_balancing.backend_servers`).
pub(crate) fn read(
    value: Option<&Value>,
    shared: &[Endpoint],
    reading: &mut Reading,
) -> BTreeMap<ServiceName, Service> {
    let mut services = default_services(shared);
    let place = Place::at("services");
    let Some(entries) = value.and_then(|value| reading.entries(value, &place)) else {
        return services;
    };
    for (name, value) in entries {
        let place = place.under(name);
        match name.parse::<ServiceName>() {
            Ok(name) => {
                let fallback = services
                    .remove(&name)
                    .map(|service| service.endpoints)
                    .unwrap_or_default();
                services.insert(name.clone(), read_one(&name, value, fallback, &place, reading));
            }
            Err(error) => reading.fault(&place, value, ErrorKind::Invalid(error.to_string())),
        }
    }
    services
}

/// `host` and `port` are taken out first: they are another way to write one endpoint. What the environment or a flag
/// says in one way wins over what the file says in the other.
fn read_one(
    name: &ServiceName,
    value: &Value,
    fallback: Vec<Endpoint>,
    place: &Place,
    reading: &mut Reading,
) -> Service {
    let (mut rest, mut host, mut port) = (value.clone(), None, None);
    if let Value::Dict(_, dict) = &mut rest {
        (host, port) = (dict.remove("host"), dict.remove("port"));
    }
    let mut service = Service::read(&rest, place, reading).unwrap_or_default();
    let endpoints = rest.find_ref("endpoints");
    let is_text = |value: &Option<&Value>| value.is_some_and(|value| reading.is_text_layer(value));
    let (list_is_text, pair_is_text) = (
        is_text(&endpoints),
        is_text(&host.as_ref()) || is_text(&port.as_ref()),
    );
    if endpoints.is_some() && list_is_text && !pair_is_text {
        (host, port) = (None, None);
    }
    if host.is_none() && port.is_none() {
        if endpoints.is_none() {
            if fallback.is_empty() {
                reading.fault(
                    place,
                    value,
                    ErrorKind::Missing("this service has no `endpoints`"),
                );
            }
            service.endpoints = fallback;
        }
        return service;
    }
    if endpoints.is_some() && list_is_text == pair_is_text {
        let what = "give either `endpoints`, or `host` and `port`".to_owned();
        reading.fault(place, value, ErrorKind::Invalid(what));
        return service;
    }
    let base = service.endpoints.first().cloned();
    if let Some(endpoint) = read_pair(name, (host.as_ref(), port.as_ref()), base, value, place, reading) {
        service.endpoints = vec![endpoint];
    }
    service
}

/// An endpoint out of `host` and `port`; what is left out is that of `base`, else the default.
fn read_pair(
    name: &ServiceName,
    (host, port): (Option<&Value>, Option<&Value>),
    base: Option<Endpoint>,
    value: &Value,
    place: &Place,
    reading: &mut Reading,
) -> Option<Endpoint> {
    let known = || {
        DEFAULT_SERVICES
            .iter()
            .find(|(known, _)| *known == name.as_str())
            .map(|(_, port)| *port)
    };
    let (host_place, mut port_place) = (place.under("host"), place.under("port"));
    port_place.bounds = Some((1, 65_535));
    let host_text = match host {
        Some(host) => String::read(host, &host_place, reading),
        None => Some(base.as_ref().map_or("127.0.0.1", Endpoint::host).to_owned()),
    };
    let port = match port {
        Some(port) => u16::read(port, &port_place, reading),
        None => {
            let port = base.as_ref().map(Endpoint::port).or_else(known);
            if port.is_none() {
                let why = "only the five built-in services have a default port";
                reading.fault(&port_place, value, ErrorKind::Missing(why));
            }
            port
        }
    };
    match Endpoint::new(host_text?.trim(), port?) {
        Ok(endpoint) => Some(endpoint),
        Err(error) => {
            let kind = ErrorKind::Invalid(error.to_string());
            reading.fault(&host_place, host.unwrap_or(value), kind);
            None
        }
    }
}
