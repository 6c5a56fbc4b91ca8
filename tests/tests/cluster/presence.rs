//! Online and offline events in a Redis stream, told by three nodes as one.

use std::time::Duration;

use gateway_redis::testing::{ClusterSet, RedisServer, SentinelSet};
use gateway_tests::cluster::{PATIENCE, until};
use gateway_tests::stack::ADMIN_KEY;
use gateway_tests::ws::WsClient;
use gateway_tests::{ClusterStack, cluster::Node};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const STREAM: &str = "mychat:{gateway:events}";

/// The entries of a user, as field and value.
fn told(server: &RedisServer, user: &str) -> Vec<Value> {
    let text = server.cli(&["-c", "--json", "XRANGE", STREAM, "-", "+"]);
    let all: Vec<(String, Vec<String>)> = serde_json::from_str(&text).unwrap_or_default();
    let entry = |fields: Vec<String>| -> Value {
        fields
            .chunks(2)
            .map(|pair| (pair[0].clone(), Value::from(pair[1].clone())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    all.into_iter()
        .map(|(_, fields)| entry(fields))
        .filter(|entry| entry["user_id"] == user)
        .collect()
}

/// What happened to a user, and on which node.
fn story(server: &RedisServer, user: &str) -> Vec<String> {
    told(server, user)
        .iter()
        .map(|entry| {
            let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word("event"), word("node"), word("reason"))
                .trim()
                .to_owned()
        })
        .collect()
}

async fn tells(server: &RedisServer, user: &str, expected: &[&str]) {
    let all = async {
        while story(server, user) != expected {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = timeout(PATIENCE, all).await.is_ok();
    assert!(in_time, "{user}: {expected:?}, told {:?}", story(server, user));
}

async fn come_back(node: &Node, token: &str) -> WsClient {
    let mut client = WsClient::connect(node.websocket, &format!("/ws?ack=1&token={token}"), &[])
        .await
        .unwrap();
    client.notice("welcome").await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_goes_flaps_is_kicked_or_dies_with_a_node_is_told_in_order_and_once() {
    let events = json!({"cluster": {"events": {"enabled": true, "flap_window_seconds": 3}}});
    let mut stack = ClusterStack::start_with(3, events).await;
    let redis = stack.redis.take().unwrap();
    let nodes = &stack.nodes;

    nodes[0].login("alice", "d", "web").await.close().await;
    tells(&redis, "alice", &["online n0", "offline n0 closed"]).await;
    let seq = |entry: &Value| -> u64 { entry["seq"].as_str().unwrap().parse().unwrap() };
    let _alice = nodes[1].login("alice", "d", "web").await;
    tells(&redis, "alice", &["online n0", "offline n0 closed", "online n1"]).await;
    let alice = told(&redis, "alice");
    assert_eq!(seq(&alice[0]), seq(&alice[1]), "one session: {alice:?}");
    assert!(seq(&alice[1]) < seq(&alice[2]), "{alice:?}");

    // Gone and back on another node, twice; the first time the end is known before the return.
    let bob = nodes[0].login("bob", "d", "web").await;
    let token = bob.token.clone();
    bob.close().await;
    until("bob is unbound", async || {
        redis.cli(&["EXISTS", "mychat:user:sessions:{bob}"]).trim() == "0"
    })
    .await;
    let bob = come_back(&nodes[1], &token).await;
    bob.close().await;
    let mut bob = come_back(&nodes[2], &token).await;

    // Two devices on a node that dies; one of them is elsewhere before anybody knows.
    let _carol = nodes[2].login("carol", "d", "web").await;
    let dave = nodes[2].login("user4", "d", "web").await;
    // A node that is killed takes along what it has not written yet: events, and its list of sessions for those who reap.
    tells(&redis, "carol", &["online n2"]).await;
    tells(&redis, "user4", &["online n2"]).await;
    until("both are listed", async || {
        let listed = redis.cli(&["SMEMBERS", "mychat:gateway:node:n2:sessions"]);
        ["carol ", "user4 "].iter().all(|user| listed.contains(user))
    })
    .await;
    assert!(bob.is_alive().await);
    bob.close().await;
    let _bob = come_back(&nodes[0], &token).await;
    nodes[2].process.signal("KILL").await;
    let _dave = come_back(&nodes[0], &dave.token).await;
    tells(&redis, "carol", &["online n2", "offline n2 node_lost"]).await;
    // Longer than the window and than a lease: nothing is told late, or again.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(story(&redis, "bob"), ["online n0"]);
    assert_eq!(story(&redis, "user4"), ["online n2"]);
    assert_eq!(story(&redis, "carol"), ["online n2", "offline n2 node_lost"]);
    assert!(nodes[0].counter("gateway_presence_flaps_total").await >= 1.0);

    let kicked = nodes[1]
        .client()
        .post(
            "/api/connections/kick",
            &[("x-api-key", ADMIN_KEY)],
            &json!({"user_id": "user4"}),
        )
        .await;
    assert_eq!(kicked.body["kicked"], 1, "{}", kicked.body);
    tells(&redis, "user4", &["online n2", "offline n0 kicked"]).await;

    // When all are gone, nothing of it stays.
    let keys = || redis.cli(&["KEYS", &format!("{STREAM}*")]);
    assert!(keys().contains(STREAM));
    drop(stack);
    until("no key is left", async || keys().trim().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_bounded_and_what_a_drained_node_closed_is_told_by_the_others() {
    let settings =
        json!({"cluster": {"events": {"enabled": true, "flap_window_seconds": 1, "stream_length": 100}}});
    let stack = ClusterStack::start_with(2, settings).await;
    let redis = stack.redis.as_ref().unwrap();
    let mut clients = Vec::new();
    for n in 6..=10 {
        clients.push(stack.nodes[0].login(&format!("user{n}"), "d", "web").await);
    }
    for round in 0..60 {
        for n in 1..=5 {
            // Another device each time: nothing flaps.
            let (user, device) = (format!("user{n}"), format!("d{round}"));
            stack.nodes[0].login(&user, &device, "web").await.close().await;
        }
    }
    let length = || -> u64 { redis.cli(&["XLEN", STREAM]).trim().parse().unwrap() };
    until("all are told", async || {
        stack.nodes[0]
            .counter("gateway_presence_events_total{event=\"online\"}")
            .await
            >= 305.0
    })
    .await;
    assert!((100..=200).contains(&length()), "{}", length());
    stack.nodes[0].process.signal("TERM").await;
    for n in 6..=10 {
        let user = format!("user{n}");
        until(&format!("{user} is offline"), async || {
            told(redis, &user)
                .iter()
                .any(|entry| entry["device_id"] == "d" && entry["event"] == "offline")
        })
        .await;
    }
    let left = stack.nodes[1]
        .counter("gateway_presence_events_total{event=\"offline\"}")
        .await;
    assert!(left >= 5.0, "{left}");
    assert_eq!(clients.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_on_a_redis_cluster() {
    let set = tokio::task::spawn_blocking(ClusterSet::start).await.unwrap();
    let section = json!({"cluster_nodes": set.addresses()});
    let events = json!({"cluster": {"events": {"enabled": true, "flap_window_seconds": 1}}});
    let stack = ClusterStack::start_on(2, section, events).await;
    for user in ["alice", "bob", "carol"] {
        stack.nodes[0].login(user, "d", "web").await.close().await;
        tells(&set.servers[0], user, &["online n0", "offline n0 closed"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_by_sentinel_before_and_after_a_failover() {
    let set = tokio::task::spawn_blocking(SentinelSet::start).await.unwrap();
    let section = json!({"sentinel_nodes": set.addresses()});
    let events = json!({"cluster": {"events": {"enabled": true, "flap_window_seconds": 1}}});
    let stack = ClusterStack::start_on(2, section, events).await;
    stack.nodes[0].login("alice", "d", "web").await.close().await;
    let told_of_alice = ["online n0", "offline n0 closed"];
    tells(master(&set), "alice", &told_of_alice).await;
    let set = stack.fail_over(set).await;
    stack.nodes[1].login("bob", "d", "web").await.close().await;
    tells(master(&set), "bob", &["online n1", "offline n1 closed"]).await;
    assert_eq!(story(master(&set), "alice"), told_of_alice);
}

fn master(set: &SentinelSet) -> &RedisServer {
    let port = set.master();
    set.servers.iter().find(|server| server.port() == port).unwrap()
}
