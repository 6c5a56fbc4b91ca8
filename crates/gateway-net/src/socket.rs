//! Listening sockets, and the options of accepted ones.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Tries for a system-chosen port: another process may take it between the probe and the listeners.
const PORT_TRIES: usize = 16;

/// Binds `count` listeners to one port, so that the kernel spreads connections over them.
///
/// `SO_REUSEPORT` would let a second process of ours share a port by accident and take half of the
/// clients. So the port is first bound without it, which fails while anybody else listens.
pub(crate) fn bind_shared(
    address: SocketAddr,
    count: usize,
    backlog: u32,
) -> io::Result<Vec<std::net::TcpListener>> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_once(address, count, backlog) {
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn bind_once(address: SocketAddr, count: usize, backlog: u32) -> io::Result<Vec<std::net::TcpListener>> {
    let probe = socket(address, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count.max(1))
        .map(|_| {
            let socket = socket(address, true)?;
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            Ok(socket.into())
        })
        .collect()
}

/// Binds one listener that nobody shares.
pub(crate) fn bind_alone(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = socket(address, false)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier run that linger in TIME_WAIT must not keep this one from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sets what clients' sockets need: on a listener, whose options they have from their first moment, which spares each of
/// them three system calls. A failure costs latency and nothing else.
pub(crate) fn tune(listener: &std::net::TcpListener, nodelay: bool, keepalive: Option<Duration>) {
    let listener = SockRef::from(listener);
    if nodelay && let Err(error) = listener.set_tcp_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    if let Some(time) = keepalive
        && let Err(error) = listener.set_tcp_keepalive(&TcpKeepalive::new().with_time(time))
    {
        tracing::debug!(%error, "TCP keep-alive was not set");
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn accepted_sockets_are_tuned_as_their_listener() {
        let listener = bind_alone("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let time = Duration::from_secs(77);
        tune(&listener, true, Some(time));
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        let (accepted, _client) = (accepted.unwrap().0, client.unwrap());
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), time);
    }

    #[test]
    fn a_port_in_use_is_not_shared() {
        let first = bind_shared("127.0.0.1:0".parse().unwrap(), 2, 16).unwrap();
        let address = first[0].local_addr().unwrap();
        assert_eq!(first[1].local_addr().unwrap(), address);
        let second = bind_shared(address, 2, 16);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(
            bind_alone(address, 16).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        bind_shared(address, 2, 16).unwrap();
    }
}
