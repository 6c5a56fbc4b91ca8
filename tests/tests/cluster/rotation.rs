//! Signing keys that change while two nodes run.

use std::time::{Duration, Instant};

use gateway_tests::ClusterStack;
use gateway_tests::cluster::{Node, until};
use gateway_tests::http::{Answer, bearer};
use gateway_tests::stack::{ADMIN_KEY, SECRET};
use serde_json::{Value, json};

const NEXT: &str = "the-next-secret-of-the-tests-of-more-than-32-bytes";

/// How soon the other node has to know without waiting for its next look.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Lays `auth` over the file of a node; `null` takes a key out.
fn rewrite(node: &Node, auth: Value) {
    let file = node.folder().join("gateway_config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    gateway_tests::stack::merge(&mut config, json!({"auth": auth}));
    // As a deployment does it: never half a file.
    let new = file.with_extension("new");
    std::fs::write(&new, config.to_string()).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn only_the_next() -> Value {
    json!({"jwt_secret": null, "keys": [{"kid": "next", "secret": NEXT}], "signing_kid": "next"})
}

async fn reload(node: &Node) -> Answer {
    node.client()
        .post(
            "/api/system/reload",
            &[("x-api-key", ADMIN_KEY)],
            &json!({"config_type": "auth"}),
        )
        .await
}

async fn tokens(node: &Node, user: &str) -> Value {
    let body = json!({"username": user, "password": "password", "device_id": "other", "platform": "android"});
    let answer = node.client().post("/api/auth/login", &[], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn verify(node: &Node, token: &str) -> Answer {
    node.client()
        .get("/api/auth/verify", &[("authorization", &bearer(token))])
        .await
}

fn told_nothing(stack: &ClusterStack) {
    for node in &stack.nodes {
        let log = node.process.log();
        assert!(
            !log.contains(SECRET) && !log.contains(NEXT),
            "a secret in the log"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_on_one_node_is_taken_by_the_other_at_once() {
    // Far longer than the test waits: what is known at once is known by the hint.
    let stack = ClusterStack::start_with(2, json!({"auth": {"key_check_seconds": 30}})).await;
    let [first, second] = [&stack.nodes[0], &stack.nodes[1]];
    let mut alice = second.login("alice", "phone", "ios").await;
    let old = tokens(second, "alice").await;
    let old_token = old["token"].as_str().unwrap().to_owned();
    assert_eq!(verify(second, &old_token).await.status, 200);

    // The new key is known everywhere, then it signs; nobody notices.
    for node in &stack.nodes {
        rewrite(
            node,
            json!({"keys": [{"kid": "next", "secret": NEXT}], "signing_kid": "next"}),
        );
    }
    let answer = reload(first).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.body["keys"],
        json!({"added": ["next"], "removed": [], "signs": "next"})
    );
    let paths: Vec<_> = answer.body["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["auth.keys", "auth.signing_kid"]);
    assert!(!answer.body.to_string().contains(NEXT), "{}", answer.body);
    assert!(second.process.says("keys have changed").await);
    let new = tokens(second, "bob").await;
    let new_token = new["token"].as_str().unwrap();
    for node in &stack.nodes {
        assert_eq!(verify(node, new_token).await.status, 200);
        assert_eq!(verify(node, &old_token).await.status, 200);
    }
    assert!(alice.is_alive().await);
    let mut bob = gateway_tests::WsClient::connect(
        second.websocket,
        &format!("/ws?token={new_token}&device_id=other&platform=android"),
        &[],
    )
    .await
    .unwrap();
    bob.notice("welcome").await;

    // The old key is taken out.
    for node in &stack.nodes {
        rewrite(node, only_the_next());
    }
    let since = Instant::now();
    let answer = reload(first).await;
    assert_eq!(
        answer.body["keys"],
        json!({"added": [], "removed": ["default"], "signs": null})
    );
    let notice = alice.notice("auth_failed").await;
    assert!(notice.to_string().contains("unknown key"), "{notice}");
    assert_eq!(alice.closed().await.0, 4401);
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    for node in &stack.nodes {
        let refused = verify(node, &old_token).await;
        assert_eq!(refused.status, 401);
        assert_eq!(
            refused.body["err_msg"],
            "access token is signed with an unknown key"
        );
    }
    assert!(bob.is_alive().await, "what the other key signed stands");

    // The login stands: its refresh token gives a pair that the new key has signed.
    let body = json!({"refresh_token": old["refresh_token"], "device_id": "other"});
    let pair = first.client().post("/api/auth/refresh", &[], &body).await;
    assert_eq!(pair.status, 200, "{}", pair.body);
    let token = pair.body["token"].as_str().unwrap();
    assert_eq!(verify(second, token).await.status, 200);
    told_nothing(&stack);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hint_a_node_looks_at_its_files_by_itself() {
    let stack = ClusterStack::start_with(2, json!({"auth": {"key_check_seconds": 1}})).await;
    let [first, second] = [&stack.nodes[0], &stack.nodes[1]];
    let mut alice = second.login("alice", "phone", "ios").await;
    let mut carol = first.login("carol", "phone", "ios").await;
    let token = tokens(second, "alice").await["token"]
        .as_str()
        .unwrap()
        .to_owned();

    // Only the files of the second change, and nobody says so.
    rewrite(second, only_the_next());
    alice.notice("auth_failed").await;
    assert_eq!(alice.closed().await.0, 4401);
    assert_eq!(verify(second, &token).await.status, 401);
    // Each node goes by its own files.
    assert_eq!(verify(first, &token).await.status, 200);
    assert!(carol.is_alive().await);

    // A file that does not hold changes nothing, is told once, and is taken when it holds.
    rewrite(second, json!({"jwt_secret": "short"}));
    until("the fault is told", async || {
        second.process.log().contains("auth.jwt_secret")
    })
    .await;
    until("it is looked at again", async || {
        let failed = "gateway_key_rotations_total{outcome=\"failed\"}";
        second.counter(failed).await >= 3.0
    })
    .await;
    assert_eq!(second.process.log().matches("the former ones stay").count(), 1);
    let next = tokens(second, "bob").await["token"].as_str().unwrap().to_owned();
    assert_eq!(verify(second, &next).await.status, 200);
    rewrite(second, json!({"jwt_secret": SECRET}));
    until("the first key is back", async || {
        verify(second, &token).await.status == 200
    })
    .await;
    assert_eq!(verify(second, &next).await.status, 200);
    told_nothing(&stack);
}
