//! What a node proves itself by to another: the cluster's secret, a certificate with the name of nodes, or both.

use gateway_config::{Cluster, Secret};
use tonic::{Request, Status};

use super::SECRET;
use crate::grpc::caller::Shown;

/// What is asked of a node; at least one of the two.
#[derive(Clone)]
pub struct NodeProof {
    secret: Option<Secret>,
    certificate: Option<String>,
}

impl NodeProof {
    /// What the configuration asks for; `None` where it asks for nothing, so that nobody may be taken for a node.
    pub fn from_config(cluster: &Cluster) -> Option<Self> {
        (cluster.secret.is_some() || cluster.certificate_name.is_some()).then(|| Self {
            secret: cluster.secret.clone(),
            certificate: cluster.certificate_name.clone(),
        })
    }

    /// What this node says to another.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Whether the caller is a node.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, with what is missing.
    pub fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if let Some(name) = &self.certificate
            && !Shown::by(request).has(name)
        {
            return Err(Status::unauthenticated("the certificate of a node is needed"));
        }
        if let Some(secret) = &self.secret {
            let given = request
                .metadata()
                .get(SECRET)
                .and_then(|value| value.to_str().ok());
            if !given.is_some_and(|given| gateway_auth::same_secret(secret.expose(), given)) {
                return Err(Status::unauthenticated("the cluster's secret is needed"));
            }
        }
        Ok(())
    }
}
