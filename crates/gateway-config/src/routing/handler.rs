//! Who takes a command: the gateway itself, or a service.

use std::fmt;

use crate::nearest::{distance, nearest};
use crate::section::names;
use crate::services::ServiceName;

names! {
    /// What the gateway does itself.
    pub enum LocalHandler, "handler" {
        /// Answers with the time.
        "heartbeat" => Heartbeat,
        /// Gives a new token pair for a refresh token.
        "refresh_token" => RefreshToken,
        /// Asks the user service who this is, then makes tokens and binds the session.
        "auth_login" => Login,
        /// Verifies a token and binds the session.
        "verify_token" => VerifyToken,
        /// Takes note that a push has arrived.
        "push_ack" => PushAck,
    }
}

/// Who takes a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// The gateway itself.
    Local(LocalHandler),
    /// A back-end service.
    Service(ServiceName),
}

impl Handler {
    /// The handler of that name among these services: a local one, a service, or a service with the name of an
    /// action after it (`message_send`). Where two services fit, the longer name counts.
    pub fn parse<'a>(name: &str, services: impl IntoIterator<Item = &'a ServiceName>) -> Option<Self> {
        let name = name.trim();
        if let Some(local) = LocalHandler::from_name(name) {
            return Some(Self::Local(local));
        }
        let whole = name.parse::<ServiceName>().ok();
        let fits = |service: &&ServiceName| {
            whole.as_ref() == Some(*service)
                || name
                    .strip_prefix(service.as_str())
                    .is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'))
        };
        let service = services
            .into_iter()
            .filter(fits)
            .max_by_key(|service| service.as_str().len());
        service.cloned().map(Self::Service)
    }

    /// The known name nearest to one that is not known.
    pub(crate) fn nearest<'a>(name: &str, services: impl IntoIterator<Item = &'a ServiceName>) -> String {
        let services: Vec<&str> = services.into_iter().map(ServiceName::as_str).collect();
        let candidates = LocalHandler::NAMES
            .iter()
            .copied()
            .chain(services.iter().copied());
        let whole = nearest(name, candidates).unwrap_or_default();
        // `mesage_send` is meant for a service: its first part is compared with their names alone.
        let service = name
            .split_once('_')
            .map(|(first, action)| (first, action, nearest(first, services)));
        match service {
            Some((first, action, Some(service))) if distance(first, service) < distance(name, whole) => {
                format!("{service}_{action}")
            }
            _ => whole.to_owned(),
        }
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(local) => f.write_str(local.name()),
            Self::Service(service) => service.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_local_names_services_and_services_with_an_action() {
        let services: Vec<ServiceName> = ["user", "message", "message_archive"]
            .map(|name| name.parse().unwrap())
            .into();
        for (name, expected) in [
            ("auth_login", Some("auth_login")),
            ("message", Some("message")),
            ("message_service", Some("message")),
            ("message_send", Some("message")),
            ("message_archive_get", Some("message_archive")),
            ("message_", None),
            ("messages", None),
            ("", None),
        ] {
            assert_eq!(
                Handler::parse(name, &services)
                    .map(|handler| handler.to_string())
                    .as_deref(),
                expected
            );
        }
    }

    #[test]
    fn an_unknown_handler_leads_to_the_nearest() {
        let services: Vec<ServiceName> = ["user", "message"].map(|name| name.parse().unwrap()).into();
        for (name, expected) in [
            ("mesage_send", "message_send"),
            ("auth_logn", "auth_login"),
            ("heartbeet", "heartbeat"),
            ("usr", "user"),
        ] {
            assert_eq!(Handler::nearest(name, &services), expected);
        }
    }
}
