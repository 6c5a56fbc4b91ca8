//! Handshake, credentials, the ways a connection does not come about.

use std::time::Duration;

use gateway_client::{Client, ClientError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stub::{Stub, notice};

#[tokio::test]
async fn a_login_tells_device_and_protocol_and_keeps_the_tokens() {
    let stub = Stub::start().await;
    let connecting = Client::builder(&stub.url())
        .login("bob", "password")
        .device("Pixel 用户", "android")
        .connect();
    let gateway = async {
        let mut peer = stub.accept(false).await;
        let pair = json!({ "token": "a", "refresh_token": "r", "expires_in": 60, "user_info": { "user_id": "u-bob" } });
        let request = peer.answer(pair).await;
        (peer, request)
    };
    let (client, (peer, request)) = tokio::join!(connecting, gateway);
    let client = client.unwrap();
    for header in [
        "sec-websocket-protocol: mychat.v1.json",
        "x-device-id: pixel 用户",
        "x-platform: android",
    ] {
        assert!(peer.head.contains(header), "{}", peer.head);
    }
    assert_eq!(request["cmd_id"], 1001);
    assert_eq!(
        request["data"],
        json!({ "username": "bob", "password": "password" })
    );
    assert_eq!((client.session_id(), client.user_id().as_str()), ("s1", "u-bob"));
    let tokens = client.tokens().unwrap();
    assert_eq!(
        (tokens.access.as_str(), tokens.refresh.as_deref()),
        ("a", Some("r"))
    );
}

#[tokio::test]
async fn a_token_goes_with_the_handshake() {
    let stub = Stub::start().await;
    let connecting = Client::builder(&stub.url()).token("abc").connect();
    let (client, peer) = tokio::join!(connecting, stub.accept(true));
    assert!(
        peer.head.contains("authorization: bearer abc\r\n"),
        "{}",
        peer.head
    );
    assert_eq!(client.unwrap().tokens().unwrap().access, "abc");
}

#[tokio::test]
async fn a_token_that_the_gateway_refuses_ends_in_4401() {
    let stub = Stub::start().await;
    let connecting = Client::builder(&stub.url()).token("bad").connect();
    let gateway = async {
        let mut peer = stub.accept(false).await;
        peer.say(notice(401, &json!({ "event": "auth_failed" }))).await;
        peer.close(4401, "token").await;
        peer
    };
    let (client, _peer) = tokio::join!(connecting, gateway);
    match client.unwrap_err() {
        ClientError::Closed(ended) => {
            assert_eq!(ended.code, Some(4401));
            assert!(!ended.may_reconnect());
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_refusal_tells_status_and_retry_after() {
    let stub = Stub::start().await;
    let connecting = Client::builder(&stub.url()).connect();
    let gateway = async {
        let (mut stream, _) = stub.accept_raw().await;
        stream
            .write_all(b"HTTP/1.1 503 Full\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nfull")
            .await
            .unwrap();
        stream
    };
    let (client, _stream) = tokio::join!(connecting, gateway);
    let error = client.unwrap_err();
    assert!(error.is_retryable());
    assert!(
        matches!(error, ClientError::Refused { status: 503, retry_after: Some(after) } if after.as_secs() == 7),
        "{error}"
    );
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_given_up() {
    let stub = Stub::start().await;
    let connecting = Client::builder(&stub.url())
        .connect_timeout(Duration::from_millis(50))
        .connect();
    let (client, _stream) = tokio::join!(connecting, stub.accept_raw());
    assert!(matches!(client.unwrap_err(), ClientError::Timeout));
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused_before_anything_is_sent() {
    for url in ["http://127.0.0.1:1/ws", "wss://127.0.0.1:1/ws", "nonsense", ""] {
        assert!(
            matches!(
                Client::builder(url).connect().await.unwrap_err(),
                ClientError::Url(_)
            ),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_logout_revokes_over_http_and_waits_for_the_close() {
    let stub = Stub::start().await;
    let builder = Client::builder(&stub.url()).http(&stub.http()).token("abc");
    let (client, mut peer) = tokio::join!(builder.connect(), stub.accept(true));
    let client = client.unwrap();
    let gateway = async {
        let (mut stream, head) = stub.accept_raw().await;
        assert!(head.starts_with("POST /api/auth/logout HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer abc"), "{head}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            .await
            .unwrap();
        peer.close(4412, "logged out").await;
        let _ = stream.read_u8().await;
    };
    let (ended, ()) = tokio::join!(client.logout(), gateway);
    assert_eq!(ended.unwrap().code, Some(4412));
}
