//! Pushes and notices: taken in order, acknowledged when taken, bounded.

use std::time::Duration;

use fastwebsockets::{Frame, Payload};
use gateway_client::{Client, Event};
use gateway_codec::encode_envelope;
use gateway_codec::proto::im::base::ImHeader;
use gateway_codec::proto::im::push::{PushMessageBody, PushRequest};
use prost::Message as _;
use serde_json::json;

use crate::stub::{Stub, notice, push};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_push_is_acknowledged_when_it_is_taken_and_not_before() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(Client::builder(&stub.url()).connect(), stub.accept(true));
    let client = client.unwrap();
    let mut events = client.events();
    assert!(matches!(events.next().await, Some(Event::Notice(welcome)) if welcome.event == "welcome"));
    peer.say(push("p1")).await;
    assert!(peer.is_silent_for(MOMENT).await);
    let Some(Event::Push(taken)) = events.next().await else {
        panic!("no push")
    };
    assert_eq!(
        (
            taken.push_id.as_str(),
            taken.sender_uid.as_str(),
            taken.content.as_str()
        ),
        ("p1", "alice", "content of p1")
    );
    let acknowledged = peer.request().await;
    assert_eq!(
        (&acknowledged["cmd_id"], &acknowledged["data"]),
        (&json!(5006), &json!({ "push_id": "p1" }))
    );
}

#[tokio::test]
async fn a_full_queue_refuses_the_newest_and_does_not_acknowledge_it() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(
        Client::builder(&stub.url()).event_queue(2).connect(),
        stub.accept(true)
    );
    let client = client.unwrap();
    // The welcome has one of the two places.
    for id in ["p1", "p2", "p3"] {
        peer.say(push(id)).await;
    }
    while client.events_refused() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut events = client.events();
    events.next().await.unwrap();
    assert!(matches!(events.next().await, Some(Event::Push(push)) if push.push_id == "p1"));
    assert_eq!(peer.request().await["data"]["push_id"], "p1");
    assert!(peer.is_silent_for(MOMENT).await);
}

#[tokio::test]
async fn events_end_with_the_connection_after_the_last_one() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(Client::builder(&stub.url()).connect(), stub.accept(true));
    let client = client.unwrap();
    peer.say(notice(
        200,
        &json!({ "event": "kicked", "reason": "newer login" }),
    ))
    .await;
    peer.close(4410, "").await;
    client.closed().await;
    let mut events = client.events();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Notice(notice) = event {
            seen.push(notice.event);
        }
    }
    assert_eq!(seen, ["welcome", "kicked"]);
}

#[tokio::test]
async fn a_protobuf_push_has_its_ext_opened() {
    let stub = Stub::start().await;
    let (client, mut peer) = tokio::join!(Client::builder(&stub.url()).connect(), stub.accept(true));
    let client = client.unwrap();
    let body = PushMessageBody {
        push_id: "p9".into(),
        content: "hi".into(),
        related_message_id: "m9".into(),
        ext: r#"{"sender_uid":"alice","conversation_type":"group","conversation_id":"g1"}"#.into(),
        ..PushMessageBody::default()
    };
    let request = PushRequest {
        body: Some(body),
        ..PushRequest::default()
    };
    let header = ImHeader {
        cmd_id: 5001,
        version: "1.0".into(),
        ..ImHeader::default()
    };
    let bytes = encode_envelope(&header, "im.push.PushRequest", &request.encode_to_vec());
    peer.socket
        .write_frame(Frame::binary(Payload::Owned(bytes.to_vec())))
        .await
        .unwrap();
    let mut events = client.events();
    events.next().await.unwrap();
    let Some(Event::Push(push)) = events.next().await else {
        panic!("no push")
    };
    assert_eq!(
        (push.message_id.as_str(), push.push_type.as_str()),
        ("m9", "message")
    );
    assert_eq!(
        (push.conversation_type.as_str(), push.conversation_id.as_str()),
        ("group", "g1")
    );
}
