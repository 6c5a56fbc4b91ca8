//! Who has to go when a device logs in: the device policy of one platform, as a pure function.
//!
//! It decides over the sessions that a store found; a store applies the decision in the same step, so that two logins
//! at once cannot both be let in. A store that decides elsewhere (a script) has to give the same answers.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_codec::{DeviceId, Platform};
use gateway_config::{DevicePolicy, Platforms};

use crate::{PolicyError, SessionRecord};

/// What a policy says to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it in; the sessions at these places of the list have to go, in this order.
    Displace(Vec<usize>),
    /// Do not let it in.
    Refuse,
}

/// Decides over a login of `device` on `platform`, given all sessions of its user.
///
/// The same device is always replaced. Of the others on the platform: one device only, and it is kicked or the login
/// is refused; several, and all are kicked (`kick_existing_on_login`) or the oldest above `max_devices`.
#[must_use]
pub fn decide(
    policy: &DevicePolicy,
    sessions: &[Arc<SessionRecord>],
    device: &DeviceId,
    platform: &Platform,
) -> Decision {
    let on_platform = |index: &usize| sessions[*index].platform == *platform;
    let (mut displaced, mut others): (Vec<usize>, Vec<usize>) = (0..sessions.len())
        .filter(on_platform)
        .partition(|index| sessions[*index].device_id == *device);
    others.sort_by_key(|index| sessions[*index].epoch);

    match (policy.allow_multiple_devices, policy.kick_existing_on_login) {
        (_, true) => displaced.append(&mut others),
        (false, false) if others.is_empty() => {}
        (false, false) => return Decision::Refuse,
        (true, false) => {
            if let Some(max) = policy.max_devices {
                let places = usize::try_from(max.get()).unwrap_or(usize::MAX) - 1;
                displaced.extend(others.iter().take(others.len().saturating_sub(places)));
            }
        }
    }
    Decision::Displace(displaced)
}

/// What a policy says to a session that the store had lost and that is to be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// It may stay; the older sessions at these places of the list have to go.
    Displace(Vec<usize>),
    /// Newer sessions have taken its place.
    Displaced,
}

/// Decides over `record`, which bears its own epoch and whose device has no newer session, given all sessions of its
/// user. In whatever order lost sessions come back, the newest that the policy admits remain; a platform that would
/// refuse a second login has no say here, because both logins were let in.
#[must_use]
pub fn judge_rewrite(
    policy: &DevicePolicy,
    sessions: &[Arc<SessionRecord>],
    record: &SessionRecord,
) -> Rewrite {
    let (same, mut others): (Vec<usize>, Vec<usize>) = (0..sessions.len())
        .filter(|index| sessions[*index].platform == record.platform)
        .partition(|index| sessions[*index].device_id == record.device_id);
    let places = match (policy.allow_multiple_devices, policy.kick_existing_on_login) {
        (true, false) => policy
            .max_devices
            .map_or(usize::MAX, |max| usize::try_from(max.get()).unwrap_or(usize::MAX)),
        _ => 1,
    };
    others.sort_by_key(|index| sessions[*index].epoch);
    let older = others.partition_point(|index| sessions[*index].epoch < record.epoch);
    if others.len() - older >= places {
        return Rewrite::Displaced;
    }
    let too_many = (others.len() + 1).saturating_sub(places);
    Rewrite::Displace(
        same.into_iter()
            .chain(others.into_iter().take(too_many))
            .collect(),
    )
}

/// The policies of all platforms, swapped whole. Looking a platform up also gives the one copy of its name, so that a
/// million sessions share it.
#[derive(Debug, Default)]
pub struct PolicyTable {
    by_platform: HashMap<Platform, Arc<DevicePolicy>>,
}

impl PolicyTable {
    /// Reads a configured table.
    ///
    /// # Errors
    /// [`PolicyError::BadPlatform`] for a name that no session could carry.
    pub fn new(platforms: &Platforms) -> Result<Self, PolicyError> {
        let by_platform = platforms
            .platforms
            .iter()
            .map(|(name, policy)| {
                let platform = Platform::parse(name).map_err(|_| PolicyError::BadPlatform(name.clone()))?;
                Ok((platform, Arc::new(policy.clone())))
            })
            .collect::<Result<_, PolicyError>>()?;
        Ok(Self { by_platform })
    }

    /// The shared name and the policy of a platform, if there is one.
    #[must_use]
    pub fn get(&self, platform: &Platform) -> Option<(&Platform, &Arc<DevicePolicy>)> {
        self.by_platform.get_key_value(platform)
    }
}

#[cfg(test)]
mod tests;
