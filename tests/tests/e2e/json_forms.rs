//! Messages as clients' serializers write them, and errors that say which request they answer.

use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use gateway_tests::{Event, Stack};
use serde_json::{Value, json};

#[tokio::test]
async fn null_is_absent_and_whole_numbers_may_have_a_fraction() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    client
        .send_text(
            r#"{"cmd_id":1001.0,"seq":7.0,"user_id":null,"session_id":null,"token":null,"traceparent":null,
            "device_id":null,"platform":null,"timestamp":null,
            "data":{"username":"alice","password":"password","account":null,"email":null}}"#,
        )
        .await;
    let login = client.reply(7).await;
    assert_eq!(login["code"], 200, "{login}");
    for (cmd_id, data) in [
        (
            2001,
            json!({"to_user": "bob", "content": "hi", "type": 0.0, "ext": null}),
        ),
        (2002, json!({"chat_id": "bob", "limit": 50.0, "before": null})),
        (
            1002,
            json!({"token": login["data"]["token"], "last_push_id": null}),
        ),
        (
            4,
            json!({"refresh_token": login["data"]["refresh_token"], "device_id": null}),
        ),
    ] {
        let reply = client.command(cmd_id, &data).await;
        assert_eq!(reply["code"], 200, "{cmd_id}: {reply}");
    }
}

#[tokio::test]
async fn http_bodies_are_read_as_leniently_and_errors_name_the_field() {
    let stack = Stack::start().await;
    let http = stack.http();
    let service = [("x-api-key", SERVICE_KEY)];
    let admin = [("x-api-key", ADMIN_KEY)];
    let pair = http
        .post(
            "/api/auth/login",
            &[],
            &json!({"username": "alice", "password": "password", "device_id": null, "platform": null}),
        )
        .await;
    assert_eq!(pair.status, 200, "{}", pair.body);
    let pair = pair.body;
    for (path, headers, body, status, told) in [
        (
            "/api/push",
            service,
            json!({"user_id": "bob", "content": "x", "wait_ms": 10.0, "push_id": null, "type": null, "user_ids": null}),
            200,
            "",
        ),
        (
            "/api/push",
            service,
            json!({"user_id": "bob", "content": 5}),
            400,
            "content has the wrong type",
        ),
        (
            "/api/push",
            service,
            json!({"user_ids": ["a", 5]}),
            400,
            "user_ids[1] has the wrong type",
        ),
        (
            "/api/connections/kick",
            admin,
            json!({"user_id": "nobody", "reason": null}),
            200,
            "",
        ),
        (
            "/api/connections/kick",
            admin,
            json!({"user_id": true}),
            400,
            "user_id has the wrong type",
        ),
        ("/api/connections/kick", admin, json!({}), 400, "user_id is empty"),
        (
            "/api/system/reload",
            admin,
            json!({"config_type": "router_config", "config_path": null}),
            200,
            "",
        ),
        (
            "/api/auth/refresh",
            admin,
            json!({"device_id": "x"}),
            400,
            "refresh_token is missing",
        ),
        (
            "/api/auth/refresh",
            admin,
            json!({"refresh_token": pair["refresh_token"], "device_id": null}),
            200,
            "",
        ),
    ] {
        let answer = http.post(path, &headers, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(
            answer.body.to_string().contains(told),
            "{path} {body}: {}",
            answer.body
        );
    }
    let twice = http
        .post_raw(
            "/api/push",
            &service,
            r#"{"user_id":"a","user_id":"b","content":"x"}"#,
        )
        .await;
    assert!(
        twice.status == 400 && twice.body.to_string().contains("user_id stands twice"),
        "{}",
        twice.body
    );
}

#[tokio::test]
async fn an_error_carries_command_and_number_whatever_else_is_wrong() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    for (text, told) in [
        (
            r#"{"cmd_id":3001,"seq":77,"platform":2}"#,
            "platform is not a string",
        ),
        (
            r#"{"device_id":["x"],"cmd_id":3001,"seq":77}"#,
            "device_id is not a string",
        ),
        (r#"{"cmd_id":3001,"seq":77,"data":"\ud800"}"#, "data"),
        (r#"{"cmd_id":3001,"seq":77,"data":{"a":}"#, "not valid JSON"),
        (r#"{"cmd_id":3001,"seq":77"#, "not valid JSON"),
    ] {
        client.send_text(text).await;
        let reply = client.reply(77).await;
        assert_eq!(
            (&reply["code"], &reply["cmd_id"]),
            (&json!(400), &json!(3001)),
            "{text}: {reply}"
        );
        assert!(
            reply["message"].as_str().unwrap().contains(told),
            "{text}: {reply}"
        );
    }
    // Milliseconds since 1970 are a number like any other; one that no client could repeat exactly is not.
    for (seq, code, repeated) in [
        (json!(1_767_868_200_123_u64), 200, json!(1_767_868_200_123_u64)),
        (
            json!(9_007_199_254_740_991_u64),
            200,
            json!(9_007_199_254_740_991_u64),
        ),
        (json!(9_007_199_254_740_992_u64), 400, json!(0)),
        (json!(-1), 400, json!(0)),
        (json!("7"), 400, json!(0)),
    ] {
        client.send(&json!({"cmd_id": 3001, "seq": seq})).await;
        let reply = loop {
            match client.next().await {
                Event::Json(value) if value["cmd_id"] == 3001 => break value,
                _ => {}
            }
        };
        assert_eq!(
            (&reply["code"], &reply["seq"]),
            (&json!(code), &repeated),
            "{seq}: {reply}"
        );
    }
}

#[tokio::test]
async fn a_command_that_only_the_server_sends_is_answered_under_no_command() {
    let stack = Stack::start().await;
    let mut unbound = stack.connect().await;
    let mut bound = stack.login("alice", "d", "web").await;
    for client in [&mut unbound, &mut bound] {
        for cmd_id in [2, 5001] {
            let reply = client.command(cmd_id, &json!({})).await;
            assert_eq!(
                (&reply["code"], &reply["cmd_id"]),
                (&json!(400), &json!(0)),
                "{reply}"
            );
        }
        assert!(client.is_alive().await);
    }
    let token = gateway_tests::http::bearer(&bound.token);
    let answer = stack
        .http()
        .post(
            "/api/message",
            &[("authorization", &token)],
            &json!({"cmd_id": 5001}),
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test]
async fn a_plain_ping_gets_a_plain_pong() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    client.send_text("ping").await;
    assert!(matches!(client.next().await, Event::Text(text) if text == "pong"));
    // Any other text is a message that cannot be read.
    client.send_text("Ping").await;
    assert_eq!(client.next().await.json()["code"], 400);
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn a_byte_order_mark_is_passed_over() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    client.send_text("\u{feff}{\"cmd_id\":3001,\"seq\":7}").await;
    let reply: Value = client.reply(7).await;
    assert_eq!(reply["code"], 200);
}
