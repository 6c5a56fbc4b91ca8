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
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gateway_codec::{DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};
use gateway_config::DevicePolicy;
use gateway_conn::{
    BindAttempt, EmbeddedSessionStore, KickKind, NewSession, RedisSessionStore, RedisSettings, Renewal,
    Selector, SessionRecord, SessionStore, Standing,
};
use gateway_redis::testing::{LosingProxy, RedisServer};
use gateway_redis::{Command, Redis};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use tokio::runtime::Handle;

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
        node: usize,
        clock: u64,
        /// The store has bound it and its answer was lost.
        lost: bool,
    },
    /// Closes the n-th session ever bound, whatever became of it.
    Close(usize),
    Kick {
        device: Option<u8>,
        platform: Option<usize>,
    },
    /// A node dies and the other one takes its sessions out.
    Death(usize),
    /// A node that was thought dead, or any other, renews what it believes to hold.
    Renewal(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bind = (
        0..4_u8,
        0..PLATFORMS.len(),
        0..2_usize,
        0..5_000_u64,
        prop::bool::weighted(0.1),
    );
    let step = prop_oneof![
        8 => bind.prop_map(|(device, platform, node, clock, lost)| Step::Bind { device, platform, node, clock, lost }),
        5 => (0..24_usize).prop_map(Step::Close),
        2 => (prop::option::of(0..4_u8), prop::option::of(0..PLATFORMS.len()))
            .prop_map(|(device, platform)| Step::Kick { device, platform }),
        1 => (0..2_usize).prop_map(Step::Death),
        2 => (0..2_usize).prop_map(Step::Renewal),
    ];
    prop::collection::vec(step, 1..24)
}

fn device_id(device: u8) -> DeviceId {
    DeviceId::parse(&format!("d{device}")).unwrap()
}

fn platform_id(platform: usize) -> Platform {
    Platform::parse(PLATFORMS[platform]).unwrap()
}

/// A session ever bound.
struct Known {
    /// `None`: the answer to its bind was lost.
    record: Option<Arc<SessionRecord>>,
    new: NewSession,
    device: (usize, u8),
    node: usize,
    /// Its node has taken it out itself and will not renew it.
    closed: bool,
}

/// What ought to be there. Sessions are known by their place among all ever bound, which is the order of their epochs.
#[derive(Default)]
struct Model {
    /// By platform and device.
    held: BTreeMap<(usize, u8), usize>,
    /// The highest place that has a tombstone.
    graves: BTreeMap<(usize, u8), usize>,
}

impl Model {
    fn lay(&mut self, device: (usize, u8), place: usize) {
        self.held.remove(&device);
        let grave = self.graves.entry(device).or_default();
        *grave = place.max(*grave);
    }

    /// Other devices on the platform, oldest first.
    fn others(&self, (platform, device): (usize, u8)) -> Vec<(usize, (usize, u8))> {
        let beside = |(key, _): &(&(usize, u8), _)| key.0 == platform && key.1 != device;
        let mut others: Vec<_> = self
            .held
            .iter()
            .filter(beside)
            .map(|(key, place)| (*place, *key))
            .collect();
        others.sort_unstable();
        others
    }

    /// A login: who goes, or `None` if it is refused.
    fn bind(&mut self, device: (usize, u8), place: usize) -> Option<Vec<usize>> {
        let policy = policy(device.0);
        let others = self.others(device);
        if !policy.allow_multiple_devices && !policy.kick_existing_on_login && !others.is_empty() {
            return None;
        }
        let mut gone = Vec::new();
        if let Some(same) = self.held.get(&device).copied() {
            self.lay(device, same);
            gone.push(same);
        }
        let keep = places(device.0) - 1;
        for (old, key) in others.iter().take(others.len().saturating_sub(keep)) {
            self.lay(*key, *old);
            gone.push(*old);
        }
        self.held.insert(device, place);
        gone.sort_unstable();
        Some(gone)
    }

    /// A renewal: whether the session lives.
    fn renew(&mut self, device: (usize, u8), place: usize) -> bool {
        match self.held.get(&device) {
            Some(held) if *held == place => return true,
            Some(held) if *held > place => return false,
            _ => {}
        }
        if self.graves.get(&device).is_some_and(|grave| *grave >= place) {
            return false;
        }
        let others = self.others(device);
        let newer = others.iter().filter(|(other, _)| *other > place).count();
        if newer >= places(device.0) {
            return false;
        }
        for (old, key) in others
            .iter()
            .take((others.len() + 1).saturating_sub(places(device.0)))
        {
            self.lay(*key, *old);
        }
        if let Some(older) = self.held.get(&device).copied() {
            self.lay(device, older);
        }
        self.held.insert(device, place);
        true
    }
}

