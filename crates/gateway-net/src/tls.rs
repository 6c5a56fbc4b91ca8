//! TLS (RFC 8446, RFC 5246) of the listeners, and of what a gateway dials other gateways with.
//!
//! Certificates live in files that are replaced while a gateway runs. `reload` reads them again and swaps all of them or
//! none; the next handshake takes the new ones, connections that stand are not touched. Who shows a certificate is known
//! by its DNS names (SAN, RFC 5280, 4.2.1.6), taken as they are written: a wildcard in one names nobody.
//!
//! Not here: revocation lists, and what a name gives a right to.

mod client;
mod reread;
mod server;
mod transport;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use self::client::ClientTls;
pub use self::server::ServerTls;
pub use self::transport::Transport;

/// Where a certificate, its key and those who are trusted stand.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, PEM, the own certificate first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Certificates that sign those of the other side, PEM; a server without asks for none.
    pub authorities: Option<PathBuf>,
    /// A server ends the handshake of a client without a certificate.
    pub demanded: bool,
}

/// Why files cannot be used. It names the file and never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not PEM, or holds none of what is looked for.
    #[error("{} holds no {what} in PEM", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
    },
    /// What it holds cannot be used.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        source: rustls::Error,
    },
    /// A server's name that is no DNS name.
    #[error("`{0}` is not a DNS name")]
    Name(String),
}

/// What the files hold, as bytes to compare: it has no `Debug`.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            authorities: files.authorities.as_deref().map(read).transpose()?,
        })
    }

    fn chain(&self, files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.certificate, &files.certificate)
    }

    fn key(&self, files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
        // The parser's own error is left out: it might quote the key.
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::Missing {
            path: files.key.clone(),
            what: "private key",
        })
    }

    /// Those who are trusted, and the file that says so.
    fn authorities(&self, files: &TlsFiles) -> Result<Option<(Arc<RootCertStore>, PathBuf)>, TlsError> {
        let Some((pem, path)) = self.authorities.as_ref().zip(files.authorities.as_ref()) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem, path)? {
            roots.add(certificate).map_err(|source| TlsError::Unusable {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Some((Arc::new(roots), path.clone())))
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Missing {
        path: path.to_owned(),
        what: "certificate",
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| missing())?;
    if found.is_empty() {
        return Err(missing());
    }
    Ok(found)
}

/// The DNS names of a certificate that was verified.
fn names(chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<[String]>> {
    let own = chain?.first()?;
    let parsed = webpki::EndEntityCert::try_from(own).ok()?;
    Some(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
