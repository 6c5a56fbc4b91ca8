//! Tokens over their whole life: rotation, reuse, logout, expiry under an open socket.

use std::time::Duration;

use gateway_tests::Stack;
use gateway_tests::http::bearer;
use gateway_tests::token::{claims, token};
use serde_json::{Value, json};

async fn refresh(stack: &Stack, refresh_token: &Value, device_id: &str) -> (u16, Value) {
    let body = json!({"refresh_token": refresh_token, "device_id": device_id});
    let answer = stack.http().post("/api/auth/refresh", &[], &body).await;
    (answer.status, answer.body)
}

async fn verify(stack: &Stack, access_token: &Value) -> u16 {
    let bearer = bearer(access_token.as_str().unwrap());
    stack
        .http()
        .get("/api/auth/verify", &[("authorization", &bearer)])
        .await
        .status
}

#[tokio::test]
async fn refresh_spends_the_token_and_a_lost_reply_is_forgiven_once_used() {
    let stack = Stack::start().await;
    let first = stack.tokens("alice", "d1", "web").await;
    let (status, second) = refresh(&stack, &first["refresh_token"], "d1").await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(verify(&stack, &second["token"]).await, 200);

    // The reply was lost: the same device asks again while the successor is unused.
    let (status, third) = refresh(&stack, &first["refresh_token"], "d1").await;
    assert_eq!(status, 200, "{third}");
    // That voided the successor: using it now is a reuse, which ends the family.
    let (status, _) = refresh(&stack, &second["refresh_token"], "d1").await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn reuse_after_the_successor_was_used_kills_the_family_and_its_sockets() {
    let stack = Stack::start().await;
    let first = stack.tokens("alice", "d1", "web").await;
    let (_, second) = refresh(&stack, &first["refresh_token"], "d1").await;
    let (status, third) = refresh(&stack, &second["refresh_token"], "d1").await;
    assert_eq!(status, 200);
    let mut socket = stack
        .open(&format!("token={}", third["token"].as_str().unwrap()))
        .await;
    socket.notice("welcome").await;
    let mut other_device = stack.login("alice", "phone", "android").await;

    let (status, error) = refresh(&stack, &first["refresh_token"], "d1").await;
    assert_eq!(status, 401, "{error}");
    assert_eq!(error["code"], 401);
    assert_eq!(socket.closed().await.0, 4412, "the device's socket");
    assert_eq!(
        refresh(&stack, &third["refresh_token"], "d1").await.0,
        401,
        "the newest one is dead too"
    );
    assert_eq!(verify(&stack, &third["token"]).await, 401, "and its access token");
    assert!(
        other_device.is_alive().await,
        "another device's family is another family"
    );
}

#[tokio::test]
async fn a_refresh_token_is_its_devices() {
    let stack = Stack::start().await;
    let pair = stack.tokens("alice", "d1", "web").await;
    assert_eq!(refresh(&stack, &pair["refresh_token"], "d2").await.0, 401);
    assert_eq!(refresh(&stack, &json!("unknown"), "d1").await.0, 401);
    let mut client = stack.login("bob", "d7", "web").await;
    let reply = client
        .command(4, &json!({"refresh_token": pair["refresh_token"]}))
        .await;
    assert_eq!(
        reply["code"], 401,
        "on a bound session the device is the session's: {reply}"
    );
}

#[tokio::test]
async fn command_4_gives_a_new_pair_and_keeps_the_session() {
    let stack = Stack::start().await;
    let mut client = stack.login("alice", "d1", "web").await;
    let refresh_token = client.refresh_token.clone();
    let reply = client.command(4, &json!({"refresh_token": refresh_token})).await;
    assert_eq!(reply["code"], 200, "{reply}");
    assert_ne!(reply["data"]["refresh_token"], json!(refresh_token));
    assert!(client.is_alive().await);
    assert_eq!(verify(&stack, &reply["data"]["token"]).await, 200);
}

#[tokio::test]
async fn logout_revokes_the_pair_and_closes_that_devices_sockets() {
    let stack = Stack::start().await;
    let mut web = stack.login("alice", "d1", "web").await;
    let mut phone = stack.login("alice", "phone", "android").await;
    let bearer = bearer(&web.token);
    let answer = stack
        .http()
        .post("/api/auth/logout", &[("authorization", &bearer)], &json!({}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(web.closed().await.0, 4412);
    assert!(phone.is_alive().await);
    assert_eq!(verify(&stack, &json!(web.token)).await, 401, "the access token");
    assert_eq!(
        refresh(&stack, &json!(web.refresh_token), "d1").await.0,
        401,
        "the refresh token"
    );
    let mut again = stack.open(&format!("token={}", web.token)).await;
    assert_eq!(again.closed().await.0, 4401);
}

#[tokio::test]
async fn revocations_survive_a_restart_of_the_embedded_store() {
    let stack = Stack::start().await;
    let pair = stack.tokens("alice", "d1", "web").await;
    let bearer = bearer(pair["token"].as_str().unwrap());
    stack
        .http()
        .post("/api/auth/logout", &[("authorization", &bearer)], &json!({}))
        .await;
    let config = stack
        .folder
        .path()
        .join("gateway_config.json")
        .to_string_lossy()
        .into_owned();
    stack.gateway.signal("TERM").await;
    let mut stack = stack;
    assert_eq!(stack.gateway.ended().await, Some(0));
    let args = ["serve".to_owned(), "--config".to_owned(), config];
    let mut restarted = gateway_tests::stack::Process::start("gateway-server", &args, &[]);
    let http = restarted.line("http listening on ").await.parse().unwrap();
    restarted.says("serving").await;
    let status = gateway_tests::http::Http::new(http)
        .get("/api/auth/verify", &[("authorization", &bearer)])
        .await;
    assert_eq!(status.status, 401, "{}", status.body);
}

#[tokio::test]
async fn a_token_that_ends_under_an_open_socket_is_announced_and_enforced() {
    let stack = Stack::builder()
        .config(json!({"auth": {"token_expiring_notice_seconds": 3, "leeway_seconds": 0}}))
        .start()
        .await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let until = |end: u64, device: &str| {
        let mut claims = claims("alice", device, "android");
        claims["exp"] = json!(end);
        claims["jti"] = json!(format!("{device}-{end}"));
        token(&claims)
    };
    let mut left = stack.open(&format!("token={}", until(now + 5, "d1"))).await;
    let mut renewed = stack.open(&format!("token={}", until(now + 5, "d2"))).await;
    let notice = left.notice("token_expiring").await;
    assert!(
        notice["data"]["expires_in"]
            .as_u64()
            .or(notice["data"]["expires_in_seconds"].as_u64())
            .unwrap()
            <= 3,
        "{notice}"
    );
    renewed.notice("token_expiring").await;
    let reply = renewed
        .command(1002, &json!({"token": until(now + 600, "d2")}))
        .await;
    assert_eq!(reply["code"], 200, "{reply}");
    assert_eq!(left.closed().await.0, 4401);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(renewed.is_alive().await, "a later token came in time");
}

#[tokio::test]
async fn an_expired_token_is_named_so() {
    let stack = Stack::start().await;
    let mut old = claims("alice", "d1", "web");
    old["exp"] = json!(1_000_000);
    let bearer = bearer(&token(&old));
    let answer = stack
        .http()
        .get("/api/auth/verify", &[("authorization", &bearer)])
        .await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.body["err_msg"].as_str().unwrap().contains("expired"),
        "{}",
        answer.body
    );
}
