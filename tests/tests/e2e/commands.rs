//! Contract section 3: who may say what, in a table; the commands that are answered here.

use gateway_tests::Stack;
use serde_json::{Value, json};

/// A message, the code it gets, and whether the socket is still open after it.
type Line = (&'static str, Value, u64);

async fn run(client: &mut gateway_tests::WsClient, table: Vec<Line>) {
    for (index, (what, mut message, code)) in table.into_iter().enumerate() {
        let seq = 1_000 + u32::try_from(index).unwrap();
        message["seq"] = json!(seq);
        client.send(&message).await;
        let reply = client.reply(seq).await;
        assert_eq!(reply["code"], code, "{what}: {reply}");
        assert!(client.is_alive().await, "{what}: the socket stays open");
    }
}

#[tokio::test]
async fn an_unbound_session_may_use_public_commands_only() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    run(&mut client, vec![
        ("heartbeat", json!({"cmd_id": 1}), 200),
        ("the other heartbeat", json!({"cmd_id": 3001, "data": "{}"}), 200),
        ("send", json!({"cmd_id": 2001, "data": {"to_user": "bob", "content": "hi"}}), 401),
        ("history", json!({"cmd_id": 2002, "data": {"chat_id": "bob"}}), 401),
        ("friend", json!({"cmd_id": 3003}), 401),
        ("group", json!({"cmd_id": 4003}), 401),
        ("ack", json!({"cmd_id": 5006, "data": {"push_id": "x"}}), 401),
        ("unknown", json!({"cmd_id": 9_999}), 404),
        ("out of every range", json!({"cmd_id": 4_000_000_000u32}), 404),
        ("an identity of its own is ignored", json!({"cmd_id": 1, "user_id": "bob", "session_id": "x"}), 200),
        ("refresh of nothing", json!({"cmd_id": 4, "data": {"refresh_token": "nothing"}}), 401),
        ("refresh without data", json!({"cmd_id": 4}), 400),
        ("token check of garbage", json!({"cmd_id": 1002, "data": {"token": "garbage"}}), 401),
        ("token check without a token", json!({"cmd_id": 1002}), 400),
        ("a garbage token inside", json!({"cmd_id": 1, "token": "garbage"}), 401),
        ("wrong password", json!({"cmd_id": 1001, "data": {"username": "alice", "password": "wrong"}}), 401),
        ("nobody", json!({"cmd_id": 1001, "data": {"username": "nobody", "password": "password"}}), 401),
        ("unknown platform", json!({"cmd_id": 1001, "platform": "fridge", "data": {"username": "alice", "password": "password"}}), 400),
        ("admin platform without the role", json!({"cmd_id": 1001, "platform": "admin", "data": {"username": "alice", "password": "password"}}), 403),
    ])
    .await;
    let reply = client.login("alice", "d1", "web").await;
    assert_eq!(reply["code"], 200, "after all that a login still works: {reply}");
}

#[tokio::test]
async fn a_bound_session_speaks_for_itself_only() {
    let stack = Stack::start().await;
    let mut client = stack.login("alice", "d1", "web").await;
    let own = client.session_id.clone();
    let token = client.token.clone();
    let bob = stack.tokens("bob", "d1", "web").await["token"].clone();
    let other_device = stack.tokens("alice", "d9", "android").await["token"].clone();
    let send = |patch: Value| {
        let mut message = json!({"cmd_id": 2001, "data": {"to_user": "carol", "content": "hi"}});
        for (key, value) in patch.as_object().unwrap() {
            message[key] = value.clone();
        }
        message
    };
    run(
        &mut client,
        vec![
            ("as it is", send(json!({})), 200),
            (
                "own names",
                send(json!({"user_id": "alice", "session_id": own, "device_id": "d1"})),
                200,
            ),
            ("own token", send(json!({"token": token})), 200),
            ("spoofed user", send(json!({"user_id": "bob"})), 403),
            (
                "spoofed session",
                send(json!({"session_id": "0123456789abcdef0123456789abcdef"})),
                403,
            ),
            ("another device", send(json!({"device_id": "d2"})), 401),
            ("another user's token", send(json!({"token": bob})), 403),
            (
                "another device's token",
                send(json!({"token": other_device})),
                403,
            ),
            ("a garbage token", send(json!({"token": "garbage"})), 401),
            (
                "a second login",
                json!({"cmd_id": 1001, "data": {"username": "bob", "password": "password"}}),
                409,
            ),
            (
                "nobody to send to",
                json!({"cmd_id": 2001, "data": {"to_user": "nobody", "content": "hi"}}),
                404,
            ),
            (
                "no content",
                json!({"cmd_id": 2001, "data": {"to_user": "bob"}}),
                400,
            ),
            ("data that is no object", json!({"cmd_id": 2001, "data": 7}), 400),
            ("unknown", json!({"cmd_id": 9_999}), 404),
        ],
    )
    .await;
    let history = client
        .command(2002, &json!({"chat_id": "carol", "limit": 10}))
        .await;
    assert_eq!(
        history["data"]["messages"].as_array().unwrap().len(),
        3,
        "what was refused was not sent: {history}"
    );
}

