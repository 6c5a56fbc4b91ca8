//! Back ends that are slow, wrong, gone or come back, and who notices (nobody else).

use std::time::{Duration, Instant};

use gateway_tests::{Stack, stack};
use serde_json::json;

#[tokio::test]
async fn no_back_end_is_503_at_once() {
    let stack = Stack::builder().without_mock().start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut client = stack.connect().await;
    let start = Instant::now();
    let reply = client
        .request(&json!({"cmd_id": 1001, "seq": 1, "data": {"username": "alice", "password": "password"}}))
        .await;
    assert_eq!(reply["code"], 503, "{reply}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(client.is_alive().await);
    let address = stack.services[0].1.port().to_string();
    assert!(
        !reply.to_string().contains(&address),
        "the inside is not told: {reply}"
    );
}

#[tokio::test]
async fn a_back_end_that_hangs_is_504_after_its_routes_time_and_others_go_on() {
    let stack = Stack::builder()
        .routes(json!({"routes": {
            "1001": {"handler": "auth_login", "timeout_ms": 5000},
            "2000-2999": {"handler": "message", "timeout_ms": 700},
        }}))
        .start()
        .await;
    let mut client = stack.login("alice", "d1", "web").await;
    let set = client.command(2999, &json!({"hang_rate": 1.0})).await;
    assert_eq!(set["code"], 200, "{set}");
    let start = Instant::now();
    let slow = client.send_command(2002, &json!({"chat_id": "bob"})).await;
    let quick = client.command(3003, &json!({})).await;
    assert_ne!(
        quick["code"], 504,
        "another service's command does not wait: {quick}"
    );
    assert_eq!(client.reply(slow).await["code"], 504);
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(600)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    assert!(client.is_alive().await);
}

#[tokio::test]
async fn a_back_end_that_dies_and_returns_is_used_again() {
    let port = stack::free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let builder = Stack::builder()
        .config(json!({"services": {"friend": {"endpoints": [endpoint]}}}))
        .start()
        .await;
    let mut client = builder.login("alice", "d1", "web").await;
    assert_eq!(client.command(3003, &json!({})).await["code"], 503);
    let base = (port - 2).to_string();
    let args = ["--services", "friend", "--base-port", &base].map(str::to_owned);
    let mut friend = stack::Process::start("mock-service", &args, &[]);
    friend.line("friend service listening on ").await;
    let start = Instant::now();
    loop {
        let reply = client.command(3003, &json!({})).await;
        if reply["code"] != 503 {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "it came back and is not used"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn errors_of_a_back_end_reach_the_client_and_its_faults_do_not_leak() {
    let stack = Stack::builder().mock(&["--error-rate", "0"]).start().await;
    let mut client = stack.login("alice", "d1", "web").await;
    client.command(2999, &json!({"error_rate": 1.0})).await;
    let reply = client.command(2002, &json!({"chat_id": "bob"})).await;
    assert!([500, 503].contains(&reply["code"].as_u64().unwrap()), "{reply}");
    assert!(client.is_alive().await);
}
