//! Coming back by itself, and staying away when told to.

use std::time::{Duration, Instant};

use gateway_client::{ClientError, Event, ReconnectPolicy};
use serde_json::json;

use crate::stub::{Stub, connected, connected_with, notice, push, reply, tokens};

#[tokio::test]
async fn a_lost_connection_is_made_again_and_bound_by_the_token() {
    let stub = Stub::start().await;
    let (client, peer) = connected(&stub).await;
    drop(peer);
    let mut peer = stub.accept(false).await;
    let request = peer.answer(json!({ "valid": true })).await;
    assert_eq!(
        (&request["cmd_id"], &request["data"]["token"]),
        (&json!(1002), &json!("a1"))
    );
    peer.say(push("p1")).await;
    let mut events = client.events();
    let mut returned = false;
    loop {
        match events.next().await.unwrap() {
            Event::Returned => returned = true,
            Event::Push(push) => break assert_eq!(push.push_id, "p1"),
            _ => {}
        }
    }
    // The push may come a moment before the return is told.
    assert!(returned || matches!(events.next().await, Some(Event::Returned)));
    // First the acknowledgement, then the command.
    assert_eq!(peer.request().await["cmd_id"], 5006);
    let (answer, _) = tokio::join!(client.command(1, json!({})), peer.answer(json!({})));
    assert_eq!(answer.unwrap().code, 200);
}

#[tokio::test]
async fn an_expired_token_is_refreshed_on_the_way_back() {
    let stub = Stub::start().await;
    let (client, peer) = connected(&stub).await;
    drop(peer);
    let mut peer = stub.accept(false).await;
    let request = peer.request().await;
    peer.say(reply(&request, 401, &json!({}))).await;
    let request = peer.answer(tokens("a2", "r2")).await;
    assert_eq!(
        (&request["cmd_id"], &request["data"]["refresh_token"]),
        (&json!(4), &json!("r1"))
    );
    let request = peer.answer(json!({ "valid": true })).await;
    assert_eq!(
        (&request["cmd_id"], &request["data"]["token"]),
        (&json!(1002), &json!("a2"))
    );
    let tokens = client.client().await.unwrap().tokens().unwrap();
    assert_eq!(
        (tokens.access.as_str(), tokens.refresh.as_deref()),
        ("a2", Some("r2"))
    );
}

#[tokio::test]
async fn a_replaced_client_stays_away() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    peer.close(4410, "replaced").await;
    assert_eq!(client.closed().await.code, Some(4410));
    assert!(matches!(client.client().await, Err(ClientError::Closed(ended)) if ended.code == Some(4410)));
    let mut events = client.events();
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn attempts_have_an_end() {
    let stub = Stub::start().await;
    let (client, peer) = connected(&stub).await;
    drop((peer, stub));
    let ended = tokio::time::timeout(Duration::from_secs(5), client.closed())
        .await
        .unwrap();
    assert_eq!(ended.code, None);
}

#[tokio::test]
async fn a_gateway_that_drains_is_left_alone_for_as_long_as_it_asks() {
    let asked = Duration::from_millis(300);
    for (by_notice, reason) in [(false, "retry_after_ms=300"), (true, "")] {
        let stub = Stub::start().await;
        let (_client, mut peer) = connected(&stub).await;
        if by_notice {
            peer.say(notice(
                200,
                &json!({ "event": "draining", "retry_after_ms": 300 }),
            ))
            .await;
        }
        let closed = Instant::now();
        peer.close(1012, reason).await;
        let _peer = stub.accept(false).await;
        assert!(
            closed.elapsed() >= asked,
            "{by_notice} {reason} {:?}",
            closed.elapsed()
        );
    }
}

#[tokio::test]
async fn the_moment_that_a_draining_gateway_gives_is_kept_without_chance_on_top() {
    let hour = Duration::from_secs(3_600);
    let policy = ReconnectPolicy {
        base: hour,
        cap: hour,
        attempts: None,
    };
    let stub = Stub::start().await;
    let (_client, mut peer) = connected_with(&stub, policy).await;
    peer.close(1012, "retry_after_ms=20").await;
    // A random part of the hour would be over the stub's patience.
    let _peer = stub.accept(false).await;
}
