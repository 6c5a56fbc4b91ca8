//! Login, registration, profiles, search.

use mock_service::Options;
use serde_json::{Value, json};

use crate::bench::Bench;

#[tokio::test]
async fn known_and_made_accounts_log_in_by_username_or_account() {
    let bench = Bench::with(Options {
        accounts: 2,
        ..Options::default()
    })
    .await;
    for (field, name) in [("username", "alice"), ("account", "bob"), ("username", "user2")] {
        let reply = bench
            .json("", 1001, json!({ field: name, "password": "password" }))
            .await;
        assert_eq!(reply.code, 200, "{name}");
        let identity = reply.reply.identity.unwrap();
        assert_eq!(
            (identity.user_id.as_str(), identity.username.as_str()),
            (name, name)
        );
        assert!(identity.roles.is_empty());
        let shown: Value = serde_json::from_slice(&identity.user_info).unwrap();
        assert_eq!(shown["uid"], name);
        for key in [
            "account",
            "nickname",
            "avatar",
            "gender",
            "signature",
            "create_time",
            "last_login",
            "online",
        ] {
            assert!(!shown[key].is_null(), "{key}");
        }
    }
    let admin = bench
        .json("", 1001, json!({"username": "admin", "password": "password"}))
        .await;
    assert_eq!(admin.reply.identity.unwrap().roles, ["admin"]);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_get_the_same_answer() {
    let bench = Bench::start().await;
    let wrong = bench
        .json("", 1001, json!({"username": "alice", "password": "passwort"}))
        .await;
    let unknown = bench
        .json("", 1001, json!({"username": "mallory", "password": "password"}))
        .await;
    assert_eq!((wrong.code, unknown.code), (401, 401));
    assert_eq!(wrong.reply.message, unknown.reply.message);
    assert!(wrong.reply.identity.is_none() && unknown.reply.identity.is_none());
    let empty = bench.json("", 1001, json!({})).await;
    assert_eq!(empty.code, 400);
}

#[tokio::test]
async fn who_registers_gets_a_made_up_id_and_a_taken_name_is_409() {
    let bench = Bench::start().await;
    let data = json!({"account": "dave", "password": "secret", "nickname": "Dave"});
    let reply = bench.json("", 1003, data.clone()).await;
    assert_eq!(reply.code, 200);
    let uid = reply.reply.identity.unwrap().user_id;
    assert!(uid.starts_with('u') && uid != "dave");
    assert_eq!(bench.json("", 1003, data).await.code, 409);
    assert_eq!(
        bench
            .json("", 1003, json!({"account": "alice", "password": "x"}))
            .await
            .code,
        409
    );
    assert_eq!(
        bench
            .json("", 1003, json!({"account": "a b", "password": "x"}))
            .await
            .code,
        400
    );
    assert_eq!(bench.json("", 1003, json!({"account": "erin"})).await.code, 400);
    let login = bench
        .json("", 1001, json!({"username": "dave", "password": "secret"}))
        .await;
    assert_eq!(login.reply.identity.unwrap().user_id, uid);
    let sent = bench
        .json("alice", 2001, json!({"to_user": uid, "content": "hi"}))
        .await;
    assert_eq!(sent.code, 200);
}

#[tokio::test]
async fn a_profile_is_shown_changed_and_found() {
    let bench = Bench::start().await;
    let changed = bench
        .json("bob", 1005, json!({"nickname": "Bobby", "gender": 1}))
        .await;
    assert_eq!(
        (changed.code, changed.data["user"]["nickname"].as_str()),
        (200, Some("Bobby"))
    );
    let seen = bench.json("alice", 1004, json!({"uid": "bob"})).await;
    assert_eq!(
        (
            seen.data["user"]["nickname"].as_str(),
            seen.data["user"]["gender"].as_i64()
        ),
        (Some("Bobby"), Some(1))
    );
    let own = bench.json("bob", 1004, json!({})).await;
    assert_eq!(own.data["user"]["online"], true);
    assert_eq!(
        bench.json("alice", 1004, json!({"uid": "nobody"})).await.code,
        404
    );
    assert_eq!(bench.json("", 1004, json!({})).await.code, 401);
    assert_eq!(bench.json("bob", 1005, json!({"gender": 9})).await.code, 400);
    let found = bench.json("alice", 3006, json!({"keyword": "BOBB"})).await;
    assert_eq!(found.data["users"][0]["uid"], "bob");
}
