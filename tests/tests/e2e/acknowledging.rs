//! Contract sections 3 and 6: who acknowledges, what comes of it, and the offline box under load.

use std::time::Duration;

use gateway_tests::http::Http;
use gateway_tests::stack::SERVICE_KEY;
use gateway_tests::token::{claims, token};
use gateway_tests::{Stack, WsClient};
use serde_json::{Value, json};

async fn push(http: Http, body: Value) -> Value {
    let answer = http.post("/api/push", &[("x-api-key", SERVICE_KEY)], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn who_acknowledges_is_chosen_at_the_handshake_or_by_doing_it() {
    let stack = Stack::builder()
        .config(json!({"delivery": {"push_ack_timeout_ms": 8000}}))
        .start()
        .await;
    // Whether it acknowledges decides what a push that nobody answers has become after a second.
    for (device, query, protocol, outcome) in [
        ("d1", "", "mychat.v1", "queued"),
        ("d2", "", "mychat.v1.json", "queued"),
        ("d3", "ack=1", "chat", "queued"),
        ("d4", "", "chat", "written"),
        ("d5", "ack=0", "chat", "written"),
    ] {
        let offer = format!("{protocol}, bearer.{}", token(&claims("bob", device, "web")));
        let mut client = WsClient::connect(
            stack.websocket,
            &format!("/ws?{query}"),
            &[("sec-websocket-protocol", &offer)],
        )
        .await
        .unwrap();
        client.notice("welcome").await;
        let body = json!({"user_id": "bob", "device_id": device, "platform": "web", "content": device, "wait_ms": 1000});
        let report = push(stack.http(), body).await;
        let got = &report["outcomes"][0]["outcome"];
        assert_eq!(got, outcome, "{device} {protocol} {query}: {report}");
        assert_eq!(client.push_and_ack().await["data"]["content"], device);
        client.close().await;
    }
}

#[tokio::test]
async fn an_acknowledgement_gets_no_reply() {
    let stack = Stack::start().await;
    let mut bob = stack.login("bob", "d1", "web").await;
    bob.send(&json!({"cmd_id": 5006, "seq": 901, "data": {"push_id": "unknown"}}))
        .await;
    assert_eq!(bob.request(&json!({"cmd_id": 1, "seq": 902})).await["code"], 200);
    let more = tokio::time::timeout(Duration::from_millis(300), bob.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn the_same_id_while_the_first_waits_is_not_sent_twice() {
    let stack = Stack::start().await;
    let bob = token(&claims("bob", "d1", "web"));
    let mut bob = stack.open(&format!("ack=1&token={bob}")).await;
    bob.notice("welcome").await;
    let body = json!({"user_id": "bob", "push_id": "one", "content": "x", "wait_ms": 5000});
    let first = tokio::spawn(push(stack.http(), body.clone()));
    let got = bob.push().await;
    let second = tokio::spawn(push(stack.http(), body));
    assert!(bob.no_push_for(Duration::from_millis(400)).await, "sent twice");
    bob.send(&json!({"cmd_id": 5006, "data": {"push_id": got["data"]["push_id"]}}))
        .await;
    for report in [first.await.unwrap(), second.await.unwrap()] {
        assert_eq!(report["outcomes"][0]["outcome"], "acked", "{report}");
    }
}

#[tokio::test]
async fn an_offline_box_of_many_pages_comes_once_and_in_order() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    for number in 0..1_500 {
        let data = json!({"to_user": "bob", "content": number.to_string()});
        alice
            .send(&json!({"cmd_id": 2001, "seq": number + 10, "data": data}))
            .await;
        if number % 50 == 49 {
            assert_eq!(alice.reply(number + 10).await["data"]["status"], "offline");
        }
    }
    let mut bob = stack.login("bob", "d1", "web").await;
    for number in 0..1_500 {
        assert_eq!(bob.push_and_ack().await["data"]["content"], number.to_string());
    }
    assert!(bob.no_push_for(Duration::from_millis(500)).await, "nothing twice");
}

#[tokio::test]
async fn two_devices_that_log_in_at_once_lose_nothing_of_the_box() {
    let stack = Stack::builder().mock(&["--latency", "30ms"]).start().await;
    for number in 0..50 {
        push(
            stack.http(),
            json!({"user_id": "bob", "content": number.to_string()}),
        )
        .await;
    }
    let (mut web, mut phone) =
        tokio::join!(stack.login("bob", "w", "web"), stack.login("bob", "p", "android"));
    let mut seen = std::collections::BTreeSet::new();
    for client in [&mut web, &mut phone] {
        while !client.no_push_for(Duration::from_millis(500)).await {
            let content = client.push_and_ack().await["data"]["content"].clone();
            seen.insert(content.as_str().unwrap().parse::<u32>().unwrap());
        }
    }
    assert_eq!(seen, (0..50).collect());
}

#[tokio::test]
async fn a_group_message_waits_for_a_member_who_is_away() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let created = alice
        .command(4001, &json!({"name": "two", "members": ["bob"]}))
        .await;
    let sent = alice
        .command(
            4014,
            &json!({"group_id": created["data"]["group_id"], "content": "for later"}),
        )
        .await;
    assert_eq!(sent["code"], 200, "{sent}");
    let mut bob = stack.login("bob", "d1", "web").await;
    let mut got = bob.push_and_ack().await;
    while got["data"]["content"] != "for later" {
        got = bob.push_and_ack().await;
    }
    assert_eq!(got["data"]["conversation_type"], "group");
}
