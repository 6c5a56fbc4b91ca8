//! Nodes and Redis that die, hang and come back.

use std::time::{Duration, Instant};

use gateway_redis::testing::RedisServer;
use gateway_tests::ClusterStack;
use gateway_tests::cluster::until;
use gateway_tests::stack::free_port;
use gateway_tests::ws::WsClient;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_pushes_and_sessions_are_somebodys_again() {
    let stack = ClusterStack::start(3).await;
    let mut alice = stack.nodes[0].login("alice", "d", "web").await;
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    // Taken by his socket, never acknowledged: the node dies first.
    let sent = alice
        .command(2001, &json!({"to_user": "bob", "content": "held by n1"}))
        .await;
    assert_eq!(sent["data"]["status"], "sent");
    bob.push().await;
    stack.nodes[1].process.signal("KILL").await;
    until("the dead node's session is gone", async || {
        stack.nodes[0].admin("/api/connections/online").await["total"] == 1
    })
    .await;
    let mut bob = stack.nodes[2].login("bob", "d", "web").await;
    assert_eq!(bob.push_and_ack().await["data"]["content"], "held by n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_outlives_the_node_that_took_it_and_held_its_device_too() {
    let stack = ClusterStack::start(3).await;
    let mut alice = stack.nodes[1].login("alice", "d", "web").await;
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    let sent = alice
        .command(2001, &json!({"to_user": "bob", "content": "seen by a witness"}))
        .await;
    assert_eq!(sent["data"]["status"], "sent");
    bob.push().await;
    stack.nodes[1].process.signal("KILL").await;
    let mut bob = stack.nodes[2].login("bob", "d", "web").await;
    assert_eq!(bob.push_and_ack().await["data"]["content"], "seen by a witness");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_delays_no_login_and_no_push_to_others() {
    let stack = ClusterStack::start(3).await;
    let _carol = stack.nodes[2].login("carol", "d", "web").await;
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    stack.nodes[2].process.signal("STOP").await;
    // The first one waits for the deadline of a peer; whoever else is there does not wait with it.
    let to_hanging = json!({"user_ids": ["carol"], "content": "x"});
    let hanging = stack.nodes[0].push(&to_hanging);
    let others = async {
        let begun = Instant::now();
        for n in 0..20 {
            stack.nodes[0]
                .push(&json!({"user_ids": ["bob"], "content": n.to_string()}))
                .await;
            bob.push_and_ack().await;
        }
        stack.nodes[0].login("alice", "d", "web").await;
        begun.elapsed()
    };
    let (report, took) = tokio::join!(hanging, others);
    assert_eq!(report["outcomes"][0]["outcome"], "offline");
    assert!(took < Duration::from_millis(900), "{took:?}");
    stack.nodes[2].process.signal("CONT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stopped_for_longer_than_its_lease_gets_its_sessions_back_and_what_was_missed() {
    let stack = ClusterStack::start(2).await;
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    stack.nodes[1].process.signal("STOP").await;
    until("bob is off the list", async || {
        stack.nodes[0].admin("/api/connections/online").await["total"] == 0
    })
    .await;
    let report = stack.nodes[0]
        .push(&json!({"user_ids": ["bob"], "content": "meanwhile"}))
        .await;
    assert_eq!(report["outcomes"][0]["outcome"], "offline");
    stack.nodes[1].process.signal("CONT").await;
    assert_eq!(bob.push_and_ack().await["data"]["content"], "meanwhile");
    until("bob is on the list again", async || {
        stack.nodes[0].admin("/api/connections/online").await["total"] == 1
    })
    .await;
    stack.nodes[1].ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_sessions_live_on_and_are_written_again_to_an_empty_one() {
    let mut stack = ClusterStack::start(2).await;
    let mut alice = stack.nodes[0].login("alice", "d", "web").await;
    let mut bob = stack.nodes[0].login("bob", "d", "web").await;
    let mut carol = stack.nodes[1].login("carol", "d", "web").await;
    let token = bob.token.clone();
    let port = stack.redis.take().unwrap().kill();
    until("not ready", async || stack.nodes[0].readyz().await == Some(503)).await;
    let health = stack.nodes[0].client().get("/api/system/health", &[]).await;
    assert_eq!(
        (health.status, &health.body["components"]["redis"]),
        (503, &json!("unhealthy"))
    );
    // What the node knows goes on.
    let sent = alice
        .command(2001, &json!({"to_user": "bob", "content": "away"}))
        .await;
    assert_eq!(
        (&sent["code"], &sent["data"]["status"]),
        (&json!(200), &json!("sent"))
    );
    assert_eq!(bob.push_and_ack().await["data"]["content"], "away");
    let sent = alice
        .command(2001, &json!({"to_user": "carol", "content": "later"}))
        .await;
    assert_eq!(sent["data"]["status"], "offline");
    // New logins are told at once.
    let begun = Instant::now();
    let mut late = WsClient::connect(stack.nodes[0].websocket, "/ws", &[])
        .await
        .unwrap();
    late.notice("welcome").await;
    let reply = late.login("user1", "d", "web").await;
    assert_eq!(reply["code"], 503, "{reply}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    stack.redis = Some(RedisServer::start_on(port));
    for node in &stack.nodes {
        node.ready().await;
    }
    until("all three on the list again", async || {
        stack.nodes[1].admin("/api/connections/online").await["total"] == 3
    })
    .await;
    let health = stack.nodes[0].admin("/api/system/health").await;
    assert_eq!(health["components"]["redis"], "healthy", "{health}");
    assert_eq!(carol.push_and_ack().await["data"]["content"], "later");
    assert!(alice.is_alive().await && bob.is_alive().await && carol.is_alive().await);
    assert!(!token.is_empty());
    stack.nodes[1].login("user1", "d", "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_written_again_to_an_empty_redis() {
    let mut stack = ClusterStack::start(1).await;
    let alice = stack.nodes[0].login("alice", "d", "web").await;
    let authorization = format!("Bearer {}", alice.token);
    let headers = [("authorization", authorization.as_str())];
    let out = stack.nodes[0]
        .client()
        .post("/api/auth/logout", &headers, &json!({}))
        .await;
    assert_eq!(out.status, 200);
    let port = stack.redis.take().unwrap().kill();
    let redis = RedisServer::start_on(port);
    until("the revocation is back", async || {
        redis.cli(&["KEYS", "*revoked_access_token*"]).lines().count() >= 2
    })
    .await;
    stack.redis = Some(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_subscription_makes_a_node_unready_until_it_hears_again() {
    let stack = ClusterStack::start(1).await;
    let redis = stack.redis.as_ref().unwrap();
    redis.cli(&["ACL", "SETUSER", "default", "-subscribe"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let begun = Instant::now();
    until("not ready", async || stack.nodes[0].readyz().await == Some(503)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Only that: commands and logins go on.
    stack.nodes[0].login("alice", "d", "web").await;
    redis.cli(&["ACL", "SETUSER", "default", "+subscribe"]);
    stack.nodes[0].ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_of_the_same_name_ends_the_first() {
    let mut stack = ClusterStack::start(1).await;
    let second = stack.launch("n0", gateway_tests::stack::free_port()).await;
    second.ready().await;
    assert_eq!(stack.nodes[0].process.ended().await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_on_a_node_that_another_has_not_heard_of_gets_what_was_put_into_the_box_meanwhile() {
    // Leases are read every five seconds, and that a node has joined is not heard.
    let mut stack = ClusterStack::start_with(1, json!({"cluster": {"lease_seconds": 15}})).await;
    let redis = stack.redis.as_ref().unwrap();
    redis.cli(&["ACL", "SETUSER", "default", "-subscribe"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let unheard = stack.launch("n1", free_port()).await;
    stack.nodes.push(unheard);
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    until("the box was asked", async || {
        stack.counter(1, "gateway_catch_ups_total").await > 0.0
    })
    .await;
    let report = stack.nodes[0]
        .push(&json!({"user_ids": ["bob"], "content": "meanwhile"}))
        .await;
    assert_eq!(report["outcomes"][0]["outcome"], "offline");
    assert_eq!(bob.push_and_ack().await["data"]["content"], "meanwhile");
    assert_eq!(stack.counter(1, "gateway_peer_deliveries_total").await, 0.0);
}
