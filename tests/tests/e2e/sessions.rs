//! Contract sections 2 to 5: what a session is told and keeps, from its first header to its tokens.

use base64::Engine as _;
use gateway_tests::raw::{RawSocket, frame};
use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use gateway_tests::token::{claims, token};
use gateway_tests::{Stack, WsClient, envelope, http::bearer};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn device_and_platform_may_come_in_headers() {
    let stack = Stack::start().await;
    let authorization = bearer(&token(&claims("alice", "d1", "web")));
    for (device, platform, close) in [
        ("d1", "web", None),
        ("d2", "web", Some(4401)),
        ("d1", "android", Some(4401)),
    ] {
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-device-id", device),
            ("x-platform", platform),
        ];
        let mut client = WsClient::connect(stack.websocket, "/ws", &headers).await.unwrap();
        match close {
            None => assert_eq!(client.notice("welcome").await["data"]["authenticated"], true),
            Some(code) => assert_eq!(client.closed().await.0, code, "{device} {platform}"),
        }
    }
    let headers = [("x-device-id", "pixel"), ("x-platform", "android")];
    let mut client = WsClient::connect(stack.websocket, "/ws", &headers).await.unwrap();
    let login = json!({"cmd_id": 1001, "seq": 1, "data": {"username": "bob", "password": "password"}});
    assert_eq!(client.request(&login).await["platform"], "android");
    let online = stack
        .http()
        .get("/api/connections/online", &[("x-api-key", ADMIN_KEY)])
        .await
        .body;
    assert!(online.to_string().contains("\"pixel\""), "{online}");
}

#[tokio::test]
async fn on_the_socket_data_has_the_form_of_the_requests() {
    let stack = Stack::start().await;
    let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
    socket.frame().await.unwrap();
    for (text, is_string) in [
        (r#"{"cmd_id":1,"seq":1,"data":"{}","unknown":[1]}"#, true),
        (r#"{"cmd_id":1,"seq":2,"data":{}}"#, false),
    ] {
        socket.send(&frame(0x81, text.as_bytes())).await;
        let reply: Value = serde_json::from_slice(&socket.frame().await.unwrap().payload).unwrap();
        assert_eq!(reply["data"].is_string(), is_string, "{reply}");
    }
}

#[tokio::test]
async fn unknown_commands_never_close_the_socket() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    for seq in 1_000..1_030 {
        let reply = client.request(&json!({"cmd_id": 9_999, "seq": seq})).await;
        assert_eq!((&reply["code"], &reply["cmd_id"]), (&json!(404), &json!(9_999)));
        let message = envelope::json_envelope(&envelope::header(9_999, seq), &json!({}));
        client.send_binary(&message).await;
        assert_eq!(client.envelope_reply(seq).await.header.cmd_id, 9_999);
    }
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn a_refresh_needs_no_login() {
    let stack = Stack::start().await;
    let pair = stack.tokens("alice", "d1", "web").await;
    let mut client = stack.connect().await;
    let refresh =
        json!({"cmd_id": 4, "seq": 1, "device_id": "d1", "data": {"refresh_token": pair["refresh_token"]}});
    let reply = client.request(&refresh).await;
    assert_eq!(reply["code"], 200, "{reply}");
    let history = client.command(2002, &json!({"chat_id": "bob"})).await;
    assert_eq!(history["code"], 401, "a refresh does not bind: {history}");
    let bound = client
        .command(1002, &json!({"token": reply["data"]["token"]}))
        .await;
    assert_eq!(bound["code"], 200, "{bound}");
}

#[tokio::test]
async fn a_pair_holds_what_the_contract_names() {
    let stack = Stack::start().await;
    let pair = stack.tokens("admin", "d1", "web").await;
    let part = pair["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let decode = |text: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let claims: Value = serde_json::from_slice(&decode(part)).unwrap();
    for (name, value) in [
        ("iss", "mychat-gateway"),
        ("sub", "admin"),
        ("username", "admin"),
        ("device_id", "d1"),
        ("platform", "web"),
        ("type", "access"),
    ] {
        assert_eq!(claims[name], value, "{name}: {claims}");
    }
    assert!(claims["aud"].to_string().contains("mychat-client"), "{claims}");
    assert!(claims["jti"].is_string() && claims["roles"].to_string().contains("admin"));
    let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lasts, pair["expires_in"].as_u64().unwrap());
    assert_eq!(decode(pair["refresh_token"].as_str().unwrap()).len(), 32);
}

#[tokio::test]
async fn an_earlier_expiry_is_not_taken() {
    let stack = Stack::builder()
        .config(json!({"auth": {"leeway_seconds": 0}}))
        .start()
        .await;
    let mut client = stack
        .open(&format!("token={}", token(&claims("alice", "d1", "web"))))
        .await;
    client.notice("welcome").await;
    let mut shorter = claims("alice", "d1", "web");
    shorter["exp"] = json!(shorter["iat"].as_u64().unwrap() + 2);
    shorter["jti"] = json!("shorter");
    let reply = client.command(1002, &json!({"token": token(&shorter)})).await;
    assert_eq!(reply["code"], 200, "{reply}");
    tokio::time::sleep(std::time::Duration::from_millis(4_500)).await;
    assert!(client.is_alive().await, "the later expiry counts");
}

#[tokio::test]
async fn a_kick_revokes_no_token() {
    let stack = Stack::start().await;
    let mut client = stack.login("alice", "d1", "web").await;
    let body = json!({"user_id": "alice"});
    let http = stack.http();
    http.post("/api/connections/kick", &[("x-api-key", ADMIN_KEY)], &body)
        .await;
    assert_eq!(client.closed().await.0, 4411);
    let mut back = stack.open(&format!("token={}", client.token)).await;
    assert_eq!(back.notice("welcome").await["data"]["authenticated"], true);
}

#[tokio::test]
async fn history_is_the_newest_page_oldest_first() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    for number in 0..30 {
        alice
            .command(2001, &json!({"to_user": "bob", "content": number.to_string()}))
            .await;
    }
    let mut bob = stack.login("bob", "d1", "web").await;
    for (client, chat_id) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let history = client
            .command(2002, &json!({"chat_id": chat_id, "limit": 10}))
            .await;
        let contents: Vec<u32> = history["data"]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["content"].as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(contents, (20..30).collect::<Vec<_>>(), "{chat_id}");
    }
}

