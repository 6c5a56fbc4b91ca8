//! The certificates of this node: which files, for what, and reading them again.

use std::sync::Arc;

use gateway_config::{Config, GrpcTls, Server};
use gateway_net::{ClientTls, ServerTls, TlsError, TlsFiles};

/// What gRPC speaks (RFC 9113).
const HTTP2: &[&str] = &["h2"];

/// What clients speak: the WebSocket handshake is HTTP/1.1 too (RFC 6455).
const HTTP1: &[&str] = &["http/1.1"];

/// Which files cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Those of the listeners for clients.
    #[error("server.ssl_cert_path, server.ssl_key_path: {0}")]
    Clients(TlsError),
    /// Those of the gRPC listener.
    #[error("server.grpc_tls: {0}")]
    Grpc(TlsError),
}

/// Certificates in use; absent where there is no TLS.
#[derive(Clone, Default)]
pub struct Certificates {
    /// Of the listeners for clients.
    pub clients: Option<Arc<ServerTls>>,
    /// Of the gRPC listener.
    pub grpc: Option<Arc<ServerTls>>,
    /// Shown to other nodes, and what they must show.
    pub peers: Option<Arc<ClientTls>>,
}

impl Certificates {
    /// Reads what the configuration names. Blocks; meant for the start.
    ///
    /// # Errors
    /// [`CertificateError`] names the file.
    pub fn load(config: &Config) -> Result<Self, CertificateError> {
        let clients = for_clients(&config.server)
            .map(|files| ServerTls::load(files, HTTP1).map(Arc::new))
            .transpose()
            .map_err(CertificateError::Clients)?;
        let files = config.server.grpc_tls.as_ref().and_then(for_grpc);
        let name = config.cluster.certificate_name.as_deref();
        let grpc = files
            .clone()
            .map(|files| ServerTls::load(files, HTTP2).map(Arc::new));
        let peers = files
            .zip(name)
            .map(|(files, name)| ClientTls::load(files, name, HTTP2).map(Arc::new));
        Ok(Self {
            clients,
            grpc: grpc.transpose().map_err(CertificateError::Grpc)?,
            peers: peers.transpose().map_err(CertificateError::Grpc)?,
        })
    }

    /// Reads the files again; `true` where something is new. Each side has its files whole or keeps what it has. Blocks.
    ///
    /// # Errors
    /// The first [`CertificateError`]; all are tried.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let clients = self.clients.as_ref().map_or(Ok(false), |tls| tls.reload());
        let grpc = self.grpc.as_ref().map_or(Ok(false), |tls| tls.reload());
        let peers = self.peers.as_ref().map_or(Ok(false), |tls| tls.reload());
        let clients = clients.map_err(CertificateError::Clients)?;
        let [grpc, peers] = [grpc, peers].map(|new| new.map_err(CertificateError::Grpc));
        Ok(clients | grpc? | peers?)
    }
}

fn for_clients(server: &Server) -> Option<TlsFiles> {
    if !server.ssl_enabled {
        return None;
    }
    Some(TlsFiles {
        certificate: server.ssl_cert_path.clone()?,
        key: server.ssl_key_path.clone()?,
        authorities: None,
        demanded: false,
    })
}

/// `None` where a file is left out, which a configuration that was read does not do.
fn for_grpc(tls: &GrpcTls) -> Option<TlsFiles> {
    Some(TlsFiles {
        certificate: tls.cert_path.clone()?,
        key: tls.key_path.clone()?,
        authorities: tls.client_ca_path.clone(),
        demanded: tls.require_client_cert,
    })
}
