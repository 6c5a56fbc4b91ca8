//! Groups.

use gateway_codec::proto::gateway::{ConversationType, PushType};
use mock_service::Options;
use serde_json::{Value, json};

use crate::bench::Bench;

async fn create(bench: &Bench, members: &[&str]) -> Value {
    let made = bench
        .json("alice", 4001, json!({"name": "Rustaceans", "members": members}))
        .await;
    assert_eq!(made.code, 200, "{}", made.reply.message);
    made.data["group_id"].clone()
}

#[tokio::test]
async fn a_message_reaches_all_other_members_in_one_order() {
    let bench = Bench::with(Options {
        accounts: 50,
        ..Options::default()
    })
    .await;
    let names: Vec<String> = (1..=50).map(|number| format!("user{number}")).collect();
    let group = create(&bench, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let sent = bench
        .json("user7", 4014, json!({"group_id": group, "content": "hi all"}))
        .await;
    let (to, push) = sent.push();
    assert_eq!(to.len(), 50);
    assert!(to.contains(&"alice".to_owned()) && !to.contains(&"user7".to_owned()));
    assert_eq!(
        (push.r#type(), push.conversation_type()),
        (PushType::Message, ConversationType::Group)
    );
    assert_eq!(push.conversation_id, group.to_string());
    assert_eq!(sent.data["message"]["sender_nickname"], "user7");
}

#[tokio::test]
async fn only_members_send_and_read() {
    let bench = Bench::start().await;
    let group = create(&bench, &["bob"]).await;
    assert_eq!(
        bench
            .json("carol", 4014, json!({"group_id": group, "content": "x"}))
            .await
            .code,
        403
    );
    assert_eq!(
        bench.json("carol", 4010, json!({"group_id": group})).await.code,
        403
    );
    assert_eq!(
        bench.json("carol", 2002, json!({"chat_id": group})).await.code,
        403
    );
    bench
        .json(
            "bob",
            4014,
            json!({"group_id": group.to_string(), "content": "one"}),
        )
        .await;
    assert_eq!(
        bench.json("carol", 4007, json!({"group_id": group})).await.code,
        200
    );
    assert_eq!(
        bench.json("carol", 4007, json!({"group_id": group})).await.code,
        409
    );
    bench
        .json("carol", 4014, json!({"group_id": group, "content": "two"}))
        .await;
    let page = bench.json("alice", 4010, json!({"group_id": group})).await;
    let contents: Vec<_> = page.data["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["content"])
        .collect();
    assert_eq!(contents, ["one", "two"]);
    let chat = bench
        .json("alice", 2002, json!({"chat_id": group.to_string(), "limit": 1}))
        .await;
    assert_eq!(chat.data["messages"][0]["content"], "two");
    assert_eq!(
        bench
            .json("alice", 4014, json!({"group_id": group, "content": ""}))
            .await
            .code,
        400
    );
    assert_eq!(
        bench
            .json("alice", 4014, json!({"group_id": 7, "content": "x"}))
            .await
            .code,
        404
    );
}

#[tokio::test]
async fn an_owner_who_leaves_hands_over_and_the_last_one_ends_it() {
    let bench = Bench::start().await;
    let group = create(&bench, &["bob", "bob", "alice"]).await;
    let members = bench.json("alice", 4009, json!({"group_id": group})).await;
    assert_eq!(members.data["members"].as_array().unwrap().len(), 2);
    assert_eq!(members.data["members"][0]["role"], 2);
    assert_eq!(
        bench.json("alice", 4008, json!({"group_id": group})).await.code,
        200
    );
    assert_eq!(
        bench.json("alice", 4008, json!({"group_id": group})).await.code,
        403
    );
    let info = bench.json("alice", 4002, json!({"group_id": group})).await;
    assert_eq!(
        (
            info.data["group"]["owner_uid"].as_str(),
            info.data["joined"].as_bool()
        ),
        (Some("bob"), Some(false))
    );
    assert_eq!(
        bench.json("alice", 4003, json!({})).await.data,
        json!({"groups": []})
    );
    assert_eq!(
        bench.json("bob", 4003, json!({})).await.data["groups"][0]["group_record_id"],
        group
    );
    assert_eq!(
        bench.json("bob", 4008, json!({"group_id": group})).await.code,
        200
    );
    assert_eq!(
        bench.json("bob", 4002, json!({"group_id": group})).await.code,
        404
    );
}

#[tokio::test]
async fn groups_are_found_by_name_and_bad_ones_are_not_made() {
    let bench = Bench::start().await;
    let group = create(&bench, &[]).await;
    let found = bench.json("carol", 4013, json!({"keyword": "rust"})).await;
    assert_eq!(found.data["groups"][0]["group_record_id"], group);
    assert_eq!(bench.json("carol", 4001, json!({"name": " "})).await.code, 400);
    assert_eq!(
        bench
            .json("carol", 4001, json!({"name": "g", "members": ["nobody"]}))
            .await
            .code,
        404
    );
    assert_eq!(bench.json("", 4001, json!({"name": "g"})).await.code, 401);
}