#[tokio::test]
async fn every_http_error_has_the_same_shape_under_both_prefixes() {
    let stack = Stack::start().await;
    let http = stack.http();
    let mut ids = std::collections::HashSet::new();
    for prefix in ["/api", "/api/v1"] {
        for (method, path, code) in [
            (Method::GET, "/connections/stats", 401),
            (Method::GET, "/system/metrics", 401),
            (Method::POST, "/auth/logout", 401),
            (Method::POST, "/message", 401),
            (Method::POST, "/push", 401),
            (Method::POST, "/auth/refresh", 400),
            (Method::GET, "/no/such", 404),
            (Method::PUT, "/no/such", 404),
        ] {
            let path = format!("{prefix}{path}");
            let answer = http.send(method, &path, &[], "{}".into()).await.unwrap();
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (code, &json!(code)),
                "{path}: {}",
                answer.body
            );
            assert!(
                ids.insert(answer.body["request_id"].to_string()),
                "{path}: an id of its own"
            );
            assert!(
                answer.body["message"].is_string() && answer.body["err_msg"].is_string(),
                "{path}"
            );
        }
    }
    let wrong = http
        .post("/api/v1/push", &[("x-api-key", SERVICE_KEY)], &json!({}))
        .await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_new_login_is_told_with_its_device_and_platform() {
    let stack = Stack::start().await;
    let mut first = stack.login("alice", "one", "android").await;
    let mut second = stack.login("alice", "two", "android").await;
    let notice = first.notice("new_login").await;
    assert_eq!(
        (
            &notice["code"],
            &notice["data"]["device_id"],
            &notice["data"]["platform"]
        ),
        (&json!(200), &json!("two"), &json!("android")),
        "{notice}"
    );
    assert!(first.is_alive().await && second.is_alive().await);
}
