//! Contract section 2, "Handshake": where a token may stand, what is chosen, what is refused before a WebSocket is.

use gateway_tests::token::{claims, token};
use gateway_tests::{Event, Stack, WsClient};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

fn good() -> String {
    token(&claims("alice", "d1", "web"))
}

#[tokio::test]
async fn a_token_binds_from_header_query_and_sub_protocol() {
    let stack = Stack::start().await;
    let good = good();
    let bearer = format!("Bearer {good}");
    let protocols = format!("mychat.v1, bearer.{good}");
    let ways: [(&str, Vec<(&str, &str)>); 3] = [
        ("/ws", vec![("authorization", &bearer)]),
        (&format!("/ws?token={good}"), vec![]),
        ("/", vec![("sec-websocket-protocol", &protocols)]),
    ];
    for (path, headers) in ways {
        let mut client = WsClient::connect(stack.websocket, path, &headers).await.unwrap();
        let welcome = client.notice("welcome").await;
        assert_eq!(welcome["data"]["authenticated"], true, "{path}");
        assert_eq!(welcome["code"], 200);
        let reply = client.command(2002, &json!({"chat_id": "bob"})).await;
        assert_eq!(reply["code"], 200, "{path}: {reply}");
        assert_eq!(reply["user_id"], "alice");
    }
}

#[tokio::test]
async fn a_bad_token_is_told_and_closed_wherever_it_stands() {
    let stack = Stack::start().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let with = |patch: Value| {
        let mut claims = claims("alice", "d1", "web");
        for (key, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
                value => claims[key] = value.clone(),
            }
        }
        token(&claims)
    };
    let other_key = encode(
        &Header::new(Algorithm::HS256),
        &claims("alice", "d1", "web"),
        &EncodingKey::from_secret(b"another secret of more than thirty-two bytes"),
    )
    .unwrap();
    let unsigned = {
        use base64::Engine as _;
        let part = |json: &Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        format!(
            "{}.{}.",
            part(&json!({"alg": "none", "typ": "JWT"})),
            part(&claims("alice", "d1", "web"))
        )
    };
    let bad = [
        ("garbage", "not-a-token".to_owned()),
        ("another key", other_key),
        ("alg none", unsigned),
        ("expired", with(json!({"exp": now - 100}))),
        ("not yet valid", with(json!({"nbf": now + 1000}))),
        ("another issuer", with(json!({"iss": "somebody"}))),
        ("another audience", with(json!({"aud": "somebody"}))),
        ("a refresh type", with(json!({"type": "refresh"}))),
        ("no subject", with(json!({"sub": null}))),
        ("no id", with(json!({"jti": null}))),
        ("no expiry", with(json!({"exp": null}))),
        ("no device", with(json!({"device_id": null}))),
        ("no platform", with(json!({"platform": null}))),
        ("no roles", with(json!({"roles": null}))),
    ];
    for (what, token) in &bad {
        let bearer = format!("Bearer {token}");
        let protocols = format!("mychat.v1.json, bearer.{token}");
        let ways: [(String, Vec<(&str, &str)>); 3] = [
            ("/ws".into(), vec![("authorization", &bearer)]),
            (format!("/ws?token={token}"), vec![]),
            ("/ws".into(), vec![("sec-websocket-protocol", &protocols)]),
        ];
        for (path, headers) in ways {
            let mut client = WsClient::connect(stack.websocket, &path, &headers).await.unwrap();
            let told = client.next().await.json();
            assert_eq!(
                (&told["cmd_id"], &told["code"]),
                (&json!(2), &json!(401)),
                "{what}: {told}"
            );
            assert_eq!(client.closed().await.0, 4401, "{what}");
        }
    }
}

