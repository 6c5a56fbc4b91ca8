//! The rules of a session store, as one test body for all of them: any interleaving of binds, late closes and kicks
//! leaves the newest devices that the policy admits, and no late word of an older session touches a newer one.
//!
//! The body plays a random script against a store and against a model of the rules; another store joins by one more
//! test that gives it a fresh instance per script (or a fresh user: `Script::user`).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code outside of test functions"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use gateway_codec::{DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};
use gateway_config::DevicePolicy;
use gateway_conn::{
    BindAttempt, EmbeddedSessionStore, KickKind, NewSession, Selector, SessionRecord, SessionStore, Standing,
};
use proptest::prelude::*;

const PLATFORMS: [&str; 4] = ["several", "kicking", "strict", "unbound"];

fn policy(platform: usize) -> DevicePolicy {
    let (allow_multiple_devices, kick_existing_on_login, max) = [
        (true, false, 2),
        (false, true, 0),
        (false, false, 0),
        (true, false, 0),
    ][platform];
    DevicePolicy {
        allow_multiple_devices,
        kick_existing_on_login,
        max_devices: NonZeroU32::new(max),
        ..DevicePolicy::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Bind {
        device: u8,
        platform: usize,
        clock: u64,
    },
    /// Closes the n-th session ever bound, whatever became of it.
    Close(usize),
    Kick {
        device: Option<u8>,
        platform: Option<usize>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8, 0..PLATFORMS.len(), 0..5_000_u64)
            .prop_map(|(device, platform, clock)| Step::Bind { device, platform, clock }),
        3 => (0..24_usize).prop_map(Step::Close),
        1 => (prop::option::of(0..4_u8), prop::option::of(0..PLATFORMS.len()))
            .prop_map(|(device, platform)| Step::Kick { device, platform }),
    ];
    prop::collection::vec(step, 1..24)
}

fn device_id(device: u8) -> DeviceId {
    DeviceId::parse(&format!("d{device}")).unwrap()
}

fn platform_id(platform: usize) -> Platform {
    Platform::parse(PLATFORMS[platform]).unwrap()
}

/// What ought to be there: per platform and device the place of its session among all ever bound.
type Model = BTreeMap<(usize, u8), usize>;

/// Applies a login to the model: who goes, or `None` if it is refused.
fn expect_bind(model: &mut Model, device: u8, platform: usize, place: usize) -> Option<Vec<usize>> {
    let policy = policy(platform);
    let mut gone: Vec<usize> = model.remove(&(platform, device)).into_iter().collect();
    let mut others: Vec<_> = model
        .iter()
        .filter(|((on, _), _)| *on == platform)
        .map(|(key, place)| (*place, *key))
        .collect();
    others.sort_unstable();
    if !policy.allow_multiple_devices && !policy.kick_existing_on_login && !others.is_empty() {
        if let Some(same) = gone.pop() {
            model.insert((platform, device), same);
        }
        return None;
    }
    let keep = match (policy.allow_multiple_devices, policy.max_devices) {
        (false, _) => 0,
        (true, None) => usize::MAX,
        (true, Some(max)) => max.get() as usize - 1,
    };
    for (place, key) in others.iter().take(others.len().saturating_sub(keep)) {
        model.remove(key);
        gone.push(*place);
    }
    model.insert((platform, device), place);
    gone.sort_unstable();
    Some(gone)
}

