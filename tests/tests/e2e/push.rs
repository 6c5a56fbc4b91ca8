//! Pushes: who gets them, in which order, and what becomes of those that nobody took.

use std::time::Duration;

use gateway_tests::Stack;
use gateway_tests::stack::SERVICE_KEY;
use serde_json::{Value, json};

async fn push(stack: &Stack, body: Value) -> Value {
    let answer = stack
        .http()
        .post("/api/push", &[("x-api-key", SERVICE_KEY)], &body)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn outcomes(report: &Value) -> Vec<&str> {
    let mut outcomes: Vec<_> = report["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["outcome"].as_str().unwrap())
        .collect();
    outcomes.sort_unstable();
    outcomes
}

#[tokio::test]
async fn a_message_reaches_the_other_at_once() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let mut bob = stack.login("bob", "d1", "web").await;
    let sent = alice
        .command(2001, &json!({"to_user": "bob", "content": "hi bob"}))
        .await;
    assert_eq!(sent["data"]["status"], "sent");
    let push = bob.push().await;
    let data = &push["data"];
    assert_eq!(
        (&data["content"], &data["sender_uid"]),
        (&json!("hi bob"), &json!("alice"))
    );
    assert_eq!(
        (&data["conversation_type"], &data["conversation_id"]),
        (&json!("direct"), &json!("alice"))
    );
    assert_eq!(data["message_id"], sent["data"]["message_id"]);
    assert_eq!((&push["code"], &push["seq"]), (&json!(200), &json!(0)));
    for name in ["session_id", "user_id", "to_uid"] {
        assert!(
            push[name].as_str().unwrap_or_default().is_empty(),
            "one encoding serves all receivers: {push}"
        );
    }
    assert!(
        alice.no_push_for(Duration::from_millis(300)).await,
        "the sender gets no push"
    );
}

#[tokio::test]
async fn offline_messages_come_once_and_in_order_at_the_next_login() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    for number in 0..20 {
        let sent = alice
            .command(2001, &json!({"to_user": "bob", "content": number.to_string()}))
            .await;
        assert_eq!(
            (&sent["code"], &sent["data"]["status"]),
            (&json!(200), &json!("offline")),
            "{sent}"
        );
    }
    let mut bob = stack.login("bob", "d1", "web").await;
    for number in 0..20 {
        assert_eq!(bob.push_and_ack().await["data"]["content"], number.to_string());
    }
    alice
        .command(2001, &json!({"to_user": "bob", "content": "live"}))
        .await;
    assert_eq!(bob.push_and_ack().await["data"]["content"], "live");
    assert!(bob.no_push_for(Duration::from_millis(500)).await, "nothing twice");
    bob.close().await;
    let mut again = stack.login("bob", "d1", "web").await;
    assert!(
        again.no_push_for(Duration::from_millis(700)).await,
        "what was taken does not come again"
    );
}

#[tokio::test]
async fn whoever_binds_in_whatever_way_gets_the_offline_box() {
    let stack = Stack::start().await;
    let pair = stack.tokens("bob", "d1", "web").await;
    let token = pair["token"].as_str().unwrap();
    for way in ["handshake", "token check", "token in a message"] {
        push(&stack, json!({"user_id": "bob", "content": way})).await;
        let mut bob = match way {
            "handshake" => stack.open(&format!("token={token}")).await,
            _ => stack.connect().await,
        };
        match way {
            "token check" => drop(bob.command(1002, &json!({"token": token})).await),
            "token in a message" => drop(bob.request(&json!({"cmd_id": 1, "seq": 9, "token": token})).await),
            _ => {}
        }
        let asked = std::time::Instant::now();
        assert_eq!(bob.push_and_ack().await["data"]["content"], way);
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{way}: {:?}",
            asked.elapsed()
        );
        bob.close().await;
    }
}

