//! Where the stream of pushes goes on after a return.

use gateway_client::{Client, Event, Persistent};
use serde_json::json;

use crate::stub::{Stub, connected, push, returned};

async fn taken(client: &Persistent) -> String {
    let mut events = client.events();
    loop {
        if let Event::Push(push) = events.next().await.unwrap() {
            return push.push_id;
        }
    }
}

#[tokio::test]
async fn the_last_push_that_was_taken_is_told_on_the_return() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    for id in ["p1", "p2", "p3"] {
        peer.say(push(id)).await;
    }
    assert_eq!(
        (taken(&client).await.as_str(), taken(&client).await.as_str()),
        ("p1", "p2")
    );
    assert_eq!(client.events().last_push_id().as_deref(), Some("p2"));
    drop(peer);
    let (peer, data) = returned(&stub).await;
    assert_eq!(data, json!({ "token": "a1", "last_push_id": "p2" }));
    assert_eq!(taken(&client).await, "p3");
    drop(peer);
    let (_peer, data) = returned(&stub).await;
    assert_eq!(data["last_push_id"], "p3");
}

#[tokio::test]
async fn without_a_push_taken_there_is_nothing_to_tell() {
    let stub = Stub::start().await;
    let (client, peer) = connected(&stub).await;
    assert_eq!(client.events().last_push_id(), None);
    drop(peer);
    let (_peer, data) = returned(&stub).await;
    assert_eq!(data, json!({ "token": "a1" }));
}

#[tokio::test]
async fn with_a_token_at_the_handshake_it_goes_in_the_query() {
    let stub = Stub::start().await;
    let connecting = Client::builder(&stub.url())
        .token("abc")
        .last_push_id("p 1/2")
        .connect();
    let (client, mut peer) = tokio::join!(connecting, stub.accept(true));
    let client = client.unwrap();
    assert!(
        peer.head
            .starts_with("get /ws?last_push_id=p%201%2f2 http/1.1\r\n"),
        "{}",
        peer.head
    );
    // It was taken in an earlier life, and is acknowledged again without anybody taking it.
    peer.say(push("p 1/2")).await;
    assert_eq!(peer.acknowledgement().await, "p 1/2");
    assert_eq!(client.events().duplicates(), 1);
}
