//! Friendships.

use gateway_codec::proto::{
    gateway::{ConversationType, PushType},
    im::friend_::{AddFriendRequest, AddFriendResponse},
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::bench::Bench;

async fn list(bench: &Bench, user: &str) -> Vec<Value> {
    bench.json(user, 3003, json!({})).await.data["friends"]
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_request_is_told_answered_and_makes_friends_of_both() {
    let bench = Bench::start().await;
    let asked = bench
        .json("alice", 3101, json!({"to_uid": "bob", "message": "hello"}))
        .await;
    assert_eq!(
        (asked.code, asked.data["request"]["status"].as_i64()),
        (200, Some(0))
    );
    let (to, push) = asked.push();
    assert_eq!((to, push.content.as_str()), (&["bob".to_owned()][..], "hello"));
    assert_eq!(
        (push.r#type(), push.conversation_type()),
        (PushType::Notification, ConversationType::System)
    );
    assert_eq!(
        bench.json("alice", 3101, json!({"to_uid": "bob"})).await.code,
        409
    );

    let waiting = bench.json("bob", 3004, json!({})).await;
    let id = waiting.data["requests"][0]["request_id"].clone();
    assert_eq!(
        bench
            .json("carol", 3005, json!({"request_id": id, "accept": true}))
            .await
            .code,
        403
    );
    let accepted = bench
        .json("bob", 3005, json!({"request_id": id, "accept": true}))
        .await;
    assert_eq!(accepted.push().0, ["alice"]);
    assert_eq!(
        bench
            .json("bob", 3005, json!({"request_id": id, "accept": true}))
            .await
            .code,
        404
    );
    assert_eq!(list(&bench, "alice").await[0]["uid"], "bob");
    assert_eq!(list(&bench, "bob").await[0]["uid"], "alice");
    assert_eq!(
        bench.json("bob", 3004, json!({})).await.data,
        json!({"requests": []})
    );
    assert_eq!(
        bench.json("bob", 3101, json!({"to_uid": "alice"})).await.code,
        409
    );

    assert_eq!(bench.json("bob", 3002, json!({"uid": "alice"})).await.code, 200);
    assert!(list(&bench, "alice").await.is_empty() && list(&bench, "bob").await.is_empty());
    assert_eq!(bench.json("bob", 3002, json!({"uid": "alice"})).await.code, 404);
}

#[tokio::test]
async fn a_refusal_is_not_told_and_one_may_ask_again() {
    let bench = Bench::start().await;
    let asked = bench.json("alice", 3001, json!({"to_uid": "bob"})).await;
    let id = asked.data["request"]["friend_id"].clone();
    let refused = bench
        .json("bob", 3005, json!({"request_id": id, "accept": false}))
        .await;
    assert_eq!((refused.code, refused.reply.pushes.len()), (200, 0));
    assert!(list(&bench, "alice").await.is_empty());
    assert_eq!(
        bench.json("alice", 3001, json!({"to_uid": "bob"})).await.code,
        200
    );
}

#[tokio::test]
async fn two_who_ask_each_other_are_friends_at_once() {
    let bench = Bench::start().await;
    bench.json("alice", 3101, json!({"to_uid": "bob"})).await;
    let crossed = bench.json("bob", 3101, json!({"to_uid": "alice"})).await;
    assert_eq!(
        (crossed.code, crossed.data["request"]["status"].as_i64()),
        (200, Some(1))
    );
    assert_eq!(list(&bench, "alice").await.len(), 1);
    assert_eq!(
        bench.json("bob", 3004, json!({})).await.data,
        json!({"requests": []})
    );
}

#[tokio::test]
async fn who_cannot_be_asked_is_said() {
    let bench = Bench::start().await;
    for (uid, code) in [("alice", 400), ("", 400), ("nobody", 404)] {
        assert_eq!(
            bench.json("alice", 3101, json!({"to_uid": uid})).await.code,
            code,
            "{uid}"
        );
    }
    assert_eq!(bench.json("", 3003, json!({})).await.code, 401);
}

#[tokio::test]
async fn a_protobuf_request_is_taken_under_any_friend_command() {
    let bench = Bench::start().await;
    let request = AddFriendRequest {
        to_uid: "bob".into(),
        ..AddFriendRequest::default()
    };
    let reply = bench
        .protobuf("alice", 3777, "im.friend_.AddFriendRequest", request)
        .await;
    assert_eq!(
        (reply.code, reply.type_name.as_str()),
        (200, "im.friend_.AddFriendResponse")
    );
    let response = AddFriendResponse::decode(reply.body).unwrap();
    assert_eq!(response.request.unwrap().to_uid, "bob");
    assert_eq!(response.base.unwrap().error_code, 0);
}
