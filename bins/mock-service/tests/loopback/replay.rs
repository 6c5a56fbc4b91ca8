//! The same request id, the same reply, done once.

use std::time::Duration;

use mock_service::{Options, ServiceKind};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_repeated_request_is_answered_again_and_done_once() {
    let bench = Bench::start().await;
    let request = bench.json_request("alice", 2001, &json!({"to_user": "bob", "content": "once"}));
    let first = bench.call(ServiceKind::Message, request.clone()).await;
    let second = bench.call(ServiceKind::Message, request).await;
    assert_eq!(first, second);
    let history = bench.json("alice", 2002, json!({"chat_id": "bob"})).await;
    assert_eq!(history.data["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_repeated_while_the_first_runs_is_done_once() {
    let bench = Bench::start().await;
    let mut request = bench.json_request("", 1003, &json!({"account": "twin", "password": "x"}));
    // No session, so that neither waits for the other in a lane.
    request.session_id.clear();
    let calls = (0..8).map(|_| bench.call(ServiceKind::User, request.clone()));
    let replies = futures_util::future::join_all(calls).await;
    assert!(replies.iter().all(|reply| reply == &replies[0]));
    assert_eq!(replies[0].code, 200);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_done_and_its_repeat_gets_the_reply() {
    let bench = Bench::with(Options {
        latency: Duration::from_millis(100),
        ..Options::default()
    })
    .await;
    let request = bench.json_request("alice", 2001, &json!({"to_user": "bob", "content": "late"}));
    let given_up = tokio::time::timeout(
        Duration::from_millis(50),
        bench.call(ServiceKind::Message, request.clone()),
    )
    .await;
    assert!(given_up.is_err());
    assert_eq!(bench.call(ServiceKind::Message, request).await.code, 200);
    let history = bench.json("bob", 2002, json!({"chat_id": "alice"})).await;
    assert_eq!(history.data["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_overlong_request_id_is_refused() {
    let bench = Bench::start().await;
    let mut request = bench.json_request("alice", 2002, &json!({"chat_id": "bob"}));
    request.request_id = "x".repeat(129);
    assert_eq!(bench.call(ServiceKind::Message, request).await.code, 400);
}
