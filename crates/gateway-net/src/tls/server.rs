//! The accepting side.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reread::Reread;
use super::{Contents, TlsError, TlsFiles, names, provider};

/// Does the handshakes of a listener.
pub struct ServerTls {
    config: Reread<ServerConfig>,
}

impl ServerTls {
    /// Reads the files. `protocols` are offered by ALPN (RFC 7301), the preferred one first. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(files: TlsFiles, protocols: &'static [&'static str]) -> Result<Self, TlsError> {
        Ok(Self {
            config: Reread::load(files, protocols, config)?,
        })
    }

    /// Reads the files again; `true` where something in them is new. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file; what was there before stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.config.reload()
    }

    /// Does the handshake. The caller bounds the wait.
    ///
    /// # Errors
    /// What the other side did wrong, or that it has gone.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.current()).accept(stream).await
    }
}

/// The DNS names of the client's certificate; `None` where it has shown none.
pub(super) fn client_names(stream: &TlsStream<TcpStream>) -> Option<Arc<[String]>> {
    names(stream.get_ref().1.peer_certificates())
}

fn config(contents: &Contents, files: &TlsFiles, protocols: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable {
        path: files.certificate.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match contents.authorities(files)? {
        None => builder.with_no_client_auth(),
        Some((roots, path)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = if files.demanded {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            let verifier = verifier.build().map_err(|error| TlsError::Unusable {
                path,
                source: rustls::Error::General(error.to_string()),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(contents.chain(files)?, contents.key(files)?)
        .map_err(unusable)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
