//! Where the endpoints of a service are.
//!
//! For now the configuration says it, once, at start. The trait is the place where DNS or a registry goes.

use std::collections::BTreeMap;

use gateway_config::{Service, ServiceName};

/// Finds the endpoints of a service.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait Resolver: Send + Sync {
    /// The service's endpoints as `http://host:port`; empty if it has none.
    fn endpoints(&self, service: &ServiceName) -> Vec<String>;
}

/// The endpoints that the configuration names.
#[derive(Debug, Clone)]
pub struct StaticResolver {
    endpoints: BTreeMap<ServiceName, Vec<String>>,
}

impl StaticResolver {
    /// Takes over the endpoints of all services.
    #[must_use]
    pub fn new(services: &BTreeMap<ServiceName, Service>) -> Self {
        let endpoints = services
            .iter()
            .map(|(name, service)| {
                (
                    name.clone(),
                    service.endpoints.iter().map(ToString::to_string).collect(),
                )
            })
            .collect();
        Self { endpoints }
    }
}

impl Resolver for StaticResolver {
    fn endpoints(&self, service: &ServiceName) -> Vec<String> {
        self.endpoints.get(service).cloned().unwrap_or_default()
    }
}
