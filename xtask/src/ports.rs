//! The ports that a started pair of programs uses: the documented ones, a block from a given number, or any free block.

use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Result, bail};

/// mock-service's services, in the order of its ports.
pub(crate) const SERVICES: [&str; 5] = ["user", "message", "friend", "group", "push"];

/// How many ports one pair of programs needs.
const BLOCK: u16 = 3 + SERVICES.len() as u16;

/// Where everything of one run listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) host: IpAddr,
    pub(crate) websocket: u16,
    pub(crate) http: u16,
    pub(crate) grpc: u16,
    pub(crate) services: u16,
}

impl Ports {
    /// The ports that the documentation names.
    pub(crate) fn standard(host: IpAddr) -> Self {
        Self {
            host,
            websocket: 8080,
            http: 8081,
            grpc: 8082,
            services: 9001,
        }
    }

    /// Eight ports from `base` on: WebSocket, HTTP, gRPC, then the five services.
    pub(crate) fn from_base(host: IpAddr, base: u16) -> Result<Self> {
        if base == 0 || base.checked_add(BLOCK).is_none() {
            bail!("--port-base must be between 1 and {}", u16::MAX - BLOCK);
        }
        Ok(Self {
            host,
            websocket: base,
            http: base + 1,
            grpc: base + 2,
            services: base + 3,
        })
    }

    /// A free block below the range that the system hands out by itself. Another program may take one of its
    /// ports before ours do; then they say so and stop.
    pub(crate) fn any(host: IpAddr) -> Result<Self> {
        const FIRST: u32 = 20_000;
        const BLOCKS: u32 = 1_000;
        let start = std::process::id();
        for attempt in 0..BLOCKS {
            // 7 and 1,000 have no common divisor, so every block is tried once.
            let block = (start.wrapping_add(attempt.wrapping_mul(7))) % BLOCKS;
            let base = u16::try_from(FIRST + block * u32::from(BLOCK))?;
            let ports = Self::from_base(host, base)?;
            if ports.check_free().is_ok() {
                return Ok(ports);
            }
        }
        bail!(
            "no eight free ports in a row between {FIRST} and {}",
            FIRST + BLOCKS * u32::from(BLOCK)
        );
    }

    /// Fails naming every port that somebody listens on.
    pub(crate) fn check_free(&self) -> Result<()> {
        let taken: Vec<String> = self
            .all()
            .filter(|port| TcpListener::bind(SocketAddr::new(self.host, *port)).is_err())
            .map(|port| port.to_string())
            .collect();
        if taken.is_empty() {
            return Ok(());
        }
        bail!(
            "port {} on {} cannot be listened on (another program, or an earlier run?); \
             `cargo xtask dev --any-port` finds free ones",
            taken.join(", "),
            self.host
        );
    }

    /// Every port of the block.
    pub(crate) fn all(&self) -> impl Iterator<Item = u16> {
        [self.websocket, self.http, self.grpc]
            .into_iter()
            .chain(self.service_ports())
    }

    pub(crate) fn service_ports(&self) -> impl Iterator<Item = u16> {
        let first = self.services;
        (0..).take(SERVICES.len()).map(move |n: u16| first + n)
    }

    /// Where a client on this machine reaches what listens on `port`.
    pub(crate) fn reach(&self, port: u16) -> SocketAddr {
        let host = match self.host {
            host if !host.is_unspecified() => host,
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        };
        SocketAddr::new(host, port)
    }

    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.reach(self.http))
    }

    pub(crate) fn websocket_url(&self) -> String {
        format!("ws://{}/ws", self.reach(self.websocket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_taken_port_is_named() {
        let ports = Ports::any(HOST).unwrap();
        let _taken = TcpListener::bind((HOST, ports.grpc)).unwrap();
        let told = ports.check_free().unwrap_err().to_string();
        assert!(told.contains(&ports.grpc.to_string()), "{told}");
    }

    #[test]
    fn a_base_too_high_is_refused() {
        assert!(Ports::from_base(HOST, 65_530).is_err());
        assert!(Ports::from_base(HOST, 0).is_err());
        assert_eq!(Ports::from_base(HOST, 7_000).unwrap().services, 7_003);
    }

    #[test]
    fn clients_reach_an_unspecified_address_by_loopback() {
        let ports = Ports::standard(IpAddr::from([0, 0, 0, 0]));
        assert_eq!(ports.http_url(), "http://127.0.0.1:8081");
        assert_eq!(ports.websocket_url(), "ws://127.0.0.1:8080/ws");
    }
}
