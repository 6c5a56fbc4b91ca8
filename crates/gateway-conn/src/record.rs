//! What is known of one bound session, and how sessions are named by those who want to end them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use gateway_codec::{CloseCode, DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};

/// A session that is about to be bound: everything the store does not decide by itself.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Unguessable, unique across nodes and restarts; used for one bind only.
    pub session_id: SessionId,
    /// Whose session it is.
    pub user_id: UserId,
    /// The device, unique together with its platform.
    pub device_id: DeviceId,
    /// The platform whose policy applies.
    pub platform: Platform,
    /// The client's address.
    pub address: IpAddr,
}

/// One bound session, as the store keeps it (contract, section 7). Shared as an `Arc` by store and registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session; with `epoch` the fence of every removal.
    pub session_id: SessionId,
    /// Whose session it is.
    pub user_id: UserId,
    /// The device, unique together with its platform.
    pub device_id: DeviceId,
    /// The platform.
    pub platform: Platform,
    /// The node that holds the socket.
    pub node: NodeId,
    /// Greater than every epoch the store gave this user before, and never below its clock in milliseconds.
    pub epoch: u64,
    /// When it was bound.
    pub connected_at: Timestamp,
    /// The client's address.
    pub address: ClientAddress,
}

/// A client's address in 16 bytes, where an `IpAddr` takes 17 and so 24: one of IPv4 is kept as IPv6 has it (RFC 4291,
/// 2.5.5.2), and a mapped one is read as the IPv4 address that it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(Ipv6Addr);

impl ClientAddress {
    /// The address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.to_canonical()
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        })
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.ip(), f)
    }
}

/// Which sessions of a user are meant. Empty: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Only this device; `None`: every device.
    pub device: Option<DeviceId>,
    /// Only this platform; `None`: every platform.
    pub platform: Option<Platform>,
}

impl Selector {
    /// Every session of the user.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// One device on one platform.
    #[must_use]
    pub fn device(device: DeviceId, platform: Platform) -> Self {
        Self {
            device: Some(device),
            platform: Some(platform),
        }
    }

    /// Whether `record` is among those meant.
    #[must_use]
    pub fn matches(&self, record: &SessionRecord) -> bool {
        self.device
            .as_ref()
            .is_none_or(|device| *device == record.device_id)
            && self
                .platform
                .as_ref()
                .is_none_or(|platform| *platform == record.platform)
    }
}

/// Why a session was ended by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KickKind {
    /// An operator or a back end asked for it: close code 4411.
    Kicked,
    /// A newer login took its place: close code 4410.
    Replaced,
    /// Its token or its whole family was revoked: close code 4412.
    Revoked,
    /// The user logged out on this device: its token is revoked, close code 4412.
    LoggedOut,
}

impl KickKind {
    /// The code the connection is closed with.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Kicked => CloseCode::Kicked,
            Self::Replaced => CloseCode::Replaced,
            Self::Revoked | Self::LoggedOut => CloseCode::Revoked,
        }
    }

    /// What a client is told where no reason was given; also the value of the metric label `kind`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Kicked => "kicked",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::LoggedOut => "logged_out",
        }
    }

    /// Reads what [`text`](Self::text) says.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Kicked, Self::Replaced, Self::Revoked, Self::LoggedOut];
        all.into_iter().find(|kind| kind.text() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_it_was() {
        for text in ["192.0.2.7", "2001:db8::7", "::1", "0.0.0.0"] {
            let address = text.parse::<IpAddr>().unwrap();
            let kept = ClientAddress::from(address);
            assert_eq!((kept.ip(), kept.to_string()), (address, text.to_owned()));
        }
        let mapped = "::ffff:192.0.2.7".parse::<IpAddr>().unwrap();
        assert_eq!(ClientAddress::from(mapped).to_string(), "192.0.2.7");
    }
}
