//! One entry of `routes`: its key, and what stands there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use figment::value::Value;

use super::{Handler, RouteRule, Sensitivity, defaults};
use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::section::section;
use crate::services::{Service, ServiceName};
use crate::setting::Setting;

section! {
    /// One entry of `routes`.
    pub(super) struct Entry {
        /// Required: `heartbeat`, `refresh_token`, `auth_login`, `verify_token` or `push_ack`, handled here; or a
        /// service (`message`), also with the name of an action (`message_send`).
        "handler" => handler: Option<String> = None;
        /// The whole call, repeats included; then 504.
        "timeout_ms" => timeout: Duration = defaults::TIMEOUT, 1..=600_000;
        /// How often it may be sent again where that is safe: it was not sent, or it is `idempotent`.
        "retry_count" => retry_count: u32 = 0, 0..=10;
        /// How fresh the session's authentication must be; left out, `public` for `heartbeat`, `refresh_token`,
        /// `auth_login` and `verify_token`, `normal` for the rest.
        "sensitivity" => sensitivity: Option<Sensitivity> = None;
        /// Whether it may be sent again although it may have been done.
        "idempotent" => idempotent: bool = false;
    }
}

impl From<&RouteRule> for Entry {
    fn from(rule: &RouteRule) -> Self {
        Self {
            handler: Some(rule.handler.to_string()),
            timeout: rule.timeout,
            retry_count: rule.retry_count,
            sensitivity: Some(rule.sensitivity),
            idempotent: rule.idempotent,
        }
    }
}

/// Reads the entries in the order of their first commands.
pub(super) fn read(
    value: &Value,
    services: &BTreeMap<ServiceName, Service>,
    reading: &mut Reading,
) -> Vec<RouteRule> {
    let top = Place::at("routes");
    let mut rules: Vec<RouteRule> = Vec::new();
    let Some(entries) = reading.entries(value, &top) else {
        return rules;
    };
    for (key, value) in entries {
        let place = top.under(key);
        let commands = match parse_commands(key) {
            Ok(commands) => Some(commands),
            Err(what) => {
                reading.fault(&place, value, ErrorKind::Invalid(what.to_owned()));
                None
            }
        };
        let Some(entry) = Entry::read(value, &place, reading) else {
            continue;
        };
        let handler = read_handler(&entry, value, &place, services, reading);
        let (Some(commands), Some(handler)) = (commands, handler) else {
            continue;
        };
        if let Some(other) = rules.iter().find(|other| collides(&other.commands, &commands)) {
            let what = format!("overlaps with `{}`", other.key());
            reading.fault(&place, value, ErrorKind::Invalid(what));
        }
        rules.push(RouteRule {
            commands,
            timeout: entry.timeout,
            retry_count: entry.retry_count,
            sensitivity: entry
                .sensitivity
                .unwrap_or_else(|| defaults::sensitivity(&handler)),
            idempotent: entry.idempotent,
            handler,
        });
    }
    rules.sort_by_key(|rule| (*rule.commands.start(), *rule.commands.end()));
    rules
}

fn read_handler(
    entry: &Entry,
    value: &Value,
    place: &Place,
    services: &BTreeMap<ServiceName, Service>,
    reading: &mut Reading,
) -> Option<Handler> {
    let place = place.under("handler");
    let Some(text) = &entry.handler else {
        // A handler of the wrong type has been told already.
        if value
            .find_ref("handler")
            .is_none_or(|given| matches!(given, Value::Empty(..)))
        {
            reading.fault(
                &place,
                value,
                ErrorKind::Missing("which handler or service takes this command"),
            );
        }
        return None;
    };
    let handler = Handler::parse(text, services.keys());
    if handler.is_none() {
        let nearest = Handler::nearest(text, services.keys());
        let found = text.chars().take(40).collect();
        reading.fault(
            &place,
            value,
            ErrorKind::UnknownName {
                what: "handler",
                found,
                nearest,
            },
        );
    }
    handler
}

/// Two ranges, or two single commands, that share a command; a single one inside a range is no collision.
fn collides(left: &RangeInclusive<u32>, right: &RangeInclusive<u32>) -> bool {
    let single = |range: &RangeInclusive<u32>| range.start() == range.end();
    single(left) == single(right) && left.start() <= right.end() && right.start() <= left.end()
}

fn parse_commands(key: &str) -> Result<RangeInclusive<u32>, &'static str> {
    const SHAPE: &str = "a route's key is a command such as \"1001\" or a range such as \"2001-2999\"";
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            text.parse::<u32>().map_err(|_| "a command is at most 4294967295")
        } else {
            Err(SHAPE)
        }
    };
    let (first, last) = match key.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(key)?, number(key)?),
    };
    match (first, last) {
        (0, _) => Err("0 is no command"),
        _ if first > last => Err("this range is reversed"),
        _ => Ok(first..=last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_commands_or_ranges_and_nothing_else() {
        for (key, commands) in [
            ("1001", Some(1001..=1001)),
            ("2001-2999", Some(2001..=2999)),
            (" 5 - 6 ", Some(5..=6)),
            ("0", None),
            ("0-9", None),
            ("9-5", None),
            ("+1", None),
            ("", None),
            ("-", None),
            ("1-2-3", None),
            ("4294967296", None),
        ] {
            assert_eq!(parse_commands(key).ok(), commands, "{key}");
        }
    }
}
