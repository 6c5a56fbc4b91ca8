//! Contract section 2, "Life of a connection": time limits, and what a close leaves behind.

use std::time::{Duration, Instant};

use gateway_tests::Stack;
use gateway_tests::raw::{RawSocket, frame};
use gateway_tests::stack::ADMIN_KEY;
use serde_json::json;

#[tokio::test]
async fn who_does_not_log_in_is_told_408_and_closed_4408() {
    let stack = Stack::builder()
        .config(json!({"auth": {"session_timeout_seconds": 2}}))
        .start()
        .await;
    let start = Instant::now();
    let mut client = stack.connect().await;
    // Being busy is not being logged in.
    assert!(client.is_alive().await);
    let notice = client.notice("auth_timeout").await;
    assert_eq!(notice["code"], 408);
    assert_eq!(client.closed().await.0, 4408);
    assert!(start.elapsed() >= Duration::from_secs(2));
    let mut bound = stack.login("alice", "d1", "web").await;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(bound.is_alive().await, "who is logged in stays");
}

#[tokio::test]
async fn the_default_time_to_log_in_is_thirty_seconds() {
    let stack = Stack::start().await;
    let start = Instant::now();
    let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
    let code = tokio::time::timeout(Duration::from_secs(40), async {
        loop {
            if let Some(code) = socket.close_code().await {
                return code;
            }
        }
    })
    .await;
    assert_eq!(code, Ok(4408));
    assert!(
        (29..36).contains(&start.elapsed().as_secs()),
        "after {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_silent_session_is_closed_4409_and_pongs_do_not_keep_it() {
    let stack = Stack::builder()
        .config(json!({"limits": {"ping_interval_seconds": 1}}))
        .platforms(json!({"platforms": {
            "web": {"allow_multiple_devices": false, "session_timeout": 3},
            "android": {"allow_multiple_devices": true, "max_devices": 3, "session_timeout": 60},
        }}))
        .start()
        .await;
    let mut quiet = stack.login("alice", "w", "web").await;
    let mut other = stack.login("alice", "a", "android").await;
    let (closed, quiet_there) = tokio::join!(quiet.closed(), other.no_push_for(Duration::from_secs(5)));
    assert_eq!(closed.0, 4409);
    assert!(
        quiet_there && other.is_alive().await,
        "its platform has more time"
    );
}

#[tokio::test]
async fn a_peer_that_sends_not_even_a_pong_is_closed_and_unbound() {
    let stack = Stack::builder()
        .config(json!({"limits": {"ping_interval_seconds": 1}}))
        .start()
        .await;
    let pair = stack.tokens("alice", "d1", "android").await;
    let mut dead = RawSocket::connect(stack.websocket, "/ws").await;
    let login = json!({"cmd_id": 1002, "data": {"token": pair["token"]}}).to_string();
    dead.send(&frame(0x81, login.as_bytes())).await;
    let mut pinged = false;
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while let Some(frame) = dead.frame().await {
            pinged |= frame.opcode == 9;
            if frame.opcode == 8 {
                break;
            }
        }
    })
    .await;
    assert!(ended.is_ok() && pinged, "pinged, then given up");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stats = stack
        .http()
        .get("/api/connections/stats", &[("x-api-key", ADMIN_KEY)])
        .await
        .body;
    assert_eq!(stats["authenticated"], 0, "{stats}");
}

#[tokio::test]
async fn a_close_during_a_login_undoes_it() {
    let stack = Stack::builder().mock(&["--latency", "300ms"]).start().await;
    for _ in 0..5 {
        let mut client = stack.connect().await;
        client
            .send(
                &json!({"cmd_id": 1001, "seq": 1, "device_id": "d1", "platform": "web",
                "data": {"username": "alice", "password": "password"}}),
            )
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(client);
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    let stats = stack
        .http()
        .get("/api/connections/stats", &[("x-api-key", ADMIN_KEY)])
        .await
        .body;
    assert_eq!(
        (&stats["authenticated"], &stats["total"]),
        (&json!(0), &json!(0)),
        "{stats}"
    );
}

#[tokio::test]
async fn a_second_login_while_one_is_under_way_waits_and_is_then_refused() {
    let stack = Stack::builder().mock(&["--latency", "200ms"]).start().await;
    let mut client = stack.connect().await;
    for (seq, user) in [(1, "alice"), (2, "bob")] {
        client
            .send(
                &json!({"cmd_id": 1001, "seq": seq, "device_id": "d1", "platform": "web",
                "data": {"username": user, "password": "password"}}),
            )
            .await;
    }
    assert_eq!(client.reply(1).await["code"], 200);
    assert_eq!(client.reply(2).await["code"], 409);
    assert_eq!(
        client.command(2002, &json!({"chat_id": "bob"})).await["user_id"],
        "alice"
    );
}

#[tokio::test]
async fn a_close_with_unread_input_still_brings_its_code() {
    let stack = Stack::start().await;
    let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
    // A frame that breaks the rules, and a lot behind it that nobody will read.
    let mut bytes = frame(0xc1, b"rsv");
    bytes.extend(std::iter::repeat_n(frame(0x81, &[b'x'; 1_000]), 500).flatten());
    socket.send(&bytes).await;
    assert_eq!(socket.close_code().await, Some(1002));
}

#[tokio::test]
async fn stopping_closes_every_socket_and_keeps_what_was_not_taken() {
    let mut stack = Stack::start().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        clients.push(stack.login("alice", &format!("d{}", number % 3), "android").await);
    }
    let mut last = clients.pop().unwrap();
    stack.gateway.signal("TERM").await;
    assert_eq!(last.closed().await.0, 1012, "sent away, to come back");
    assert_eq!(stack.gateway.ended().await, Some(0), "{}", stack.gateway.log());
}