/// Devices that a platform admits at once.
fn places(platform: usize) -> usize {
    let policy = policy(platform);
    match (policy.allow_multiple_devices, policy.max_devices) {
        (false, _) => 1,
        (true, None) => usize::MAX,
        (true, Some(max)) => max.get() as usize,
    }
}

/// The body. `user` must be new to the store, and so must the names of the `nodes`; `indexed` returns when the store has
/// written what it writes a little later.
async fn newest_devices_survive<'a, S: SessionStore>(
    store: &'a S,
    indexed: impl Fn() -> BoxFuture<'a, ()>,
    user: UserId,
    nodes: [NodeId; 2],
    steps: &[Step],
) {
    let mut all: Vec<Known> = Vec::new();
    let mut model = Model::default();
    let mut highest = 0;
    let mut now = Timestamp::default();
    let place_of = |all: &[Known], record: &SessionRecord| {
        all.iter()
            .position(|known| known.new.session_id == record.session_id)
            .expect("a session of this script")
    };
    for step in steps {
        match step {
            Step::Bind {
                device,
                platform,
                node,
                clock,
                lost,
            } => {
                now = Timestamp::from_millis(*clock);
                let mut id = (all.len() as u128 + 1).to_be_bytes();
                id[..8].copy_from_slice(&hash(&user).to_be_bytes());
                let new = NewSession {
                    session_id: SessionId::from_random(id),
                    user_id: user.clone(),
                    device_id: device_id(*device),
                    platform: platform_id(*platform),
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                };
                let device = (*platform, *device);
                let expected = model.bind(device, all.len());
                let attempt = store
                    .bind(new.clone(), &nodes[*node], &policy(*platform), now)
                    .await
                    .unwrap();
                let record = match attempt {
                    BindAttempt::Refused => {
                        assert_eq!(expected, None);
                        continue;
                    }
                    BindAttempt::Bound { record, displaced } => {
                        assert!(record.epoch > highest, "epochs grow");
                        assert!(record.epoch >= now.as_millis(), "and are never below the clock");
                        highest = record.epoch;
                        let mut gone: Vec<_> = displaced.iter().map(|old| place_of(&all, old)).collect();
                        gone.sort_unstable();
                        assert_eq!(expected, Some(gone));
                        (!lost).then_some(record)
                    }
                };
                all.push(Known {
                    record,
                    new,
                    device,
                    node: *node,
                    closed: false,
                });
            }
            Step::Close(place) => {
                let Some(known) = all.get_mut(*place) else {
                    continue;
                };
                let was_there = model.held.values().any(|held| held == place);
                model.held.retain(|_, held| held != place);
                known.closed = true;
                match &known.record {
                    Some(record) => assert_eq!(store.remove(record, now).await.unwrap(), was_there),
                    None => store.abandon(&known.new, now).await.unwrap(),
                }
            }
            Step::Kick { device, platform } => {
                let selector = Selector {
                    device: device.map(device_id),
                    platform: platform.map(platform_id),
                };
                let kicked = store.kick(&user, &selector, KickKind::Kicked, now).await.unwrap();
                let meant = |(on, held): &(usize, u8)| {
                    device.is_none_or(|device| device == *held)
                        && platform.is_none_or(|platform| platform == *on)
                };
                let gone: Vec<_> = model
                    .held
                    .iter()
                    .filter(|(key, _)| meant(key))
                    .map(|(key, place)| (*key, *place))
                    .collect();
                assert_eq!(kicked.len(), gone.len());
                for (key, place) in gone {
                    model.lay(key, place);
                }
                for record in kicked {
                    let standing = store.standing(&record, now).await.unwrap();
                    assert_eq!(standing, Standing::Displaced(KickKind::Kicked));
                }
            }
            Step::Death(node) => {
                indexed().await;
                while !store.reap(&nodes[*node], now).await.unwrap().is_empty() {}
                model.held.retain(|_, place| all[*place].node != *node);
            }
            Step::Renewal(node) => {
                let places: Vec<_> = (0..all.len())
                    .filter(|place| {
                        all[*place].node == *node && !all[*place].closed && all[*place].record.is_some()
                    })
                    .collect();
                let sessions: Vec<_> = places
                    .iter()
                    .map(|place| {
                        (
                            all[*place].record.clone().unwrap(),
                            Arc::new(policy(all[*place].device.0)),
                        )
                    })
                    .collect();
                let renewals = store.renew(&sessions, now).await.unwrap();
                for (place, renewal) in places.iter().zip(renewals) {
                    let lives = model.renew(all[*place].device, *place);
                    assert_eq!(lives, !matches!(renewal, Renewal::Displaced(_)), "{renewal:?}");
                }
            }
        }
        let held = store.sessions(&user).await.unwrap();
        assert!(held.is_sorted_by_key(|record| record.epoch));
        let mut held: Vec<_> = held.iter().map(|record| place_of(&all, record)).collect();
        held.sort_unstable();
        let mut expected: Vec<_> = model.held.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(held, expected);
        for record in expected
            .into_iter()
            .filter_map(|place| all[place].record.as_ref())
        {
            assert_eq!(store.standing(record, now).await.unwrap(), Standing::Current);
        }
    }
}

