//! The certificates of this node: which files, for what, and reading them again.

use std::sync::Arc;

use gateway_config::{Config, GrpcTls};
use gateway_net::{ClientTls, ServerTls, TlsError, TlsFiles};

/// What gRPC speaks (RFC 9113).
const HTTP2: &[&str] = &["h2"];

/// Certificates in use; absent where there is no TLS.
#[derive(Clone, Default)]
pub struct Certificates {
    /// Of the gRPC listener.
    pub grpc: Option<Arc<ServerTls>>,
    /// Shown to other nodes, and what they must show.
    pub peers: Option<Arc<ClientTls>>,
}

impl Certificates {
    /// Reads what the configuration names. Blocks; meant for the start.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(config: &Config) -> Result<Self, TlsError> {
        let Some(files) = config.server.grpc_tls.as_ref().and_then(files) else {
            return Ok(Self::default());
        };
        let peers = config
            .cluster
            .certificate_name
            .as_deref()
            .map(|name| ClientTls::load(files.clone(), name, HTTP2).map(Arc::new));
        Ok(Self {
            peers: peers.transpose()?,
            grpc: Some(Arc::new(ServerTls::load(files, HTTP2)?)),
        })
    }

    /// Reads the files again; `true` where something is new. Each side has its files whole or keeps what it has. Blocks.
    ///
    /// # Errors
    /// The first [`TlsError`]; all are tried.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let grpc = self.grpc.as_ref().map_or(Ok(false), |tls| tls.reload());
        let peers = self.peers.as_ref().map_or(Ok(false), |tls| tls.reload());
        Ok(grpc? | peers?)
    }
}

/// `None` where a file is left out, which a configuration that was read does not do.
fn files(tls: &GrpcTls) -> Option<TlsFiles> {
    Some(TlsFiles {
        certificate: tls.cert_path.clone()?,
        key: tls.key_path.clone()?,
        authorities: tls.client_ca_path.clone(),
        demanded: tls.require_client_cert,
    })
}
