use std::num::NonZeroU32;

use super::*;
use crate::testing::{new_session, record};

fn sessions(devices: &[(&str, &str)]) -> Vec<Arc<SessionRecord>> {
    let record = |(index, (device, platform)): (usize, &(&str, &str))| {
        record(new_session("alice", device, platform), 1 + index as u64)
    };
    devices.iter().enumerate().map(record).collect()
}

fn policy(allow_multiple: bool, kick: bool, max: u32) -> DevicePolicy {
    DevicePolicy {
        allow_multiple_devices: allow_multiple,
        kick_existing_on_login: kick,
        max_devices: NonZeroU32::new(max),
        ..DevicePolicy::default()
    }
}

fn judge(policy: &DevicePolicy, present: &[(&str, &str)], device: &str) -> Decision {
    let device = DeviceId::parse(device).unwrap();
    decide(
        policy,
        &sessions(present),
        &device,
        &Platform::parse("web").unwrap(),
    )
}

#[test]
fn each_policy_sends_away_whom_it_names() {
    let three = [("a", "web"), ("x", "ios"), ("b", "web"), ("c", "web")];
    let cases = [
        (
            "one device, kick",
            policy(false, true, 0),
            "d",
            Decision::Displace(vec![0, 2, 3]),
        ),
        (
            "one device, strict",
            policy(false, false, 0),
            "d",
            Decision::Refuse,
        ),
        (
            "several, kick",
            policy(true, true, 9),
            "d",
            Decision::Displace(vec![0, 2, 3]),
        ),
        (
            "several, bound not reached",
            policy(true, false, 4),
            "d",
            Decision::Displace(vec![]),
        ),
        (
            "several, the oldest goes",
            policy(true, false, 3),
            "d",
            Decision::Displace(vec![0]),
        ),
        (
            "several, the bound was lowered",
            policy(true, false, 2),
            "d",
            Decision::Displace(vec![0, 2]),
        ),
        (
            "several, no bound",
            policy(true, false, 0),
            "d",
            Decision::Displace(vec![]),
        ),
        (
            "several, same device only replaces",
            policy(true, false, 3),
            "b",
            Decision::Displace(vec![2]),
        ),
    ];
    for (name, policy, device, expected) in cases {
        assert_eq!(judge(&policy, &three, device), expected, "{name}");
    }
}

#[test]
fn a_strict_platform_lets_the_same_device_in_again() {
    let strict = policy(false, false, 1);
    assert_eq!(judge(&strict, &[("a", "web")], "a"), Decision::Displace(vec![0]));
    assert_eq!(judge(&strict, &[("a", "ios")], "b"), Decision::Displace(vec![]));
}

#[test]
fn a_table_with_an_impossible_platform_is_refused() {
    let mut platforms = Platforms::default();
    assert!(PolicyTable::new(&platforms).is_ok());
    platforms
        .platforms
        .insert("no platform".to_owned(), DevicePolicy::default());
    assert_eq!(
        PolicyTable::new(&platforms).unwrap_err(),
        PolicyError::BadPlatform("no platform".to_owned())
    );
}
