//! A push that comes again is not given again.

use std::time::Duration;

use gateway_client::{Client, Event, Events};

use crate::stub::{Stub, connected, push, returned};

const MOMENT: Duration = Duration::from_millis(50);

async fn taken(events: &mut Events) -> String {
    loop {
        if let Event::Push(push) = events.next().await.unwrap() {
            return push.push_id;
        }
    }
}

async fn counted(events: &Events, duplicates: u64) {
    let reached = async {
        while events.duplicates() < duplicates {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reached)
        .await
        .unwrap();
    assert_eq!(events.duplicates(), duplicates);
}

#[tokio::test]
async fn one_that_was_taken_is_acknowledged_again_and_not_given() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(Client::builder(&stub.url()).connect(), stub.accept(true));
    let client = client.unwrap();
    let mut events = client.events();
    peer.say(push("p1")).await;
    assert_eq!(taken(&mut events).await, "p1");
    assert_eq!(peer.acknowledgement().await, "p1");
    peer.say(push("p1")).await;
    assert_eq!(peer.acknowledgement().await, "p1");
    peer.say(push("p2")).await;
    assert_eq!(taken(&mut events).await, "p2");
    assert_eq!(events.duplicates(), 1);
}

#[tokio::test]
async fn one_that_waits_still_is_acknowledged_when_it_is_taken_over_the_connection_of_then() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let mut events = client.events();
    peer.say(push("p1")).await;
    peer.say(push("p1")).await;
    counted(&events, 1).await;
    assert!(peer.is_silent_for(MOMENT).await);
    drop(peer);
    let (mut peer, _) = returned(&stub).await;
    peer.say(push("p1")).await;
    peer.say(push("p2")).await;
    counted(&events, 2).await;
    assert!(peer.is_silent_for(MOMENT).await);
    assert_eq!(taken(&mut events).await, "p1");
    assert_eq!(peer.acknowledgement().await, "p1");
    assert_eq!(taken(&mut events).await, "p2");
    assert_eq!(peer.acknowledgement().await, "p2");
}

#[tokio::test]
async fn one_that_was_taken_before_the_return_is_acknowledged_on_the_new_connection() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let mut events = client.events();
    peer.say(push("p1")).await;
    assert_eq!(taken(&mut events).await, "p1");
    drop(peer);
    let (mut peer, _) = returned(&stub).await;
    peer.say(push("p1")).await;
    assert_eq!(peer.acknowledgement().await, "p1");
    peer.say(push("p2")).await;
    assert_eq!(taken(&mut events).await, "p2");
    assert_eq!(events.duplicates(), 1);
}

#[tokio::test]
async fn one_that_a_full_queue_refused_is_given_when_it_comes_again() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(
        Client::builder(&stub.url()).event_queue(1).connect(),
        stub.accept(true)
    );
    let client = client.unwrap();
    let mut events = client.events();
    // The welcome has the one place.
    peer.say(push("p1")).await;
    while client.events_refused() < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    events.next().await.unwrap();
    peer.say(push("p1")).await;
    assert_eq!(taken(&mut events).await, "p1");
    assert_eq!(events.duplicates(), 0);
}

#[tokio::test]
async fn without_an_id_nothing_is_a_duplicate() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(Client::builder(&stub.url()).connect(), stub.accept(true));
    let client = client.unwrap();
    let mut events = client.events();
    for _ in 0..2 {
        peer.say(push("")).await;
        assert_eq!(taken(&mut events).await, "");
    }
    assert_eq!(events.duplicates(), 0);
}
