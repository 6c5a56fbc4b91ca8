//! Online and offline events on a real Redis: what is told, in which order, once, and what is left of it.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_codec::{DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};
use gateway_config::{DevicePolicy, PresenceEvents};
use gateway_conn::{
    BindAttempt, KickKind, NewSession, PresenceStream, RedisSessionStore, RedisSettings, Selector,
    SessionRecord, SessionStore,
};
use gateway_redis::Redis;
use gateway_redis::testing::RedisServer;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

const WINDOW: Duration = Duration::from_millis(400);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A node's store, and the server.
struct Node {
    store: RedisSessionStore,
    redis: Redis,
    name: NodeId,
}

impl Node {
    async fn start(server: &RedisServer, name: &str, window: Duration) -> Self {
        Self::start_with(
            server,
            name,
            PresenceEvents {
                enabled: true,
                flap_window: window,
                ..PresenceEvents::default()
            },
        )
        .await
    }

    async fn start_with(server: &RedisServer, name: &str, events: PresenceEvents) -> Self {
        Self::counting(server, name, events).await.0
    }

    /// And how many events were lost.
    async fn counting(
        server: &RedisServer,
        name: &str,
        events: PresenceEvents,
    ) -> (Self, impl Fn() -> usize + use<>) {
        let settings = gateway_config::Redis {
            port: server.port(),
            ..gateway_config::Redis::default()
        };
        let runtime = Handle::current();
        let redis = Redis::new(&settings, runtime.clone()).unwrap();
        while redis.ping().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        let session_ttl = Duration::from_secs(60);
        let count = Arc::new(AtomicU64::new(0));
        let recorder = Recorder {
            name: "gateway_presence_events_lost_total",
            count: count.clone(),
        };
        let stream = metrics::with_local_recorder(&recorder, || {
            PresenceStream::new(redis.clone(), &events, session_ttl, &runtime)
        });
        let store = RedisSessionStore::new(redis.clone(), RedisSettings { session_ttl }, &runtime);
        let node = Self {
            store: store.telling(stream),
            redis,
            name: NodeId::parse(name).unwrap(),
        };
        (node, move || count.load(Ordering::Relaxed) as usize)
    }

    async fn bind_as(&self, user: &str, device: &str, node: &NodeId) -> Arc<SessionRecord> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let session = NewSession {
            session_id: SessionId::from_random(
                u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes(),
            ),
            user_id: UserId::parse(user).unwrap(),
            device_id: DeviceId::parse(device).unwrap(),
            platform: Platform::parse("web").unwrap(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        match self.store.bind(session, node, &policy(), NOW).await.unwrap() {
            BindAttempt::Bound { record, .. } => record,
            BindAttempt::Refused => panic!("refused"),
        }
    }

    async fn bind(&self, user: &str, device: &str) -> Arc<SessionRecord> {
        self.bind_as(user, device, &self.name).await
    }

    async fn close(self) {
        self.store.close().await;
        self.redis.close().await;
    }
}

fn policy() -> DevicePolicy {
    DevicePolicy {
        allow_multiple_devices: true,
        kick_existing_on_login: false,
        ..DevicePolicy::default()
    }
}

/// An entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(BTreeMap<String, String>);

impl Entry {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn seq(&self) -> u64 {
        self.get("seq").parse().unwrap()
    }

