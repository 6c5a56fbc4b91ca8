//! What a mock-service is started with.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

/// One of the five services, in the order of their ports and command ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// Accounts, login, profiles: commands 1001–1999, port 9001.
    User,
    /// Direct messages, history, offline box: commands 2001–2999, port 9002.
    Message,
    /// Friendships: commands 3001–3999, port 9003.
    Friend,
    /// Groups: commands 4001–4999, port 9004.
    Group,
    /// System pushes through the gateway's gRPC API: commands 5001–5999, port 9005.
    Push,
}

impl ServiceKind {
    /// All five, in order.
    pub const ALL: [Self; 5] = [Self::User, Self::Message, Self::Friend, Self::Group, Self::Push];

    /// The name used in `--services`, in addresses and in the gateway's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Message => "message",
            Self::Friend => "friend",
            Self::Group => "group",
            Self::Push => "push",
        }
    }

    /// How far its port lies above `base_port`.
    #[must_use]
    pub const fn port_offset(self) -> u16 {
        match self {
            Self::User => 0,
            Self::Message => 1,
            Self::Friend => 2,
            Self::Group => 3,
            Self::Push => 4,
        }
    }

    /// The command that changes this service's faults while it runs: 1999, 2999, … 5999.
    #[must_use]
    pub const fn control_command(self) -> u32 {
        (self.port_offset() as u32 + 1) * 1_000 + 999
    }

    /// The command whose reply is what it was asked with, by anybody: 1998, 2998, … 5998.
    #[must_use]
    pub const fn echo_command(self) -> u32 {
        self.control_command() - 1
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No service has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such service: {0} (user, message, friend, group, push)")]
pub struct UnknownService(String);

impl FromStr for ServiceKind {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownService(text.chars().take(40).collect()))
    }
}

/// How a [`crate::MockService`] is started.
#[derive(Clone)]
pub struct Options {
    /// Address that every service listens on.
    pub host: IpAddr,
    /// Which services to start.
    pub services: Vec<ServiceKind>,
    /// Port of the user service; the others follow by [`ServiceKind::port_offset`]. 0: any free ports.
    pub base_port: u16,
    /// URL of the gateway's gRPC listener, for the push service. Nothing connects before the first use.
    pub gateway: String,
    /// Sent to the gateway as `x-api-key`. Never logged.
    pub service_key: Option<String>,
    /// Adds `user1` … `userN`.
    pub accounts: usize,
    /// Time that every command takes.
    pub latency: Duration,
    /// Share of commands, 0 to 1, answered by an error without being run.
    pub error_rate: f64,
    /// Share of commands, 0 to 1, never answered and not run.
    pub hang_rate: f64,
}

impl Default for Options {
    /// All services on 127.0.0.1 at any free ports, no faults: what tests want.
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            services: ServiceKind::ALL.to_vec(),
            base_port: 0,
            gateway: "http://127.0.0.1:8082".to_owned(),
            service_key: None,
            accounts: 0,
            latency: Duration::ZERO,
            error_rate: 0.0,
            hang_rate: 0.0,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("services", &self.services)
            .field("base_port", &self.base_port)
            .field("gateway", &self.gateway)
            .field("service_key", &self.service_key.as_ref().map(|_| "[hidden]"))
            .field("accounts", &self.accounts)
            .field("latency", &self.latency)
            .field("error_rate", &self.error_rate)
            .field("hang_rate", &self.hang_rate)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_key_is_not_in_the_debug_output() {
        let options = Options {
            service_key: Some("very-secret".into()),
            ..Options::default()
        };
        let shown = format!("{options:?}");
        assert!(shown.contains("[hidden]") && !shown.contains("very-secret"));
    }

    #[test]
    fn control_commands_end_the_range_of_their_service() {
        assert_eq!(
            ServiceKind::ALL.map(ServiceKind::control_command),
            [1999, 2999, 3999, 4999, 5999]
        );
        assert_eq!(ServiceKind::Push.echo_command(), 5998);
    }
}
