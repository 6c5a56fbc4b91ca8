//! TCP connections to back ends, and how a host that is gone is noticed.
//!
//! A host that vanishes sends nothing: neither FIN nor RST. TCP keep-alive probes it while a connection is idle, and
//! `TCP_USER_TIMEOUT` bounds how long sent data may stay unacknowledged, so that either way the connection breaks after
//! [`USER_TIMEOUT`]. Neither is visible to the server's HTTP/2, whose limits on pings they cannot violate.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// Idle time before the first probe, and between probes.
const PROBE_IDLE: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Unanswered probes that break a connection, where `TCP_USER_TIMEOUT` does not exist.
const PROBES: u32 = 2;
/// Sent data, or probes, may be unacknowledged for so long.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes the sockets of all connections to back ends.
pub(crate) fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(PROBE_IDLE));
    connector.set_keepalive_interval(Some(PROBE_INTERVAL));
    connector.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(USER_TIMEOUT));
    connector
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tonic::codegen::Service as _;

    use super::*;

    #[tokio::test]
    async fn a_host_that_is_gone_is_noticed_within_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let stream = connector().call(uri.parse().unwrap()).await.unwrap().into_inner();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