#[tokio::test]
async fn what_is_not_acknowledged_is_recorded_and_comes_again() {
    let stack = Stack::builder()
        .config(json!({"delivery": {"push_ack_timeout_ms": 1000}}))
        .start()
        .await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let pair = stack.tokens("bob", "d1", "web").await;
    let query = format!("token={}&ack=1", pair["token"].as_str().unwrap());
    let mut bob = stack.open(&query).await;
    bob.notice("welcome").await;
    alice
        .command(2001, &json!({"to_user": "bob", "content": "taken"}))
        .await;
    bob.push_and_ack().await;
    alice
        .command(2001, &json!({"to_user": "bob", "content": "ignored"}))
        .await;
    let ignored = bob.push().await;
    // Cut off before the acknowledgement.
    drop(bob);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut back = stack.open(&query).await;
    let again = back.push_and_ack().await;
    assert_eq!(again["data"]["push_id"], ignored["data"]["push_id"]);
    assert_eq!(again["data"]["content"], "ignored");
    assert!(back.no_push_for(Duration::from_millis(500)).await);
}

#[tokio::test]
async fn the_outcomes_are_told_device_by_device() {
    let stack = Stack::builder()
        .config(json!({"delivery": {"push_ack_timeout_ms": 1000}}))
        .start()
        .await;
    let nobody = push(&stack, json!({"user_id": "bob", "content": "x"})).await;
    assert_eq!(outcomes(&nobody), ["offline"]);
    let mut bob = stack.login("bob", "plain", "android").await;
    bob.push().await;
    let written = push(&stack, json!({"user_id": "bob", "content": "y", "wait_ms": 3000})).await;
    assert_eq!(outcomes(&written), ["written"]);
    bob.push_and_ack().await;
    let waiting = tokio::spawn({
        let http = stack.http();
        async move {
            let body = json!({"user_id": "bob", "content": "z", "wait_ms": 3000});
            http.post("/api/push", &[("x-api-key", SERVICE_KEY)], &body)
                .await
                .body
        }
    });
    assert_eq!(bob.push_and_ack().await["data"]["content"], "z");
    assert_eq!(
        outcomes(&waiting.await.unwrap()),
        ["acked"],
        "it has acknowledged once, so it counts from then on"
    );
    let quick = push(&stack, json!({"user_id": "bob", "content": "w"})).await;
    assert_eq!(outcomes(&quick), ["queued"]);
    let other = push(
        &stack,
        json!({"user_id": "bob", "device_id": "nope", "platform": "android", "content": "v"}),
    )
    .await;
    assert_eq!(outcomes(&other), ["offline"]);
}