fn hash(user: &UserId) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    user.as_str().as_bytes().iter().fold(0xCBF2_9CE4_8422_2325, fold)
}

#[test]
fn the_embedded_store_keeps_the_newest_devices_in_any_interleaving() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = ProptestConfig {
        cases: 12_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let nodes = || ["n1", "n2"].map(|name| NodeId::parse(name).unwrap());
    proptest!(config, |(steps in steps())| {
        let store = EmbeddedSessionStore::default();
        runtime.block_on(newest_devices_survive(&store, || std::future::ready(()).boxed(), UserId::parse("alice").unwrap(), nodes(), &steps));
        prop_assert!(store.users() <= 1);
    });
}

/// Scripts played at once against one Redis.
const AT_ONCE: usize = 64;

#[test]
fn redis_keeps_the_newest_devices_in_any_interleaving() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = RedisServer::start();
        let settings = gateway_config::Redis {
            port: server.port(),
            ..gateway_config::Redis::default()
        };
        let redis = Redis::new(&settings, Handle::current()).unwrap();
        while redis.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let life = RedisSettings {
            session_ttl: Duration::from_secs(60),
        };
        let store = Arc::new(RedisSessionStore::new(redis.clone(), life, &Handle::current()));
        let mut chance = proptest::test_runner::TestRunner::default();
        let mut playing = tokio::task::JoinSet::new();
        for case in 0..10_240 {
            let steps = steps().new_tree(&mut chance).unwrap().current();
            let (store, redis) = (store.clone(), redis.clone());
            playing.spawn(async move {
                let user = UserId::parse(&format!("user{case}")).unwrap();
                let nodes = ["a", "b"].map(|name| NodeId::parse(&format!("{name}{case}")).unwrap());
                for node in &nodes {
                    let lease = redis.key(&format!("gateway:node:{node}"));
                    redis.run(Command::new("SET").arg(lease).arg(1)).await.unwrap();
                }
                let body = newest_devices_survive(&*store, || store.indexed().boxed(), user, nodes, &steps);
                if std::panic::AssertUnwindSafe(body).catch_unwind().await.is_err() {
                    panic!("{steps:#?}");
                }
            });
            if playing.len() >= AT_ONCE {
                playing.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(done) = playing.join_next().await {
            done.unwrap();
        }
        store.close().await;
        redis.close().await;
    });
}

/// A store whose replies can be lost, and a second one that sees what is there.
struct Lossy {
    server: RedisServer,
    proxy: LosingProxy,
    redis: Redis,
    store: RedisSessionStore,
    user: UserId,
    node: NodeId,
}

impl Lossy {
    async fn start() -> Self {
        let server = RedisServer::start();
        let proxy = LosingProxy::start(server.port()).await.unwrap();
        let settings = gateway_config::Redis {
            port: proxy.port(),
            ..gateway_config::Redis::default()
        };
        let redis = Redis::new(&settings, Handle::current()).unwrap();
        while redis.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let life = RedisSettings {
            session_ttl: Duration::from_secs(60),
        };
        Self {
            store: RedisSessionStore::new(redis.clone(), life, &Handle::current()),
            server,
            proxy,
            redis,
            user: UserId::parse("alice").unwrap(),
            node: NodeId::parse("n1").unwrap(),
        }
    }

