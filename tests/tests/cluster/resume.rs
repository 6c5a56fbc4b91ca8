//! A device that comes back to another node.

use std::time::Duration;

use gateway_tests::cluster::until;
use gateway_tests::stack::SERVICE_KEY;
use gateway_tests::{ClusterStack, WsClient};
use serde_json::{Value, json};

/// By token, not acknowledging, with what it had last.
async fn back(stack: &ClusterStack, node: usize, token: &str, last: &str) -> WsClient {
    let path = format!("/ws?token={token}&last_push_id={last}");
    let mut client = WsClient::connect(stack.nodes[node].websocket, &path, &[])
        .await
        .unwrap();
    client.notice("welcome").await;
    client
}

async fn token(stack: &ClusterStack, node: usize, device: &str) -> String {
    let body = json!({"username": "bob", "password": "password", "device_id": device, "platform": "android"});
    let answer = stack.nodes[node]
        .client()
        .post("/api/auth/login", &[], &body)
        .await;
    answer.body["token"].as_str().unwrap().to_owned()
}

/// By a node, each settled before the next; returns their outcomes.
async fn push(stack: &ClusterStack, node: usize, numbers: std::ops::Range<u32>) -> Vec<Value> {
    let mut outcomes = Vec::new();
    for n in numbers {
        let body = json!({"user_ids": ["bob"], "push_id": format!("p{n}"), "content": "x", "wait_ms": 5000});
        let answer = stack.nodes[node].push(&body).await;
        outcomes.push(answer["outcomes"][0]["outcome"].clone());
    }
    outcomes
}

async fn ids(client: &mut WsClient, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let push = client.push().await;
        ids.push(push["data"]["push_id"].as_str().unwrap().to_owned());
    }
    ids
}

fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("p{n}")).collect()
}

async fn gaps(stack: &ClusterStack) -> f64 {
    let mut gaps = 0.0;
    for node in 0..stack.nodes.len() {
        gaps += stack.counter(node, "gateway_resumes_total{result=\"gap\"}").await;
    }
    gaps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_moves_from_node_to_node_gets_what_it_missed_in_order_and_once() {
    let stack = ClusterStack::start(3).await;
    let bob = token(&stack, 0, "d").await;
    let mut on_first = back(&stack, 0, &bob, "").await;
    assert_eq!(push(&stack, 2, 0..6).await, vec![json!("written"); 6]);
    assert_eq!(ids(&mut on_first, 1).await, ["p0"]);

    // The old connection is still open: it is ended, and what it was sent comes again.
    let mut on_second = back(&stack, 1, &bob, "p0").await;
    assert_eq!(ids(&mut on_second, 5).await, expected(1..6));
    assert_eq!(on_first.closed().await.0, 4410);
    push(&stack, 0, 6..8).await;
    assert_eq!(ids(&mut on_second, 2).await, expected(6..8));
    assert!(on_second.no_push_for(Duration::from_millis(300)).await);
    drop(on_second);
    let gone = async || stack.nodes[1].admin("/api/connections/online").await["total"] == 0;
    until("the second connection is gone", gone).await;
    assert_eq!(push(&stack, 0, 8..10).await, vec![json!("offline"); 2]);

    // What it was sent on the second node, and what waits in the box.
    let mut on_third = back(&stack, 2, &bob, "p4").await;
    assert_eq!(ids(&mut on_third, 5).await, expected(5..10));
    assert!(on_third.no_push_for(Duration::from_millis(300)).await);
    assert_eq!(gaps(&stack).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_device_took_on_another_node_is_missed_too() {
    let stack = ClusterStack::start(3).await;
    let (phone, desk) = (token(&stack, 0, "phone").await, token(&stack, 0, "desk").await);
    let mut on_phone = back(&stack, 0, &phone, "").await;
    push(&stack, 2, 0..1).await;
    assert_eq!(ids(&mut on_phone, 1).await, ["p0"]);
    let mut at_desk = back(&stack, 1, &desk, "p0").await;
    drop(on_phone);
    let alone = async || {
        let online = stack.nodes[1].admin("/api/connections/online").await;
        online["users"][0]["sessions"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    };
    until("the phone is gone", alone).await;
    assert_eq!(push(&stack, 2, 1..4).await, vec![json!("written"); 3]);
    assert_eq!(ids(&mut at_desk, 3).await, expected(1..4));
    let mut on_phone = back(&stack, 2, &phone, "p0").await;
    assert_eq!(ids(&mut on_phone, 3).await, expected(1..4));
    assert!(on_phone.no_push_for(Duration::from_millis(300)).await);
    assert!(at_desk.no_push_for(Duration::from_millis(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_drained_node_goes_on_at_another_and_one_of_a_dead_node_is_told_of_the_gap() {
    let stack = ClusterStack::start_with(3, json!({"cluster": {"drain_rate": 1}})).await;
    let bob = token(&stack, 0, "d").await;
    let mut bound = back(&stack, 0, &bob, "").await;
    // Keep the node until after the return.
    let mut others = Vec::new();
    for n in 1..=8 {
        others.push(stack.nodes[0].login(&format!("user{n}"), "d", "web").await);
    }
    push(&stack, 2, 0..4).await;
    assert_eq!(ids(&mut bound, 2).await, ["p0", "p1"]);
    stack.nodes[0].process.signal("TERM").await;
    bound.notice("draining").await;
    drop(bound);
    let mut bound = back(&stack, 1, &bob, "p1").await;
    assert_eq!(ids(&mut bound, 2).await, ["p2", "p3"]);
    assert_eq!(gaps(&stack).await, 0.0);

    push(&stack, 2, 4..6).await;
    stack.nodes[1].process.signal("KILL").await;
    let mut bound = back(&stack, 2, &bob, "p3").await;
    assert_eq!(
        bound.notice("gap").await["data"],
        json!({"event": "gap", "count": 0})
    );
    let answer = stack.nodes[2]
        .client()
        .post(
            "/api/push",
            &[("x-api-key", SERVICE_KEY)],
            &json!({"user_ids": ["bob"], "push_id": "p6", "content": "x"}),
        )
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(ids(&mut bound, 1).await, ["p6"]);
}
