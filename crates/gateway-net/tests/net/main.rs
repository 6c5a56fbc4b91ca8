//! The crate over loopback sockets: raw bytes in, what comes back and what the handler was told out.

mod handshake;
mod http;
mod lifecycle;
mod rfc6455;
mod support;
mod tls;
