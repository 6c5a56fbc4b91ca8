//! Going down without losing anything.

use std::time::{Duration, Instant};

use gateway_tests::ClusterStack;
use gateway_tests::ws::{Event, WsClient};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_warns_finishes_and_closes_at_the_configured_rate() {
    let mut stack = ClusterStack::start_with(2, json!({"cluster": {"drain_rate": 10}})).await;
    let mut clients = Vec::new();
    for n in 1..=20 {
        clients.push(stack.nodes[0].login(&format!("user{n}"), "d", "web").await);
    }
    let begun = Instant::now();
    stack.nodes[0].process.signal("TERM").await;
    let mut closed = Vec::new();
    for client in &mut clients {
        let notice = client.notice("draining").await;
        let wait = notice["data"]["retry_after_ms"].as_u64().unwrap();
        let (code, reason) = client.closed().await;
        assert_eq!((code, reason), (1012, format!("retry_after_ms={wait}")));
        closed.push(begun.elapsed());
    }
    let last = closed.iter().max().unwrap();
    assert!(
        *last >= Duration::from_millis(1_800),
        "20 at 10 a second took {last:?}"
    );
    assert_eq!(stack.nodes[0].process.ended().await, Some(0));
    let online = stack.nodes[1].admin("/api/connections/online").await;
    assert_eq!(online["total"], 0, "{online}");
    let mut back = stack.nodes[1].login("user1", "d", "web").await;
    assert!(back.is_alive().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_draining_a_node_is_not_ready_refuses_newcomers_and_answers_what_it_has_begun() {
    let stack = ClusterStack::start_with(1, json!({"cluster": {"drain_rate": 1}})).await;
    let mut slow = stack.nodes[0].login("user1", "d", "web").await;
    let _other = stack.nodes[0].login("user2", "d", "web").await;
    let _third = stack.nodes[0].login("user3", "d", "web").await;
    let seq = slow
        .send_command(2001, &json!({"to_user": "user2", "content": "under way"}))
        .await;
    stack.nodes[0].process.signal("TERM").await;
    assert_eq!(slow.reply(seq).await["code"], 200);
    gateway_tests::cluster::until("not ready", async || stack.nodes[0].readyz().await == Some(503)).await;
    let refused = WsClient::connect(stack.nodes[0].websocket, "/ws", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    loop {
        if let Event::Closed { code, .. } = slow.next().await {
            assert_eq!(code, 1012);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let mut stack = ClusterStack::start_with(1, json!({"cluster": {"drain_rate": 1}})).await;
    let mut clients = Vec::new();
    for n in 1..=20 {
        clients.push(stack.nodes[0].login(&format!("user{n}"), "d", "web").await);
    }
    stack.nodes[0].process.signal("TERM").await;
    clients[0].notice("draining").await;
    let begun = Instant::now();
    stack.nodes[0].process.signal("TERM").await;
    assert_eq!(stack.nodes[0].process.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3));
}