#[tokio::test]
async fn the_device_of_the_query_must_be_the_tokens() {
    let stack = Stack::start().await;
    let good = good();
    let table = [
        (format!("token={good}&device_id=d1&platform=web"), None),
        (format!("token={good}&device_id=d2"), Some(4401)),
        (format!("token={good}&platform=android"), Some(4401)),
    ];
    for (query, close) in table {
        let mut client = stack.open(&query).await;
        match close {
            None => assert_eq!(client.notice("welcome").await["data"]["authenticated"], true),
            Some(code) => assert_eq!(client.closed().await.0, code, "{query}"),
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_url_decoded() {
    let stack = Stack::start().await;
    let escaped = good().replace('.', "%2E");
    let mut client = stack.open(&format!("token={escaped}")).await;
    assert_eq!(client.notice("welcome").await["data"]["authenticated"], true);
}

#[tokio::test]
async fn without_a_token_the_welcome_says_so_and_how_long_there_is() {
    let stack = Stack::start().await;
    let mut client = stack.open("").await;
    let Event::Json(welcome) = client.next().await else {
        panic!("the first frame is the welcome")
    };
    assert_eq!(welcome["cmd_id"], 2);
    assert_eq!(welcome["code"], 200);
    let data = &welcome["data"];
    assert_eq!(
        (&data["event"], &data["authenticated"], &data["timeout"]),
        (&json!("welcome"), &json!(false), &json!(30))
    );
    assert!(
        data["session_id"].as_str().unwrap().len() >= 22,
        "a session id that nobody can guess"
    );
}

#[tokio::test]
async fn session_ids_do_not_repeat() {
    let stack = Stack::start().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let mut client = stack.open("").await;
        let welcome = client.notice("welcome").await;
        assert!(seen.insert(welcome["data"]["session_id"].to_string()));
    }
}

#[tokio::test]
async fn sub_protocols_are_chosen_and_fix_the_encoding() {
    let stack = Stack::start().await;
    let good = good();
    for (offer, chosen, binary) in [
        ("mychat.v1", Some("mychat.v1"), false),
        ("mychat.v1.json", Some("mychat.v1.json"), false),
        ("mychat.v1.protobuf", Some("mychat.v1.protobuf"), true),
        ("chat, mychat.v1.protobuf", Some("mychat.v1.protobuf"), true),
        ("chat", None, false),
    ] {
        let offer = format!("{offer}, bearer.{good}");
        let (mut client, head) =
            WsClient::connect_with_head(stack.websocket, "/ws", &[("sec-websocket-protocol", &offer)])
                .await
                .unwrap();
        let answered = head
            .get("sec-websocket-protocol")
            .map(|value| value.to_str().unwrap());
        assert_eq!(answered, chosen, "{offer}");
        let first = client.next().await;
        assert_eq!(matches!(first, Event::Envelope(_)), binary, "{first:?}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_gets_its_http_status() {
    let stack = Stack::start().await;
    let refused = WsClient::connect(stack.websocket, "/elsewhere", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 404);
    let plain = gateway_tests::http::Http::new(stack.websocket)
        .get("/ws", &[])
        .await;
    assert_eq!(plain.status, 426);
    let bad = WsClient::connect(stack.websocket, "/ws?platform=No%20Such%20Thing", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn a_full_gateway_answers_503_and_when_to_come_back() {
    let stack = Stack::builder()
        .config(json!({"server": {"max_connections": 3}}))
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(stack.connect().await);
    }
    let refused = WsClient::connect(stack.websocket, "/ws", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    for client in held {
        client.close().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    stack.connect().await;
}

#[tokio::test]
async fn pages_of_this_host_and_of_listed_origins_connect_and_others_are_told_the_setting() {
    let listed = json!(["https://*.chat.example", "https://app.example:443", "null"]);
    let stack = Stack::builder()
        .config(json!({"cors": {"allowed_origins": listed}}))
        .start()
        .await;
    let own = format!("http://{}", stack.websocket);
    let own_behind_tls = format!("https://{}", stack.websocket);
    for origin in [
        own.as_str(),
        own_behind_tls.as_str(),
        "https://a.chat.example",
        "https://a.b.chat.example",
        "https://app.example",
        "null",
        "file://",
        "capacitor://localhost",
        "weapp://wechat-game-runtime",
    ] {
        let connected = WsClient::connect(stack.websocket, "/ws", &[("origin", origin)]).await;
        assert!(connected.is_ok(), "{origin}");
    }
    for origin in [
        "https://chat.example",
        "http://a.chat.example",
        "https://evilchat.example",
        "https://servicewechat.com",
        "https://a.chat.example/path",
        "http://127.0.0.1:1",
    ] {
        let refused = WsClient::connect(stack.websocket, "/ws", &[("origin", origin)])
            .await
            .err()
            .unwrap_or_else(|| panic!("{origin} was let in"));
        assert_eq!(refused.status, 403, "{origin}");
        assert!(refused.body.contains("cors.allowed_origins"), "{}", refused.body);
    }
    assert!(
        WsClient::connect(stack.websocket, "/ws", &[]).await.is_ok(),
        "who is no browser has no origin"
    );
}

#[tokio::test]
async fn without_a_list_only_pages_of_this_host_connect() {
    let stack = Stack::start().await;
    for origin in ["null", "https://servicewechat.com"] {
        let refused = WsClient::connect(stack.websocket, "/ws", &[("origin", origin)])
            .await
            .err()
            .unwrap();
        assert_eq!(refused.status, 403, "{origin}");
    }
    let own = format!("http://{}", stack.websocket);
    let connected = WsClient::connect(stack.websocket, "/ws", &[("origin", &own)]).await;
    assert!(connected.is_ok());
}
