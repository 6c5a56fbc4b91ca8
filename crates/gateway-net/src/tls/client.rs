//! The dialling side: to a server that is known by one name, whatever its address is.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::reread::Reread;
use super::{Contents, TlsError, TlsFiles, names, provider};

/// Does the handshakes of connections to servers of one name, showing a certificate of its own.
pub struct ClientTls {
    config: Reread<ClientConfig>,
    name: ServerName<'static>,
    exactly: String,
}

impl ClientTls {
    /// Reads the files. A server is spoken to only if the certificate that it shows is signed by the authorities and
    /// has `name` among its DNS names, written out. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file, or the name.
    pub fn load(files: TlsFiles, name: &str, protocols: &'static [&'static str]) -> Result<Self, TlsError> {
        Ok(Self {
            config: Reread::load(files, protocols, config)?,
            name: ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?,
            exactly: name.to_ascii_lowercase(),
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
    /// The server is not the one that is meant, does not take this side's certificate, or has gone.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let stream = TlsConnector::from(self.config.current())
            .connect(self.name.clone(), stream)
            .await?;
        let names = names(stream.get_ref().1.peer_certificates()).unwrap_or_default();
        if !names.contains(&self.exactly) {
            // A wildcard has let it through.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server's certificate does not have the name",
            ));
        }
        Ok(stream)
    }
}

fn config(contents: &Contents, files: &TlsFiles, protocols: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable {
        path: files.certificate.clone(),
        source,
    };
    let (roots, _) = contents.authorities(files)?.ok_or_else(|| TlsError::Missing {
        path: files.certificate.clone(),
        what: "authority",
    })?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_client_auth_cert(contents.chain(files)?, contents.key(files)?)
        .map_err(unusable)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
