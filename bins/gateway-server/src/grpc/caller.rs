//! Who calls on the gRPC listener, and what proves it: a service key, or the name in a certificate.
//!
//! That a certificate is signed by an authority of ours was seen at the handshake; what its holder is, its DNS names
//! tell. A back end's names make no node of it, nor a node's name a back end.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_auth::{ApiKeys, KeyRole};
use tonic::{Request, Status};

/// The names in the certificate that the other end has shown, if it has.
#[derive(Clone, Default)]
pub struct Shown(pub Option<Arc<[String]>>);

impl Shown {
    /// What the caller of a request has shown.
    pub fn by<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether one of the names is this one.
    pub fn has(&self, name: &str) -> bool {
        self.0
            .as_ref()
            .is_some_and(|names| names.iter().any(|shown| shown.eq_ignore_ascii_case(name)))
    }
}

/// The back ends that may push. Clones share what they know.
#[derive(Clone)]
pub struct BackEnds {
    keys: ApiKeys,
    certificates: Arc<ArcSwap<Vec<String>>>,
}

impl BackEnds {
    /// Holders of a service key of `keys`, and of a certificate with one of these names.
    pub fn new(keys: ApiKeys, certificates: Vec<String>) -> Self {
        Self {
            keys,
            certificates: Arc::new(ArcSwap::from_pointee(certificates)),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &ApiKeys {
        &self.keys
    }

    /// Takes other names, for all clones.
    pub fn set_certificates(&self, names: Vec<String>) {
        self.certificates.store(Arc::new(names));
    }

    /// Whether a request may be made.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for nobody known, `PERMISSION_DENIED` for an administrator's key.
    pub fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let shown = Shown::by(request);
        if self.certificates.load().iter().any(|name| shown.has(name)) {
            return Ok(());
        }
        let key = request
            .metadata()
            .get("x-api-key")
            .ok_or_else(|| Status::unauthenticated("a service key or a back end's certificate is needed"))?;
        match key.to_str().ok().and_then(|key| self.keys.role(key)) {
            Some(KeyRole::Service) => Ok(()),
            Some(KeyRole::Admin) => Err(Status::permission_denied("this key may not do that")),
            None => Err(Status::unauthenticated("this key is not known")),
        }
    }
}