#[tokio::test]
async fn a_message_with_a_token_binds_as_a_token_check_would() {
    let stack = Stack::start().await;
    let pair = stack.tokens("alice", "d1", "web").await;
    let mut client = stack.connect().await;
    let reply = client
        .request(&json!({"cmd_id": 2002, "seq": 5, "token": pair["token"], "data": {"chat_id": "bob"}}))
        .await;
    assert_eq!(reply["code"], 200, "{reply}");
    assert_eq!(reply["user_id"], "alice");
    assert_eq!(
        client.command(2002, &json!({"chat_id": "bob"})).await["code"],
        200,
        "bound from then on"
    );

    let mut other = stack.connect().await;
    let wrong = other
        .request(&json!({"cmd_id": 2002, "seq": 5, "token": pair["token"], "device_id": "d2", "data": {"chat_id": "bob"}}))
        .await;
    assert_eq!(wrong["code"], 401, "a token is its device's");
}

#[tokio::test]
async fn data_comes_back_in_the_form_it_was_sent_in() {
    let stack = Stack::start().await;
    let mut client = stack.login("alice", "d1", "web").await;
    for (data, is_string) in [
        (json!("{\"chat_id\":\"bob\"}"), true),
        (json!({"chat_id": "bob"}), false),
    ] {
        let message = json!({"cmd_id": 2002, "seq": 77, "data": data});
        client.send(&message).await;
        // The harness opens strings, so the raw text is asked for by HTTP, which follows the same codec.
        let _ = client.reply(77).await;
        let bearer = gateway_tests::http::bearer(&client.token);
        let answer = stack
            .http()
            .post("/api/message", &[("authorization", &bearer)], &message)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["data"].is_string(), is_string, "{}", answer.body);
    }
}

#[tokio::test]
async fn login_and_token_check_answer_as_the_contract_says() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    let reply = client.login("alice", "d1", "web").await;
    let data = &reply["data"];
    assert!(data["token"].as_str().unwrap().split('.').count() == 3);
    assert!(data["refresh_token"].as_str().unwrap().len() >= 43);
    assert!(data["expires_in"].as_u64().unwrap() > 0);
    assert_eq!(data["user_info"]["uid"], "alice");
    assert_eq!(
        (&reply["user_id"], &reply["platform"]),
        (&json!("alice"), &json!("web"))
    );
    assert!(reply["timestamp"].as_str().unwrap().ends_with('Z'));

    let checked = client.command(1002, &json!({"token": data["token"]})).await;
    assert_eq!(checked["data"]["valid"], true);
    assert_eq!(checked["data"]["user_info"]["user_id"], "alice");

    let mut second = stack.connect().await;
    let bound = second.command(1002, &json!({"token": data["token"]})).await;
    assert_eq!(bound["code"], 200, "{bound}");
    assert_eq!(
        second.command(2002, &json!({"chat_id": "bob"})).await["code"],
        200
    );
}

