//! `platform_strategy.json`: how many devices of a user each platform allows.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use figment::value::Value;

use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::section::section;
use crate::setting::{Key, Setting};

section! {
    /// What one platform allows. The same device on the same platform always replaces itself.
    pub struct DevicePolicy {
        /// Whether a user may have several devices of this platform at once.
        "allow_multiple_devices" => allow_multiple_devices: bool = false;
        /// Most devices of a user; a further one sends the oldest away. Left out, there is no bound.
        "max_devices" => max_devices: Option<NonZeroU32> = None, 1..=10_000;
        /// A new device sends all others of this platform away (4410). With `false`, a new one is refused (409) where
        /// only one is allowed, and only the oldest goes where `max_devices` is reached.
        "kick_existing_on_login" => kick_existing_on_login: bool = false;
        /// The user's other devices get the notice `new_login`.
        "notify_on_new_login" => notify_on_new_login: bool = false;
        /// In seconds: a session that sends no message for so long is closed (4409).
        "session_timeout" => session_timeout: Duration = Duration::from_secs(3_600), 1..=31_536_000;
        /// Role that a user must have to log in on this platform.
        "required_role" => required_role: Option<String> = None;
    }
}

/// The policies of all platforms; a platform that is not named is refused.
#[derive(Debug, Clone)]
pub struct Platforms {
    /// By the platform's name, in lower case.
    pub platforms: BTreeMap<String, DevicePolicy>,
}

impl Platforms {
    /// The policy of a platform, by its name in lower case.
    #[must_use]
    pub fn get(&self, platform: &str) -> Option<&DevicePolicy> {
        self.platforms.get(platform)
    }

    /// Keys of the file.
    pub(crate) fn keys() -> Vec<Key> {
        vec![Key {
            name: "platforms",
            type_name: "map from platform to policy".to_owned(),
            default: serde_json::Value::Null,
            bounds: None,
            meaning: &[
                " Policies by platform (`a-z`, `0-9`, `-`, `_`, at most 32). A file replaces the defaults as a whole.",
            ],
            nested: DevicePolicy::nested(),
            joint: ".*.",
        }]
    }

    /// Reads the document.
    pub(crate) fn read(reading: &mut Reading) -> Self {
        let mut platforms = BTreeMap::new();
        let root = reading.root();
        let Some(dict) = reading.open(&root, &Place::at(""), &Self::keys()) else {
            return Self { platforms };
        };
        let place = Place::at("platforms");
        let entries = dict
            .get("platforms")
            .and_then(|value| reading.entries(value, &place));
        for (name, value) in entries.into_iter().flatten() {
            let place = place.under(name);
            let name = name.to_ascii_lowercase();
            if !is_platform(&name) {
                let what = "a platform is 1 to 32 of a-z, 0-9, - and _".to_owned();
                reading.fault(&place, value, ErrorKind::Invalid(what));
                continue;
            }
            let Some(policy) = DevicePolicy::read(value, &place, reading) else {
                continue;
            };
            check(&policy, &place, value, reading);
            if platforms.insert(name, policy).is_some() {
                let what = "is given twice; upper and lower case are the same".to_owned();
                reading.fault(&place, value, ErrorKind::Invalid(what));
            }
        }
        if platforms.is_empty() && reading.errors.is_empty() {
            reading.fault_at(
                "platforms",
                ErrorKind::Missing("without a platform nobody can log in"),
            );
        }
        Self { platforms }
    }
}

fn is_platform(name: &str) -> bool {
    let plausible =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=32).contains(&name.len()) && name.bytes().all(plausible)
}

fn check(policy: &DevicePolicy, place: &Place, value: &Value, reading: &mut Reading) {
    if !policy.allow_multiple_devices && policy.max_devices.is_some_and(|most| most.get() > 1) {
        let what = "more than 1 contradicts `allow_multiple_devices` false".to_owned();
        reading.fault(&place.under("max_devices"), value, ErrorKind::Invalid(what));
    }
    if policy
        .required_role
        .as_deref()
        .is_some_and(|role| role.trim().is_empty())
    {
        let what = "must not be empty; leave it out where no role is needed".to_owned();
        reading.fault(&place.under("required_role"), value, ErrorKind::Invalid(what));
    }
}

impl Default for Platforms {
    /// The sample of the requirement, and `admin`: one device, the newest, only for the role `admin`.
    fn default() -> Self {
        let several = |most, hours: u64, notify_on_new_login| DevicePolicy {
            allow_multiple_devices: true,
            max_devices: NonZeroU32::new(most),
            notify_on_new_login,
            session_timeout: Duration::from_secs(hours * 3_600),
            ..DevicePolicy::default()
        };
        let half_an_hour = Duration::from_secs(1_800);
        let web = DevicePolicy {
            kick_existing_on_login: true,
            session_timeout: half_an_hour,
            ..DevicePolicy::default()
        };
        let admin = DevicePolicy {
            kick_existing_on_login: true,
            session_timeout: half_an_hour,
            required_role: Some("admin".to_owned()),
            ..DevicePolicy::default()
        };
        let platforms = [
            ("android", several(3, 1, true)),
            ("ios", several(3, 1, true)),
            ("web", web),
            ("desktop", several(2, 2, false)),
            ("admin", admin),
        ];
        Self {
            platforms: platforms
                .into_iter()
                .map(|(name, policy)| (name.to_owned(), policy))
                .collect(),
        }
    }
}