    fn session(&self, id: u8, device: u8) -> NewSession {
        NewSession {
            session_id: SessionId::from_random([id; 16]),
            user_id: self.user.clone(),
            device_id: device_id(device),
            // A login ends the other devices.
            platform: platform_id(1),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    async fn bind(&self, new: NewSession) -> (Arc<SessionRecord>, Vec<SessionId>) {
        let attempt = self
            .store
            .bind(new, &self.node, &policy(1), Timestamp::default())
            .await;
        let BindAttempt::Bound { record, displaced } = attempt.unwrap() else {
            panic!("refused")
        };
        (record, displaced.iter().map(|old| old.session_id).collect())
    }

    /// Has the scripts known, so that the reply that is lost is a script's own.
    async fn warm_up(&self) {
        let (first, _) = self.bind(self.session(250, 9)).await;
        let policies = [(first.clone(), Arc::new(policy(1)))];
        self.store.renew(&policies, Timestamp::default()).await.unwrap();
        self.store.remove(&first, Timestamp::default()).await.unwrap();
        let all = Selector::default();
        self.store
            .kick(&self.user, &all, KickKind::Kicked, Timestamp::default())
            .await
            .unwrap();
    }

    async fn end(self) {
        self.store.close().await;
        self.redis.close().await;
        drop(self.server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_whose_reply_was_lost_is_bound_once_and_names_whom_it_displaced() {
    let lossy = Lossy::start().await;
    lossy.warm_up().await;
    let (old, _) = lossy.bind(lossy.session(1, 1)).await;
    let new = lossy.session(2, 2);
    lossy.proxy.lose_reply_to(&new.session_id.to_string());
    let (record, displaced) = lossy.bind(new.clone()).await;
    assert_eq!(lossy.proxy.lost(), 1);
    assert_eq!(displaced, [old.session_id]);
    let held = lossy.store.sessions(&lossy.user).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(
        (held[0].session_id, held[0].epoch),
        (record.session_id, record.epoch)
    );
    assert_eq!(
        lossy.bind(new).await,
        (record.clone(), vec![old.session_id]),
        "however often"
    );
    let now = Timestamp::default();
    assert_eq!(
        lossy.store.standing(&record, now).await.unwrap(),
        Standing::Current
    );
    let replaced = Standing::Displaced(KickKind::Replaced);
    assert_eq!(lossy.store.standing(&old, now).await.unwrap(), replaced);
    lossy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_that_comes_twice_does_not_undo_a_newer_one() {
    let lossy = Lossy::start().await;
    let (first, _) = lossy.bind(lossy.session(1, 1)).await;
    let (second, displaced) = lossy.bind(lossy.session(2, 2)).await;
    assert_eq!(displaced, [first.session_id]);
    // The first one once more: its reply was lost, and the second came in between.
    let (again, displaced) = lossy.bind(lossy.session(1, 1)).await;
    assert_eq!((again.epoch, displaced), (first.epoch, Vec::new()));
    let now = Timestamp::default();
    assert_eq!(
        lossy.store.standing(&second, now).await.unwrap(),
        Standing::Current
    );
    let replaced = Standing::Displaced(KickKind::Replaced);
    assert_eq!(lossy.store.standing(&again, now).await.unwrap(), replaced);
    // Given up, it may be bound anew like any other.
    lossy.store.abandon(&lossy.session(1, 1), now).await.unwrap();
    let (anew, displaced) = lossy.bind(lossy.session(1, 1)).await;
    assert!(anew.epoch > second.epoch);
    assert_eq!(displaced, [second.session_id]);
    lossy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_whose_reply_was_lost_names_whom_it_ended() {
    let lossy = Lossy::start().await;
    lossy.warm_up().await;
    let (record, _) = lossy.bind(lossy.session(1, 1)).await;
    lossy.proxy.lose_reply_to("kicked");
    let (all, now) = (Selector::default(), Timestamp::default());
    let kick = || lossy.store.kick(&lossy.user, &all, KickKind::Kicked, now);
    let kicked = kick().await.unwrap();
    assert_eq!(lossy.proxy.lost(), 1);
    assert_eq!(kicked, [record]);
    assert!(kick().await.unwrap().is_empty(), "another call finds nobody");
    lossy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_reply_was_lost_says_that_it_wrote_the_session_again() {
    let lossy = Lossy::start().await;
    lossy.warm_up().await;
    let (record, _) = lossy.bind(lossy.session(1, 1)).await;
    lossy.store.indexed().await;
    let [sessions, tombstones] =
        ["sessions", "tombstones"].map(|kind| lossy.redis.key(&format!("user:{kind}:{{alice}}")));
    let forget = Command::new("DEL").arg(sessions).arg(tombstones);
    lossy.redis.run(forget).await.unwrap();
    lossy.proxy.lose_reply_to(&record.session_id.to_string());
    let asked = [(record.clone(), Arc::new(policy(1)))];
    let renew = || lossy.store.renew(&asked, Timestamp::default());
    let rewritten = Renewal::Rewritten {
        displaced: Vec::new(),
    };
    assert_eq!(renew().await.unwrap(), [rewritten]);
    assert_eq!(lossy.proxy.lost(), 1);
    assert_eq!(renew().await.unwrap(), [Renewal::Current]);
    assert_eq!(lossy.store.sessions(&lossy.user).await.unwrap(), [record]);
    lossy.end().await;
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