#[tokio::test]
async fn a_push_reaches_all_three_devices_or_just_the_one_meant() {
    let stack = Stack::start().await;
    let mut devices = Vec::new();
    for name in ["one", "two", "three"] {
        devices.push(stack.login("bob", name, "android").await);
    }
    let report = push(
        &stack,
        json!({"user_id": "bob", "content": "all", "wait_ms": 3000}),
    )
    .await;
    assert_eq!(outcomes(&report), ["written"; 3]);
    for device in &mut devices {
        assert_eq!(device.push().await["data"]["content"], "all");
    }
    push(
        &stack,
        json!({"user_id": "bob", "device_id": "two", "platform": "android", "content": "one"}),
    )
    .await;
    assert_eq!(devices[1].push().await["data"]["content"], "one");
    assert!(devices[0].no_push_for(Duration::from_millis(300)).await);
    assert!(devices[2].no_push_for(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_push_is_idempotent_by_its_id() {
    let stack = Stack::start().await;
    let mut bob = stack.login("bob", "d1", "web").await;
    for _ in 0..5 {
        let report = push(
            &stack,
            json!({"user_id": "bob", "push_id": "once", "content": "x"}),
        )
        .await;
        assert_eq!(report["push_id"], "once");
    }
    assert_eq!(bob.push().await["data"]["push_id"], "once");
    assert!(bob.no_push_for(Duration::from_millis(400)).await);
}

#[tokio::test]
async fn a_group_message_reaches_fifty_members() {
    let stack = Stack::builder().mock(&["--accounts", "50"]).start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let members: Vec<String> = (1..=50).map(|number| format!("user{number}")).collect();
    let created = alice
        .command(4001, &json!({"name": "fifty", "members": members}))
        .await;
    assert_eq!(created["code"], 200, "{created}");
    let group_id = created["data"]["group"]["group_id"].clone();
    let mut clients = Vec::new();
    for member in &members {
        clients.push(stack.login(member, "d1", "web").await);
    }
    let record_id = created["data"]["group_id"].clone();
    let sent = alice
        .command(4014, &json!({"group_id": record_id, "content": "hello all"}))
        .await;
    assert_eq!(sent["code"], 200, "{sent}");
    for client in &mut clients {
        let mut push = client.push_and_ack().await;
        while push["data"]["content"] != "hello all" {
            push = client.push_and_ack().await;
        }
        assert_eq!(push["data"]["conversation_type"], "group");
        assert_eq!(push["data"]["conversation_id"], group_id);
    }
    assert!(alice.no_push_for(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_push_during_the_login_does_not_overtake_the_offline_box() {
    let stack = Stack::builder().mock(&["--latency", "100ms"]).start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    for number in 0..10 {
        alice
            .command(2001, &json!({"to_user": "bob", "content": number.to_string()}))
            .await;
    }
    let mut bob = stack.connect().await;
    bob.send(
        &json!({"cmd_id": 1001, "seq": 1, "device_id": "d1", "platform": "web",
        "data": {"username": "bob", "password": "password"}}),
    )
    .await;
    for number in 10..30 {
        alice
            .send(&json!({"cmd_id": 2001, "seq": 100 + number, "data": {"to_user": "bob", "content": number.to_string()}}))
            .await;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    for number in 0..30 {
        assert_eq!(bob.push_and_ack().await["data"]["content"], number.to_string());
    }
    assert!(bob.no_push_for(Duration::from_millis(600)).await);
}

#[tokio::test]
async fn wrong_pushes_are_refused_with_a_reason() {
    let stack = Stack::start().await;
    let key = [("x-api-key", SERVICE_KEY)];
    for (body, code) in [
        (json!({"content": "x"}), 400),
        (json!({"user_id": "a\nb", "content": "x"}), 400),
        (json!({"user_id": "bob", "type": "shout", "content": "x"}), 400),
        (
            json!({"user_id": "bob", "push_id": "x".repeat(129), "content": "x"}),
            400,
        ),
        (json!({"user_ids": vec!["bob"; 1001], "content": "x"}), 400),
    ] {
        let answer = stack.http().post("/api/push", &key, &body).await;
        assert_eq!(answer.status, code, "{}", answer.body);
        assert!(answer.body["err_msg"].is_string());
    }
}

#[tokio::test]
async fn a_sub_protocol_of_ours_means_that_pushes_are_acknowledged() {
    let stack = Stack::builder()
        .config(json!({"delivery": {"push_ack_timeout_ms": 1000}}))
        .start()
        .await;
    let token = stack.tokens("bob", "d1", "web").await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let offer = format!("mychat.v1.json, bearer.{token}");
    let headers = [("sec-websocket-protocol", offer.as_str())];
    let mut bob = gateway_tests::WsClient::connect(stack.websocket, "/ws", &headers)
        .await
        .unwrap();
    bob.notice("welcome").await;
    let waiting = push(&stack, json!({"user_id": "bob", "content": "x"})).await;
    assert_eq!(outcomes(&waiting), ["queued"], "written is not enough");
    let first = bob.push().await;
    // Never acknowledged: recorded after the time to do so, and there at the next login.
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    drop(bob);
    let mut back = stack.login("bob", "d1", "web").await;
    assert_eq!(
        back.push_and_ack().await["data"]["push_id"],
        first["data"]["push_id"]
    );
}
