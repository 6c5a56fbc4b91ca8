//! A socket, plain or with TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use socket2::{Domain, Protocol, Socket, Type};

use crate::orders::Target;

/// Connections from one source address: an eighth of the ports that the kernel gives out, since it looks for a free one by
/// trying. With five times as many, 18,000 connections took it 17 s where there were other addresses in use.
const PER_SOURCE: u32 = 4_000;

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// Opens sockets to one target.
pub(super) struct Dialer {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    /// # Errors
    /// Of kind `InvalidInput` for certificates or a name that cannot be read.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("TLS: {error}"))
        };
        let tls = match &target.tls {
            None => None,
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|error| invalid(&error))?;
                    roots.add(certificate).map_err(|error| invalid(&error))?;
                }
                let config = ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let name = ServerName::try_from(target.host.clone()).map_err(|error| invalid(&error))?;
                Some((Arc::new(config), name))
            }
        };
        Ok(Self {
            address: target.address,
            tls,
        })
    }

    /// Begins to connect. Against loopback the source address changes with the connection's number, so that
    /// ports do not run out: 127.0.0.1, 127.0.0.2, …
    pub(super) fn dial(&self, number: u32) -> io::Result<Stream> {
        let socket = Socket::new(
            Domain::for_address(self.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let IpAddr::V4(address) = self.address.ip()
            && address.is_loopback()
        {
            let source = u32::from(address).saturating_add(number / PER_SOURCE);
            let source = SocketAddr::from((std::net::Ipv4Addr::from(source), 0));
            socket.bind(&source.into())?;
        }
        match socket.connect(&self.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let plain = TcpStream::from_std(socket.into());
        let Some((config, name)) = &self.tls else {
            return Ok(Stream::Plain(plain));
        };
        let session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(session, plain))))
    }
}

/// On Linux, which is what this program runs on.
const EINPROGRESS: i32 = 115;

impl Stream {
    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.socket(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// What has become of connecting.
    pub(super) fn connected(&mut self) -> io::Result<()> {
        match self.socket().take_error()? {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Makes dropping it a reset, as when a network is cut; no port waits for stragglers then.
    pub(super) fn cut(&mut self) {
        // It is being thrown away; failing to do so roughly is no harm.
        let _ = socket2::SockRef::from(&*self.socket()).set_linger(Some(std::time::Duration::ZERO));
    }

    /// A read that fills less than its buffer has emptied the socket (of TLS that is not so).
    pub(super) fn short_means_empty(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Writes what TLS still holds back.
    pub(super) fn flush_tls(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => match stream.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                done => done,
            },
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_tls()
    }
}