#[tokio::test]
async fn a_login_without_device_or_platform_gets_both() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    let reply = client
        .request(
            &json!({"cmd_id": 1001, "seq": 1, "data": "{\"username\":\"alice\",\"password\":\"password\"}"}),
        )
        .await;
    assert_eq!(reply["code"], 200, "{reply}");
    assert_eq!(reply["platform"], "web");
}

#[tokio::test]
async fn commands_wait_for_the_login_before_them_and_no_more_than_sixteen() {
    let stack = Stack::builder().mock(&["--latency", "300ms"]).start().await;
    let mut client = stack.connect().await;
    client
        .send(
            &json!({"cmd_id": 1001, "seq": 1, "device_id": "d1", "platform": "web",
            "data": {"username": "alice", "password": "password"}}),
        )
        .await;
    for seq in 2..=20 {
        client
            .send(&json!({"cmd_id": 2002, "seq": seq, "data": {"chat_id": "bob"}}))
            .await;
    }
    assert_eq!(client.reply(1).await["code"], 200);
    for seq in 2..=17 {
        assert_eq!(
            client.reply(seq).await["code"],
            200,
            "command {seq} waited for the login"
        );
    }
    for seq in 18..=20 {
        assert_eq!(
            client.reply(seq).await["code"],
            429,
            "command {seq} was one too many"
        );
    }
}

#[tokio::test]
async fn a_thousand_pipelined_messages_keep_their_order() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let mut bob = stack.login("bob", "d1", "web").await;
    for number in 0..1_000 {
        alice
            .send(&json!({"cmd_id": 2001, "seq": number + 10, "data": {"to_user": "bob", "content": number.to_string()}}))
            .await;
    }
    for number in 0..1_000 {
        assert_eq!(bob.push_and_ack().await["data"]["content"], number.to_string());
    }
    for number in 0..1_000 {
        assert_eq!(alice.reply(number + 10).await["code"], 200);
    }
    let history = alice
        .command(2002, &json!({"chat_id": "bob", "limit": 1000}))
        .await;
    let contents: Vec<u32> = history["data"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(contents, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn routes_are_configuration() {
    let stack = Stack::builder()
        .routes(json!({
            "default_routes": false,
            "routes": {
                "7": {"handler": "heartbeat", "sensitivity": "public"},
                "1001": {"handler": "auth_login", "timeout_ms": 5000},
                "2000-2100": {"handler": "message"},
                "2001": {"handler": "friend"},
            },
        }))
        .start()
        .await;
    let mut client = stack.connect().await;
    assert_eq!(client.command(7, &json!({})).await["code"], 200);
    assert_eq!(
        client.command(1, &json!({})).await["code"],
        404,
        "no default routes"
    );
    assert_eq!(client.login("alice", "d1", "web").await["code"], 200);
    assert_eq!(
        client.command(2002, &json!({"chat_id": "bob"})).await["code"],
        200,
        "by its range"
    );
    let exact = client
        .command(2001, &json!({"to_user": "bob", "content": "hi"}))
        .await;
    assert_ne!(
        exact["code"], 200,
        "the exact route, to a service that does not know it, comes first: {exact}"
    );
}

#[tokio::test]
async fn sensitive_commands_are_checked_and_keep_their_place() {
    let stack = Stack::builder()
        .routes(json!({"routes": {"2001": {"handler": "message_send", "sensitivity": "sensitive"}}}))
        .start()
        .await;
    let mut stranger = stack.connect().await;
    let refused = stranger
        .command(2001, &json!({"to_user": "bob", "content": "x"}))
        .await;
    assert_eq!(refused["code"], 401);
    let mut alice = stack.login("alice", "d1", "web").await;
    for number in 0..10 {
        let data = json!({"to_user": "bob", "content": number.to_string()});
        alice
            .send(&json!({"cmd_id": 2001, "seq": 100 + number, "data": data}))
            .await;
    }
    let history = alice.command(2002, &json!({"chat_id": "bob"})).await;
    let contents: Vec<_> = history["data"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["content"].clone())
        .collect();
    assert_eq!(
        contents,
        (0..10)
            .map(|number| json!(number.to_string()))
            .collect::<Vec<_>>()
    );
}
