//! Keys in files of their own, replaced under one node.

use std::path::Path;

use gateway_tests::Stack;
use gateway_tests::http::bearer;
use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use rcgen::KeyPair;
use serde_json::{Value, json};

/// Writes a key pair as a deployment may: one file after the other.
fn write_pair(folder: &Path) -> String {
    let pair = KeyPair::generate().unwrap();
    std::fs::write(folder.join("sign.key"), pair.serialize_pem()).unwrap();
    std::fs::write(folder.join("sign.pub"), pair.public_key_pem()).unwrap();
    pair.serialize_pem()
}

async fn reload(stack: &Stack, body: Value) -> gateway_tests::http::Answer {
    stack
        .http()
        .post("/api/system/reload", &[("x-api-key", ADMIN_KEY)], &body)
        .await
}

#[tokio::test]
async fn key_files_are_read_again_on_a_reload_and_half_a_pair_changes_nothing() {
    let files = tempfile::tempdir().unwrap();
    let secret = write_pair(files.path());
    std::fs::write(files.path().join("api"), SERVICE_KEY).unwrap();
    let stack = Stack::builder()
        .config(json!({"auth": {
            "jwt_secret": null,
            "signing_kid": "es",
            "keys": [{"kid": "es", "algorithm": "ES256", "private_key_file": files.path().join("sign.key"),
                "public_key_file": files.path().join("sign.pub")}],
            "service_keys": [format!("file:{}", files.path().join("api").display())],
            "key_check_seconds": 30,
        }}))
        .start()
        .await;
    let old = stack.tokens("alice", "phone", "ios").await;
    let mut alice = stack.login("alice", "tablet", "ios").await;
    let verify = async |pair: &Value| {
        let token = bearer(pair["token"].as_str().unwrap());
        let headers = [("authorization", token.as_str())];
        stack.http().get("/api/auth/verify", &headers).await.status
    };
    assert_eq!(verify(&old).await, 200);
    let unchanged = reload(&stack, json!({"config_type": "auth"})).await;
    assert_eq!(
        unchanged.body["keys"],
        json!({"added": [], "removed": [], "signs": null})
    );
    assert_eq!(unchanged.body["changes"], json!([]));

    // Half a pair.
    let public = std::fs::read(files.path().join("sign.pub")).unwrap();
    let next = write_pair(files.path());
    let new_public = std::fs::read(files.path().join("sign.pub")).unwrap();
    std::fs::write(files.path().join("sign.pub"), public).unwrap();
    let refused = reload(&stack, json!({"config_type": "auth"})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(verify(&old).await, 200);
    assert!(alice.is_alive().await);

    std::fs::write(files.path().join("sign.pub"), new_public).unwrap();
    std::fs::write(files.path().join("api"), "another service key of the tests").unwrap();
    let taken = reload(&stack, json!({"config_type": "auth"})).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert_eq!(
        taken.body["keys"],
        json!({"added": ["es"], "removed": ["es"], "signs": "es"})
    );
    alice.notice("auth_failed").await;
    assert_eq!(alice.closed().await.0, 4401);
    assert_eq!(verify(&old).await, 401);
    assert_eq!(verify(&stack.tokens("alice", "phone", "ios").await).await, 200);
    let push = json!({"user_id": "bob", "content": "x"});
    for (key, denied) in [(SERVICE_KEY, true), ("another service key of the tests", false)] {
        let answer = stack.http().post("/api/push", &[("x-api-key", key)], &push).await;
        assert_eq!(answer.status == 403, denied, "{}", answer.body);
    }
    let elsewhere = json!({"config_type": "auth", "config_path": "gateway_config.json"});
    assert_eq!(reload(&stack, elsewhere).await.status, 400);
    let log = stack.gateway.log();
    for told in [&taken.body.to_string(), &refused.body.to_string(), &log] {
        for key in [&secret, &next] {
            let line = key.lines().nth(1).unwrap();
            assert!(!told.contains(line), "a key is told");
        }
    }
}
