//! A Redis that is well and closes connections: nobody is refused for it.

use std::time::Duration;

use gateway_tests::ClusterStack;
use gateway_tests::stack::ADMIN_KEY;
use serde_json::{Value, json};

async fn http_login(stack: &ClusterStack, device: &str) -> (u16, Value) {
    let body =
        json!({"username": "alice", "password": "password", "device_id": device, "platform": "android"});
    let answer = stack.nodes[0].client().post("/api/auth/login", &[], &body).await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_succeed_while_connections_to_redis_are_closed_again_and_again() {
    let stack = ClusterStack::start(1).await;
    let redis = stack.redis.as_ref().unwrap();
    let killing = redis.kill_connections(&["normal", "pubsub"], Duration::from_millis(5));
    for n in 0..200 {
        let (status, body) = http_login(&stack, &format!("d{n}")).await;
        assert_eq!(status, 200, "login {n}: {body}");
        let refresh = json!({"refresh_token": body["refresh_token"]});
        let refreshed = stack.nodes[0]
            .client()
            .post("/api/auth/refresh", &[], &refresh)
            .await;
        assert_eq!(refreshed.status, 200, "refresh {n}: {}", refreshed.body);
    }
    let mut last = None;
    for n in 0..40 {
        // Each replaces the one before, on the platform that has one device.
        let mut client = stack.nodes[0].login("bob", &format!("d{n}"), "web").await;
        let sent = client
            .command(2001, &json!({"to_user": "alice", "content": "hi"}))
            .await;
        assert_eq!(sent["code"], 200, "{sent}");
        if let Some(mut replaced) = last.replace(client) {
            assert_eq!(replaced.closed().await.0, 4410);
        }
    }
    let kicked = stack.nodes[0]
        .client()
        .post(
            "/api/connections/kick",
            &[("x-api-key", ADMIN_KEY)],
            &json!({"user_id": "bob"}),
        )
        .await;
    assert_eq!(kicked.body["kicked"], 1, "{}", kicked.body);
    assert_eq!(last.unwrap().closed().await.0, 4411);
    assert!(
        killing.closed() > 20,
        "{} connections were closed",
        killing.closed()
    );
    killing.stop();
    stack.nodes[0].ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_a_short_idle_limit_refuses_no_login() {
    let stack = ClusterStack::start(1).await;
    let redis = stack.redis.as_ref().unwrap();
    redis.cli(&["CONFIG", "SET", "timeout", "2"]);
    for n in 0..4 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (status, body) = http_login(&stack, &format!("d{n}")).await;
        assert_eq!(status, 200, "login {n}: {body}");
    }
    assert_eq!(stack.nodes[0].readyz().await, Some(200));
}
