//! Who is where, over three nodes.

use gateway_tests::ClusterStack;
use gateway_tests::cluster::until;
use gateway_tests::http::bearer;
use gateway_tests::stack::ADMIN_KEY;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_on_another_node_replaces_the_older_one_of_its_device_and_no_other() {
    let stack = ClusterStack::start(2).await;
    let mut first = stack.nodes[0].login("alice", "pc-1", "web").await;
    let mut phone = stack.nodes[0].login("alice", "phone", "android").await;
    let _second = stack.nodes[1].login("alice", "pc-1", "web").await;
    assert_eq!(
        first.closed().await.0,
        4410,
        "the same device logged in elsewhere"
    );
    assert!(phone.is_alive().await);
    phone.close().await;
    until("the phone has gone", async || {
        let page = stack.nodes[0].admin("/api/connections/online").await;
        page["users"][0]["sessions"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    })
    .await;
    let page = stack.nodes[0].admin("/api/connections/online").await;
    let sessions = page["users"][0]["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 1, "{page}");
    assert_eq!(sessions[0]["node"], "n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn kick_logout_list_and_figures_cover_the_cluster() {
    let stack = ClusterStack::start(3).await;
    let mut on = Vec::new();
    for (index, node) in stack.nodes.iter().enumerate() {
        on.push(node.login(&format!("user{}", index + 1), "d", "web").await);
    }
    let mut alice = stack.nodes[2].login("alice", "d", "web").await;

    // The list is written a moment after the login.
    until("all on the list", async || {
        stack.nodes[0].admin("/api/connections/online").await["total"] == 4
    })
    .await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = stack.nodes[0]
            .admin(&format!("/api/connections/online?limit=2&cursor={cursor}"))
            .await;
        assert_eq!(page["total"], 4, "{page}");
        let users = page["users"].as_array().unwrap();
        seen.extend(
            users
                .iter()
                .map(|user| user["user_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["alice", "user1", "user2", "user3"]);

    until("figures of all nodes", async || {
        let stats = stack.nodes[1].admin("/api/connections/stats").await;
        stats["authenticated"] == 4 && stats["by_node"]["n2"] == 2 && stats["users"] == 4
    })
    .await;

    let kick = json!({"user_id": "user2"});
    let kicked = stack.nodes[0]
        .client()
        .post("/api/connections/kick", &[("x-api-key", ADMIN_KEY)], &kick)
        .await;
    assert_eq!(kicked.body["kicked"], 1);
    assert_eq!(on[1].closed().await.0, 4411);

    let authorization = bearer(&alice.token);
    let headers = [("authorization", authorization.as_str())];
    let out = stack.nodes[0]
        .client()
        .post("/api/auth/logout", &headers, &json!({}))
        .await;
    assert_eq!(out.status, 200, "{}", out.body);
    assert_eq!(alice.closed().await.0, 4412);
    let verified = stack.nodes[1].client().get("/api/auth/verify", &headers).await;
    assert_eq!(
        verified.status, 401,
        "revoked on every node at once: {}",
        verified.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refreshed_on_any_node_and_reuse_is_seen_on_all() {
    let stack = ClusterStack::start(2).await;
    let alice = stack.nodes[0].login("alice", "d", "web").await;
    let body = json!({"refresh_token": alice.refresh_token, "device_id": "d"});
    let first = stack.nodes[1]
        .client()
        .post("/api/auth/refresh", &[], &body)
        .await;
    assert_eq!(first.status, 200, "{}", first.body);
    let next = json!({"refresh_token": first.body["refresh_token"], "device_id": "d"});
    let second = stack.nodes[0]
        .client()
        .post("/api/auth/refresh", &[], &next)
        .await;
    assert_eq!(second.status, 200, "{}", second.body);
    let reused = stack.nodes[1]
        .client()
        .post("/api/auth/refresh", &[], &body)
        .await;
    assert_eq!(reused.status, 401);
    let authorization = format!("Bearer {}", second.body["token"].as_str().unwrap());
    let headers = [("authorization", authorization.as_str())];
    let verified = stack.nodes[0].client().get("/api/auth/verify", &headers).await;
    assert_eq!(verified.status, 401, "the family is revoked: {}", verified.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_in_redis_and_no_key_lives_for_ever() {
    let mut stack = ClusterStack::start(2).await;
    let alice = stack.nodes[0].login("alice", "d", "web").await;
    let _bob = stack.nodes[1].login("bob", "d", "web").await;
    let redis = stack.redis.take().unwrap();
    let keys: Vec<String> = redis.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    assert!(
        keys.iter().any(|key| key.ends_with("user:sessions:{alice}")),
        "{keys:?}"
    );
    for key in &keys {
        let life: i64 = redis.cli(&["PTTL", key]).trim().parse().unwrap();
        assert!(life > 0 || life == -2, "{key} lives for ever");
        for secret in [&alice.token, &alice.refresh_token] {
            assert!(!key.contains(secret.as_str()), "a token in a key");
            let kind = redis.cli(&["TYPE", key]);
            let value = match kind.trim() {
                "hash" => redis.cli(&["HGETALL", key]),
                "set" => redis.cli(&["SMEMBERS", key]),
                "zset" => redis.cli(&["ZRANGE", key, "0", "-1"]),
                _ => redis.cli(&["GET", key]),
            };
            assert!(!value.contains(secret.as_str()), "a token in {key}");
        }
    }
    for node in &stack.nodes {
        node.process.signal("KILL").await;
    }
    // Refresh tokens have a life of their own: days.
    let left = || {
        let keys = redis.cli(&["KEYS", "*"]);
        let own = |key: &&str| !key.contains("refresh_token") && !key.is_empty();
        keys.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    until("all keys gone after twice their life", async || left().is_empty()).await;
}