/// The body. `user` must be new to the store.
async fn newest_devices_survive(store: &dyn SessionStore, user: UserId, steps: &[Step]) {
    let node = NodeId::parse("n1").unwrap();
    let mut all: Vec<Arc<SessionRecord>> = Vec::new();
    let mut model = Model::new();
    let mut highest = 0;
    let mut now = Timestamp::default();
    let place_of = |all: &[Arc<SessionRecord>], record: &SessionRecord| {
        all.iter()
            .position(|held| held.session_id == record.session_id)
            .expect("a session of this script")
    };
    for step in steps {
        match step {
            Step::Bind {
                device,
                platform,
                clock,
            } => {
                now = Timestamp::from_millis(*clock);
                let new = NewSession {
                    session_id: SessionId::from_random((all.len() as u128 + 1).to_be_bytes()),
                    user_id: user.clone(),
                    device_id: device_id(*device),
                    platform: platform_id(*platform),
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                };
                let expected = expect_bind(&mut model, *device, *platform, all.len());
                match store.bind(new, &node, &policy(*platform), now).await.unwrap() {
                    BindAttempt::Refused => assert_eq!(expected, None),
                    BindAttempt::Bound { record, displaced } => {
                        assert!(record.epoch > highest, "epochs grow");
                        assert!(record.epoch >= now.as_millis(), "and are never below the clock");
                        highest = record.epoch;
                        let mut gone: Vec<_> = displaced.iter().map(|old| place_of(&all, old)).collect();
                        gone.sort_unstable();
                        assert_eq!(expected, Some(gone));
                        all.push(record);
                    }
                }
            }
            Step::Close(place) => {
                let Some(record) = all.get(*place) else { continue };
                let was_there = model.values().any(|held| held == place);
                model.retain(|_, held| held != place);
                assert_eq!(store.remove(record, now).await.unwrap(), was_there);
            }
            Step::Kick { device, platform } => {
                let selector = Selector {
                    device: device.map(device_id),
                    platform: platform.map(platform_id),
                };
                let kicked = store.kick(&user, &selector, KickKind::Kicked, now).await.unwrap();
                let before = model.len();
                model.retain(|(on, held), _| {
                    device.is_some_and(|device| device != *held)
                        || platform.is_some_and(|platform| platform != *on)
                });
                assert_eq!(kicked.len(), before - model.len());
                for record in kicked {
                    let standing = store.standing(&record, now).await.unwrap();
                    assert_eq!(standing, Standing::Displaced(KickKind::Kicked));
                }
            }
        }
        let held = store.sessions(&user).await.unwrap();
        assert!(held.is_sorted_by_key(|record| record.epoch));
        let mut held: Vec<_> = held.iter().map(|record| place_of(&all, record)).collect();
        held.sort_unstable();
        let mut expected: Vec<_> = model.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(held, expected);
        for place in expected {
            assert_eq!(store.standing(&all[place], now).await.unwrap(), Standing::Current);
        }
    }
}

#[test]
fn the_embedded_store_keeps_the_newest_devices_in_any_interleaving() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = ProptestConfig {
        cases: 12_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in steps())| {
        let store = EmbeddedSessionStore::default();
        runtime.block_on(newest_devices_survive(&store, UserId::parse("alice").unwrap(), &steps));
        prop_assert!(store.users() <= 1);
    });
}

#[test]
fn concurrent_logins_leave_what_the_policy_admits() {
    let store = Arc::new(EmbeddedSessionStore::default());
    let user = UserId::parse("alice").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..8_u8 {
            let (store, user) = (store.clone(), user.clone());
            tasks.spawn(async move {
                let node = NodeId::parse("n1").unwrap();
                for round in 0..500_u32 {
                    let mut id = [worker; 16];
                    id[..4].copy_from_slice(&round.to_be_bytes());
                    let new = NewSession {
                        session_id: SessionId::from_random(id),
                        user_id: user.clone(),
                        device_id: device_id(worker),
                        platform: platform_id(0),
                        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    };
                    let now = Timestamp::from_millis(u64::from(round));
                    let attempt = store.bind(new, &node, &policy(0), now).await.unwrap();
                    let BindAttempt::Bound { displaced, .. } = attempt else {
                        panic!("refused")
                    };
                    for old in displaced {
                        assert!(
                            !store.remove(&old, now).await.unwrap(),
                            "a late close removes nothing"
                        );
                    }
                    assert!(store.sessions(&user).await.unwrap().len() <= 2);
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(store.sessions(&user).await.unwrap().len(), 2);
    });
}