    fn device(&self) -> (String, String) {
        (self.get("user_id").to_owned(), self.get("device_id").to_owned())
    }
}

fn entries(server: &RedisServer) -> Vec<Entry> {
    let text = server.cli(&["--json", "XRANGE", "mychat:{gateway:events}", "-", "+"]);
    let all: Vec<(String, Vec<String>)> = serde_json::from_str(&text).unwrap();
    all.into_iter()
        .map(|(_, fields)| {
            Entry(
                fields
                    .chunks(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect(),
            )
        })
        .collect()
}

/// Events with their sequences, once there are `count` of them; and none follows.
async fn events(server: &RedisServer, count: usize) -> Vec<(String, u64)> {
    for _ in 0..200 {
        if entries(server).len() >= count {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    settled(server).await;
    entries(server)
        .iter()
        .map(|entry| (entry.get("event").to_owned(), entry.seq()))
        .collect()
}

/// Waits until nobody has left about whom nothing is decided.
async fn settled(server: &RedisServer) {
    for _ in 0..400 {
        sleep(Duration::from_millis(50)).await;
        let marks = server.cli(&["HVALS", "mychat:{gateway:events}:left"]);
        if !marks.lines().any(|mark| mark.trim().contains(' ')) {
            return;
        }
    }
    panic!(
        "not decided: {}",
        server.cli(&["HGETALL", "mychat:{gateway:events}:left"])
    );
}

fn online(record: &SessionRecord) -> (String, u64) {
    ("online".to_owned(), record.epoch)
}

fn offline(record: &SessionRecord) -> (String, u64) {
    ("offline".to_owned(), record.epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_and_goes_is_told_with_its_sequence_and_all_fields() {
    let server = RedisServer::start();
    let node = Node::start(&server, "a", WINDOW).await;
    let record = node.bind("alice", "d").await;
    let at = Timestamp::from_millis(1_700_000_000_500);
    assert!(node.store.remove(&record, at).await.unwrap());
    assert_eq!(events(&server, 2).await, [online(&record), offline(&record)]);
    let all = entries(&server);
    let expect = |pairs: &[(&str, &str)]| {
        Entry(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    };
    let (seq, session) = (record.epoch.to_string(), record.session_id.to_string());
    let common = [
        ("user_id", "alice"),
        ("platform", "web"),
        ("device_id", "d"),
        ("node", "a"),
        ("seq", seq.as_str()),
        ("session_id", session.as_str()),
    ];
    let came = [common.as_slice(), &[("event", "online"), ("at", "1700000000000")]].concat();
    let went = [
        common.as_slice(),
        &[
            ("event", "offline"),
            ("at", "1700000000500"),
            ("reason", "closed"),
        ],
    ]
    .concat();
    assert_eq!(all, [expect(&came), expect(&went)]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_back_within_the_window_on_another_node_was_never_gone() {
    let server = RedisServer::start();
    let a = Node::start(&server, "a", Duration::from_secs(3)).await;
    let b = Node::start(&server, "b", Duration::from_secs(3)).await;
    let mut last = a.bind("alice", "d").await;
    let first = last.clone();
    for round in 0..6 {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        from.store.remove(&last, NOW).await.unwrap();
        // Its going is written before it is back.
        while server.cli(&["ZCARD", "mychat:{gateway:events}:due"]).trim() != "1" {
            sleep(Duration::from_millis(10)).await;
        }
        last = to.bind("alice", "d").await;
    }
    // Another device of the user's is another matter.
    let other = a.bind("alice", "e").await;
    assert_eq!(events(&server, 2).await, [online(&first), online(&other)]);
    a.store.remove(&last, NOW).await.unwrap();
    assert_eq!(events(&server, 3).await[2], offline(&last));
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_replaces_the_devices_own_is_no_event_and_its_late_close_neither() {
    let server = RedisServer::start();
    let a = Node::start(&server, "a", WINDOW).await;
    let b = Node::start(&server, "b", WINDOW).await;
    let old = a.bind("alice", "d").await;
    let new = b.bind("alice", "d").await;
    assert!(!a.store.remove(&old, NOW).await.unwrap());
    sleep(WINDOW * 3).await;
    assert_eq!(events(&server, 1).await, [online(&old)]);
    // Kicked, and closed for it: told once, with the reason.
    let alice = UserId::parse("alice").unwrap();
    a.store
        .kick(&alice, &Selector::all(), KickKind::Kicked, NOW)
        .await
        .unwrap();
    b.store.remove(&new, NOW).await.unwrap();
    assert_eq!(events(&server, 2).await, [online(&old), offline(&new)]);
    assert_eq!(entries(&server)[1].get("reason"), "kicked");
    // Said once more when it has been told.
    b.store.remove(&new, NOW).await.unwrap();
    sleep(WINDOW * 3).await;
    assert_eq!(events(&server, 2).await.len(), 2);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_nodes_devices_go_offline_once_however_many_reap_it_and_newer_ones_stay() {
    let server = RedisServer::start();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(&server, name, Duration::ZERO).await);
    }
    let dead = NodeId::parse("dead").unwrap();
    let mut gone = Vec::new();
    for n in 0..300 {
        gone.push(nodes[0].bind_as(&format!("user{n}"), "d", &dead).await);
    }
    nodes[0].store.indexed().await;
    // Twenty have come back elsewhere before anybody noticed.
    let mut back = Vec::new();
    for n in 0..20 {
        back.push(nodes[1].bind(&format!("user{n}"), "d").await);
    }
    let (a, b, c) = tokio::join!(
        reap(&nodes[0], &dead),
        reap(&nodes[1], &dead),
        reap(&nodes[2], &dead)
    );
    assert_eq!(a + b + c, 280);
    let told = events(&server, 580).await;
    let mut expected: Vec<_> = gone.iter().skip(20).map(|record| offline(record)).collect();
    let mut offlines: Vec<_> = told
        .iter()
        .filter(|(event, _)| event == "offline")
        .cloned()
        .collect();
    offlines.sort();
    expected.sort();
    assert_eq!(offlines, expected);
    assert_eq!(told.len(), 580, "300 came, 280 went");
    let reasons: BTreeSet<_> = entries(&server)
        .iter()
        .filter(|entry| entry.get("event") == "offline")
        .map(|entry| (entry.get("reason").to_owned(), entry.get("node").to_owned()))
        .collect();
    assert_eq!(
        reasons.into_iter().collect::<Vec<_>>(),
        [("node_lost".to_owned(), "dead".to_owned())]
    );
    for node in nodes {
        node.close().await;
    }
}

async fn reap(node: &Node, dead: &NodeId) -> usize {
    let mut count = 0;
    loop {
        match node.store.reap(dead, NOW).await.unwrap().len() {
            0 => return count,
            some => count += some,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_store_lost_and_has_again_is_online_again() {
    let server = RedisServer::start();
    let node = Node::start(&server, "a", WINDOW).await;
    let record = node.bind("alice", "d").await;
    node.store.indexed().await;
    // Its node is thought dead and told so.
    assert_eq!(node.store.reap(&node.name, NOW).await.unwrap().len(), 1);
    assert_eq!(events(&server, 2).await, [online(&record), offline(&record)]);
    let held = [(record.clone(), Arc::new(policy()))];
    node.store.renew(&held, NOW).await.unwrap();
    assert_eq!(events(&server, 3).await[2], online(&record));
    // Taken out and back within the window.
    node.store.indexed().await;
    assert_eq!(node.store.reap(&node.name, NOW).await.unwrap().len(), 1);
    node.store.renew(&held, NOW).await.unwrap();
    sleep(WINDOW * 3).await;
    assert_eq!(events(&server, 3).await.len(), 3);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_bounded_and_every_key_has_a_life() {
    let server = RedisServer::start();
    let settings = PresenceEvents {
        enabled: true,
        stream_length: 100,
        flap_window: WINDOW,
        ..PresenceEvents::default()
    };
    let node = Node::start_with(&server, "a", settings).await;
    for n in 0..2_000 {
        node.bind(&format!("user{n}"), "d").await;
    }
    let last = node.bind("last", "d").await;
    node.store.remove(&last, NOW).await.unwrap();
    for _ in 0..200 {
        if entries(&server)
            .last()
            .map(|entry| entry.get("user_id").to_owned())
            == Some("last".to_owned())
        {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    settled(&server).await;
    let told = entries(&server);
    assert!((100..=200).contains(&told.len()), "{}", told.len());
    assert_eq!(told.last().unwrap().get("event"), "offline");
    for part in ["", ":due", ":left"] {
        let ttl = server.cli(&["PTTL", &format!("mychat:{{gateway:events}}{part}")]);
        let ttl: i64 = ttl.trim().parse().unwrap();
        assert!((1..=120_000).contains(&ttl), "{part}: {ttl}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_while_redis_is_away_is_told_when_it_is_back() {
    let server = RedisServer::start();
    let node = Node::start(&server, "a", WINDOW).await;
    let record = node.bind("alice", "d").await;
    assert_eq!(events(&server, 1).await, [online(&record)]);
    let port = server.kill();
    assert!(node.store.remove(&record, NOW).await.is_err());
    sleep(WINDOW * 2).await;
    // Empty: she is not in it, and that she went is told all the same.
    let server = RedisServer::start_on(port);
    assert_eq!(events(&server, 1).await, [offline(&record)]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_notes_and_claims_before_it_dies_is_told_by_another() {
    let server = RedisServer::start();
    let a = Node::start(&server, "a", Duration::from_secs(300)).await;
    let record = a.bind("alice", "d").await;
    a.store.remove(&record, NOW).await.unwrap();
    a.close().await;
    assert_eq!(entries(&server).len(), 1, "it is noted, and not told");
    // Somebody has claimed it, and dies over it: it is due again a second later.
    let due = server.cli(&["ZSCORE", "mychat:{gateway:events}:due", "alice web d"]);
    let sooner = (due.trim().parse::<f64>().unwrap() - 299_000.0).to_string();
    server.cli(&["ZADD", "mychat:{gateway:events}:due", &sooner, "alice web d"]);
    let b = Node::start(&server, "b", WINDOW).await;
    assert_eq!(events(&server, 2).await, [online(&record), offline(&record)]);
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_while_it_writes_tells_nothing_twice() {
    let server = RedisServer::start();
    for n in 0..60 {
        let node = Node::start(&server, "a", WINDOW).await;
        node.bind(&format!("user{n}"), "d").await;
        // Sooner and later in the course of the write.
        sleep(Duration::from_micros(20 * n)).await;
        node.close().await;
        assert_eq!(entries(&server).len() as u64, n + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_while_redis_is_away_is_lost_and_counted() {
    let server = RedisServer::start();
    let settings = PresenceEvents {
        enabled: true,
        flap_window: Duration::ZERO,
        queue: 100,
        ..PresenceEvents::default()
    };
    let (node, lost) = Node::counting(&server, "a", settings).await;
    let mut records = Vec::new();
    for n in 0..500 {
        records.push(node.bind(&format!("user{n}"), "d").await);
    }
    while entries(&server).len() + lost() < 500 {
        sleep(Duration::from_millis(20)).await;
    }
    let before = lost();
    let port = server.kill();
    for record in &records {
        assert!(node.store.remove(record, NOW).await.is_err());
    }
    let dropped = lost() - before;
    // What waits, and the batch that is being written.
    assert!((500 - 100 - 64..=500 - 100).contains(&dropped), "{dropped}");
    let server = RedisServer::start_on(port);
    assert_eq!(events(&server, 500 - dropped).await.len(), 500 - dropped);
    node.close().await;
}

/// Counts what is counted under one name.
struct Recorder {
    name: &'static str,
    count: Arc<AtomicU64>,
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == self.name {
            Counter::from_arc(self.count.clone())
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Bind { device: u8, node: usize },
    Close(usize),
    Kick(u8),
    Death(usize),
    Renew(usize),
    Pause(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_u8, 0..2_usize).prop_map(|(device, node)| Step::Bind { device, node }),
        5 => (0..20_usize).prop_map(Step::Close),
        1 => (0..2_u8).prop_map(Step::Kick),
        1 => (0..2_usize).prop_map(Step::Death),
        1 => (0..20_usize).prop_map(Step::Renew),
        3 => (0..400_u64).prop_map(Step::Pause),
    ];
    prop::collection::vec(step, 1..20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_last_that_is_told_of_a_device_is_how_it_is() {
    let server = RedisServer::start();
    let stores = [
        Arc::new(Node::start(&server, "a", WINDOW).await),
        Arc::new(Node::start(&server, "b", WINDOW).await),
    ];
    let mut chance = proptest::test_runner::TestRunner::default();
    let mut playing = JoinSet::new();
    let mut scripts = BTreeMap::new();
    for case in 0..400 {
        let steps = steps().new_tree(&mut chance).unwrap().current();
        scripts.insert(format!("user{case}"), steps.clone());
        playing.spawn(play(stores.clone(), case, steps));
    }
    while let Some(done) = playing.join_next().await {
        done.unwrap();
    }
    // Past the window of whatever is still queued.
    sleep(WINDOW * 2).await;
    settled(&server).await;
    let mut last: BTreeMap<(String, String), Entry> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let all = entries(&server);
    for entry in &all {
        let known = last.get(&entry.device()).map_or(0, Entry::seq);
        if entry.seq() >= known {
            last.insert(entry.device(), entry.clone());
        }
        if entry.get("event") == "offline" {
            seen.insert((entry.device(), entry.seq()));
        }
    }
    let mut wrong = Vec::new();
    for (user, steps) in &scripts {
        let held = stores[0]
            .store
            .sessions(&UserId::parse(user).unwrap())
            .await
            .unwrap();
        for device in ["0", "1"] {
            let is = held.iter().any(|record| record.device_id.as_str() == device);
            let told = last
                .get(&(user.clone(), device.to_owned()))
                .is_some_and(|entry| entry.get("event") == "online");
            if is != told {
                let of_user = |entry: &&Entry| entry.get("user_id") == user;
                wrong.push((
                    user,
                    device,
                    is,
                    steps,
                    all.iter().filter(of_user).collect::<Vec<_>>(),
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong, as: {:#?}",
        wrong.len(),
        wrong.first()
    );
    assert!(seen.len() > 100, "offlines: {}", seen.len());
    println!("{} entries of {} users", all.len(), scripts.len());
}

async fn play(stores: [Arc<Node>; 2], case: usize, steps: Vec<Step>) {
    let user = format!("user{case}");
    let id = UserId::parse(&user).unwrap();
    // A name of a node for each user, so that a death concerns this one only.
    let names = ["a", "b"].map(|name| NodeId::parse(&format!("{name}{case}")).unwrap());
    let of = |record: &SessionRecord| usize::from(record.node == names[1]);
    let mut all: Vec<Arc<SessionRecord>> = Vec::new();
    // Those whose socket is open, as their nodes see it.
    let mut open: BTreeSet<u64> = BTreeSet::new();
    for step in steps {
        match step {
            Step::Bind { device, node } => {
                let record = stores[node]
                    .bind_as(&user, &device.to_string(), &names[node])
                    .await;
                open.insert(record.epoch);
                all.push(record);
            }
            Step::Close(place) => {
                if let Some(record) = all.get(place) {
                    open.remove(&record.epoch);
                    stores[of(record)].store.remove(record, NOW).await.unwrap();
                }
            }
            Step::Kick(device) => {
                let selector = Selector {
                    device: Some(DeviceId::parse(&device.to_string()).unwrap()),
                    platform: None,
                };
                let kicked = stores[case % 2]
                    .store
                    .kick(&id, &selector, KickKind::Kicked, NOW)
                    .await
                    .unwrap();
                for record in kicked {
                    open.remove(&record.epoch);
                    stores[of(&record)].store.remove(&record, NOW).await.unwrap();
                }
            }
            Step::Death(node) => {
                stores[node].store.indexed().await;
                let dead = &names[node];
                let one = &stores[1 - node];
                reap(one, dead).await;
            }
            Step::Renew(place) => {
                if let Some(record) = all.get(place)
                    && open.contains(&record.epoch)
                {
                    let held = [(record.clone(), Arc::new(policy()))];
                    stores[of(record)].store.renew(&held, NOW).await.unwrap();
                }
            }
            Step::Pause(millis) => sleep(Duration::from_millis(millis)).await,
        }
    }
    // The nodes close what they still believe to hold, or it stays: every other one.
    if case.is_multiple_of(2) {
        for record in &all {
            if open.remove(&record.epoch) {
                stores[of(record)].store.remove(record, NOW).await.unwrap();
            }
        }
    }
}
