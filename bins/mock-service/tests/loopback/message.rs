//! Sending and history.

use gateway_codec::proto::gateway::{ConversationType, PushType};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_message_is_pushed_to_its_receiver_and_says_offline_where_nobody_took_it() {
    let bench = Bench::start().await;
    let sent = bench
        .json("alice", 2001, json!({"to_user": "bob", "content": "hi"}))
        .await;
    assert_eq!((sent.code, sent.data["status"].as_str()), (200, Some("sent")));
    let (to, push) = sent.push();
    assert_eq!(to, ["bob"]);
    assert_eq!((push.content.as_str(), push.sender_uid.as_str()), ("hi", "alice"));
    assert_eq!(
        (push.r#type(), push.conversation_type()),
        (PushType::Message, ConversationType::Direct)
    );
    assert_eq!(push.conversation_id, "alice");
    assert_eq!(sent.data["message_id"], push.message_id);
    assert!(!push.push_id.is_empty());
    let offline: serde_json::Value = serde_json::from_slice(&sent.reply.body_if_offline).unwrap();
    assert_eq!(
        offline,
        json!({"message_id": push.message_id, "status": "offline"})
    );
}

#[tokio::test]
async fn a_message_to_oneself_is_kept_and_not_pushed() {
    let bench = Bench::start().await;
    let sent = bench
        .json("alice", 2001, json!({"to_user": "alice", "content": "note"}))
        .await;
    assert_eq!((sent.code, sent.reply.pushes.len()), (200, 0));
    assert!(sent.reply.body_if_offline.is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    let bench = Bench::start().await;
    let too_long = "x".repeat(65_537);
    for (user, data, code) in [
        ("", json!({"to_user": "bob", "content": "x"}), 401),
        ("alice", json!({"to_user": "nobody", "content": "x"}), 404),
        ("alice", json!({"content": "x"}), 400),
        ("alice", json!({"to_user": "bob", "content": ""}), 400),
        ("alice", json!({"to_user": "bob", "content": too_long}), 400),
        ("alice", json!({"to_user": "bob", "content": 3}), 400),
        ("alice", json!(["bob", "x"]), 400),
    ] {
        let reply = bench.json(user, 2001, data).await;
        assert_eq!(reply.code, code, "{}", reply.reply.message);
        assert!(reply.reply.body.is_empty() && reply.reply.pushes.is_empty());
    }
    let longest = bench
        .json(
            "alice",
            2001,
            json!({"to_user": "bob", "content": "x".repeat(65_536)}),
        )
        .await;
    assert_eq!(longest.code, 200);
    assert_eq!(bench.json("alice", 2003, json!({})).await.code, 404);
}

#[tokio::test]
async fn history_is_the_newest_page_oldest_first_and_the_same_for_both() {
    let bench = Bench::start().await;
    for number in 0..5 {
        let (from, to) = if number % 2 == 0 {
            ("alice", "bob")
        } else {
            ("bob", "alice")
        };
        bench
            .json(from, 2001, json!({"to_user": to, "content": number.to_string()}))
            .await;
    }
    for (user, peer) in [("alice", "bob"), ("bob", "alice")] {
        let page = bench.json(user, 2002, json!({"chat_id": peer, "limit": 3})).await;
        let contents: Vec<_> = page.data["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| &m["content"])
            .collect();
        assert_eq!(contents, ["2", "3", "4"]);
    }
    let other = bench.json("carol", 2002, json!({"chat_id": "bob"})).await;
    assert_eq!(other.data, json!({"messages": []}));
    assert_eq!(
        bench.json("alice", 2002, json!({"chat_id": "nobody"})).await.code,
        404
    );
    assert_eq!(bench.json("alice", 2002, json!({})).await.code, 400);
    let all = bench
        .json("alice", 2002, json!({"chat_id": "bob", "limit": 1_000_000}))
        .await;
    assert_eq!(all.data["messages"].as_array().unwrap().len(), 5);
}
