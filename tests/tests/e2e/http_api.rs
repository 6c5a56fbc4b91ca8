//! Contract section 5: the HTTP API, its rights, its errors, its limits.

use std::time::Duration;

use bytes::Bytes;
use gateway_tests::Stack;
use gateway_tests::http::{Answer, bearer};
use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use http::Method;
use serde_json::{Value, json};

fn is_error(answer: &Answer, code: u16) {
    assert_eq!(answer.status, code, "{}", answer.body);
    assert_eq!(answer.body["code"], code, "{}", answer.body);
    for field in ["message", "err_msg", "request_id"] {
        assert!(
            answer.body[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn login_gives_a_pair_under_all_its_names() {
    let stack = Stack::start().await;
    for (path, name) in [("/api/auth/login", "username"), ("/api/v1/auth/login", "account")] {
        let body = json!({name: "alice", "password": "password", "device_id": "d1", "platform": "web"});
        let answer = stack.http().post(path, &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = &answer.body;
        assert_eq!(body["token"], body["access_token"]);
        assert_eq!(body["profile"], body["user_info"]);
        assert_eq!(body["user_info"]["uid"], "alice");
        assert_eq!(body["token_type"], "Bearer");
        assert!(body["expires_in"].as_u64().unwrap() > 0 && body["refresh_token"].is_string());
    }
}

#[tokio::test]
async fn bad_requests_name_their_fault() {
    let stack = Stack::start().await;
    let http = stack.http();
    let login = |body: Value| async move { http.post("/api/auth/login", &[], &body).await };
    is_error(
        &login(json!({"username": "alice", "password": "wrong", "platform": "web"})).await,
        401,
    );
    is_error(
        &login(json!({"username": "nobody", "password": "password"})).await,
        401,
    );
    is_error(
        &login(json!({"username": "alice", "password": "password", "platform": "fridge"})).await,
        400,
    );
    is_error(&login(json!([])).await, 400);
    is_error(&http.post_raw("/api/auth/login", &[], "{").await, 400);
    is_error(
        &http.post_raw("/api/auth/login", &[], vec![0xff, 0xfe]).await,
        400,
    );
    is_error(&http.get("/api/nothing", &[]).await, 404);
    let wrong_method = http.get("/api/auth/login", &[]).await;
    is_error(&wrong_method, 405);
    assert_eq!(wrong_method.headers["allow"], "POST");
    is_error(&http.get("/api/auth/verify", &[]).await, 401);
    is_error(
        &http
            .get("/api/auth/verify", &[("authorization", "Basic YTpi")])
            .await,
        401,
    );
    is_error(&http.post("/api/auth/refresh", &[], &json!({})).await, 400);
}

#[tokio::test]
async fn admin_routes_want_the_role_or_an_admin_key() {
    let stack = Stack::start().await;
    let http = stack.http();
    let user = bearer(
        stack.tokens("alice", "d1", "web").await["token"]
            .as_str()
            .unwrap(),
    );
    let admin = bearer(
        stack.tokens("admin", "d1", "web").await["token"]
            .as_str()
            .unwrap(),
    );
    let gets = [
        "/api/connections/stats",
        "/api/connections/online",
        "/api/system/metrics",
        "/api/v1/system/metrics",
    ];
    for path in gets {
        is_error(&http.get(path, &[]).await, 401);
        is_error(&http.get(path, &[("authorization", &user)]).await, 403);
        is_error(&http.get(path, &[("x-api-key", SERVICE_KEY)]).await, 401);
        is_error(&http.get(path, &[("x-api-key", "guess")]).await, 401);
        assert_eq!(
            http.get(path, &[("authorization", &admin)]).await.status,
            200,
            "{path}"
        );
        assert_eq!(
            http.get(path, &[("x-api-key", ADMIN_KEY)]).await.status,
            200,
            "{path}"
        );
    }
    for (path, body) in [
        ("/api/connections/kick", json!({"user_id": "nobody"})),
        ("/api/system/reload", json!({"config_type": "router_config"})),
    ] {
        is_error(&http.post(path, &[], &body).await, 401);
        is_error(&http.post(path, &[("authorization", &user)], &body).await, 403);
        let answer = http.post(path, &[("authorization", &admin)], &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    is_error(&http.post("/api/push", &[], &json!({})).await, 401);
    is_error(
        &http
            .post("/api/push", &[("x-api-key", ADMIN_KEY)], &json!({}))
            .await,
        403,
    );
}

#[tokio::test]
async fn verify_says_whose_token_it_is() {
    let stack = Stack::start().await;
    let token = bearer(
        stack.tokens("alice", "d1", "web").await["token"]
            .as_str()
            .unwrap(),
    );
    let answer = stack
        .http()
        .get("/api/auth/verify", &[("authorization", &token)])
        .await;
    assert_eq!(answer.body["valid"], true);
    assert_eq!(answer.body["user_info"]["user_id"], "alice");
}

#[tokio::test]
async fn stats_and_the_online_list_count_what_is_there_page_by_page() {
    let stack = Stack::builder().mock(&["--accounts", "7"]).start().await;
    let key = [("x-api-key", ADMIN_KEY)];
    let mut held = vec![stack.connect().await];
    for number in 1..=7 {
        held.push(stack.login(&format!("user{number}"), "d1", "web").await);
    }
    held.push(stack.login("user1", "d2", "android").await);
    let stats = stack.http().get("/api/connections/stats", &key).await.body;
    assert_eq!(
        (
            &stats["total"],
            &stats["authenticated"],
            &stats["unauthenticated"]
        ),
        (&json!(9), &json!(8), &json!(1))
    );
    assert_eq!(
        (&stats["by_platform"]["web"], &stats["by_platform"]["android"]),
        (&json!(7), &json!(1))
    );

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = stack
            .http()
            .get(&format!("/api/connections/online?limit=3&cursor={cursor}"), &key)
            .await
            .body;
        assert_eq!(page["total"], 7, "{page}");
        for user in page["users"].as_array().unwrap() {
            let session = &user["sessions"][0];
            for field in [
                "session_id",
                "device_id",
                "platform",
                "node",
                "connected_at",
                "address",
            ] {
                assert!(session[field].is_string(), "{field}: {session}");
            }
            seen.push(user["user_id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) if !next.is_empty() => cursor = next.to_owned(),
            _ => break,
        }
    }
    seen.sort();
    assert_eq!(
        seen,
        (1..=7).map(|number| format!("user{number}")).collect::<Vec<_>>()
    );
    is_error(
        &stack.http().get("/api/connections/online?limit=1001", &key).await,
        400,
    );
    is_error(
        &stack.http().get("/api/connections/online?limit=x", &key).await,
        400,
    );
}

#[tokio::test]
async fn a_message_by_http_speaks_for_its_bearer_only() {
    let stack = Stack::start().await;
    let pair = stack.tokens("alice", "d1", "web").await;
    let token = bearer(pair["token"].as_str().unwrap());
    let auth = [("authorization", token.as_str())];
    let mut bob = stack.login("bob", "d1", "web").await;
    let mut alice = stack
        .open(&format!("token={}", pair["token"].as_str().unwrap()))
        .await;
    let session_id = alice.notice("welcome").await["data"]["session_id"].clone();
    let message = |patch: Value| {
        let mut message = json!({"cmd_id": 2001, "seq": 3, "data": {"to_user": "bob", "content": "by http"}});
        for (key, value) in patch.as_object().unwrap() {
            message[key] = value.clone();
        }
        message
    };
    let http = stack.http();
    let good = http.post("/api/message", &auth, &message(json!({}))).await;
    assert_eq!(good.status, 200, "{}", good.body);
    assert_eq!(
        (&good.body["cmd_id"], &good.body["seq"], &good.body["code"]),
        (&json!(2001), &json!(3), &json!(200))
    );
    assert_eq!(bob.push().await["data"]["content"], "by http");
    for (patch, status) in [
        (
            json!({"user_id": "alice", "device_id": "d1", "session_id": session_id}),
            200,
        ),
        (json!({"token": "ignored"}), 200),
        (json!({"user_id": "bob"}), 403),
        (json!({"session_id": bob.session_id}), 403),
        (json!({"session_id": "made up"}), 403),
        (json!({"device_id": "d2"}), 401),
        (json!({"cmd_id": 9_999}), 404),
        (json!({"cmd_id": 0}), 400),
        (json!({"cmd_id": 5006, "data": {"push_id": "x"}}), 400),
        (json!({"cmd_id": 1, "data": {}}), 200),
        (json!({"cmd_id": 1002, "data": {"token": pair["token"]}}), 200),
        (json!({"cmd_id": 1002, "data": {"token": "garbage"}}), 401),
        (json!({"data": {"to_user": "nobody", "content": "x"}}), 404),
    ] {
        let answer = http.post("/api/message", &auth, &message(patch.clone())).await;
        assert_eq!(answer.status, status, "{patch}: {}", answer.body);
        assert_eq!(answer.body["code"], status, "{patch}: {}", answer.body);
    }
    let login = message(json!({"cmd_id": 1001, "data": {"username": "carol", "password": "password"}}));
    let tokens = http.post("/api/message", &auth, &login).await;
    assert!(
        tokens.body["data"]["token"].is_string(),
        "a login gives tokens: {}",
        tokens.body
    );
    is_error(&http.post("/api/message", &[], &message(json!({}))).await, 401);
}

#[tokio::test]
async fn health_readiness_and_figures_are_measured() {
    let stack = Stack::start().await;
    let http = stack.http();
    let mut health = http.get("/api/system/health", &[]).await;
    // The back ends are looked at in the background; give the first look a moment.
    for _ in 0..100 {
        if health.body["status"] == "healthy" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        health = http.get("/api/system/health", &[]).await;
    }
    assert_eq!(
        (health.status, &health.body["status"]),
        (200, &json!("healthy")),
        "{}",
        health.body
    );
    assert!(health.body["components"]["websocket_server"].is_string());
    assert!(health.body["uptime_seconds"].is_u64());
    assert_eq!(http.get("/livez", &[]).await.status, 200);
    assert_eq!(http.get("/readyz", &[]).await.status, 200);

    let mut alice = stack.login("alice", "d1", "web").await;
    for _ in 0..50 {
        alice.command(2002, &json!({"chat_id": "bob"})).await;
    }
    alice
        .command(2001, &json!({"to_user": "nobody", "content": "x"}))
        .await;
    let figures = http
        .get("/api/system/metrics", &[("x-api-key", ADMIN_KEY)])
        .await
        .body;
    assert_eq!(
        (
            &figures["connections"]["total"],
            &figures["connections"]["authenticated"]
        ),
        (&json!(1), &json!(1))
    );
    assert!(figures["performance"]["qps"].as_f64().unwrap() > 0.0, "{figures}");
    assert!(
        figures["performance"]["avg_response_time_ms"].as_f64().unwrap() > 0.0,
        "{figures}"
    );
    assert!(
        figures["performance"]["error_rate"].as_f64().unwrap() > 0.0,
        "{figures}"
    );
    assert!(
        figures["resources"]["memory_mb"].as_f64().unwrap() > 1.0,
        "{figures}"
    );

    let text = http.get("/metrics", &[]).await.body;
    let text = text.as_str().unwrap();
    assert!(text.contains("# TYPE"), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("gateway_connections 1")),
        "{text}"
    );
    assert!(text.contains("gateway_refused_total{code=\"404\"} 1"), "{text}");
}

#[tokio::test]
async fn a_missing_back_end_degrades_the_health_and_leaves_it_ready() {
    let stack = Stack::builder().without_mock().start().await;
    let mut seen = Value::Null;
    for _ in 0..100 {
        seen = stack.http().get("/api/system/health", &[]).await.body;
        if seen["status"] == "degraded" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(seen["components"]["service_user"], "unhealthy", "{seen}");
    assert_eq!(stack.http().get("/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn openapi_names_every_path_that_answers() {
    let stack = Stack::start().await;
    let document = stack.http().get("/api/openapi.json", &[]).await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/api/auth/login") && paths.contains_key("/api/v1/push"));
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = stack.http().send(method, path, &[], Bytes::new()).await.unwrap();
            assert_ne!(answer.status, 404, "{path}");
            assert_ne!(answer.status, 500, "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_reload_swaps_shows_the_difference_and_keeps_the_old_on_an_error() {
    let stack = Stack::builder()
        .platforms(json!({"platforms": {
            "web": {"allow_multiple_devices": false, "session_timeout": 1800},
        }}))
        .start()
        .await;
    let key = [("x-api-key", ADMIN_KEY)];
    let address = stack.http;
    let reload = |body: Value| async move { reload_at(address, &key, &body).await };
    let unchanged = reload(json!({"config_type": "platform_strategy"})).await;
    assert_eq!(unchanged.status, 200, "{}", unchanged.body);
    assert_eq!(unchanged.body["changes"], json!([]));

    let mut kept = stack.login("alice", "one", "web").await;
    let write = |text: &str| std::fs::write(stack.folder.path().join("new.json"), text).unwrap();
    write(
        r#"{"platforms": {"web": {"allow_multiple_devices": true, "max_devices": 2, "session_timeout": 1800}}}"#,
    );
    let path = stack
        .folder
        .path()
        .join("new.json")
        .to_string_lossy()
        .into_owned();
    let swapped = reload(json!({"config_type": "platform_strategy", "config_path": path})).await;
    assert_eq!(swapped.status, 200, "{}", swapped.body);
    assert!(!swapped.body["changes"].as_array().unwrap().is_empty());
    let mut second = stack.login("alice", "two", "web").await;
    assert!(
        kept.is_alive().await && second.is_alive().await,
        "two are allowed now, and no socket was dropped"
    );

    write(r#"{"platforms": {"web": {"max_devicse": 1}}}"#);
    let wrong = reload(json!({"config_type": "platform_strategy", "config_path": path})).await;
    is_error(&wrong, 400);
    assert!(
        wrong.body["err_msg"].as_str().unwrap().contains("max_devices"),
        "the nearest key: {}",
        wrong.body
    );
    for outside in ["/etc/passwd", "../outside.json", "sub/../../outside.json"] {
        let refused = reload(json!({"config_type": "platform_strategy", "config_path": outside})).await;
        assert!(
            [403, 400].contains(&refused.status),
            "{outside}: {}",
            refused.body
        );
        assert!(
            !refused.body.to_string().contains("root:"),
            "nothing of the file is told"
        );
    }
    std::os::unix::fs::symlink("/etc/hostname", stack.folder.path().join("link.json")).unwrap();
    let link = stack
        .folder
        .path()
        .join("link.json")
        .to_string_lossy()
        .into_owned();
    is_error(
        &reload(json!({"config_type": "platform_strategy", "config_path": link})).await,
        403,
    );
    is_error(&reload(json!({"config_type": "everything"})).await, 400);
}

async fn reload_at(address: std::net::SocketAddr, key: &[(&str, &str)], body: &Value) -> Answer {
    gateway_tests::http::Http::new(address)
        .post("/api/system/reload", key, body)
        .await
}

#[tokio::test]
async fn bodies_and_headers_have_limits() {
    let stack = Stack::builder()
        .config(json!({"limits": {"http_body_bytes": 65536}}))
        .start()
        .await;
    let http = stack.http();
    let big = http.post_raw("/api/auth/login", &[], vec![b'x'; 65_537]).await;
    assert_eq!(big.status, 413);
    let many = "x".repeat(100_000);
    let headers = http
        .send(Method::GET, "/livez", &[("x-many", &many)], Bytes::new())
        .await;
    assert!(headers.is_err() || headers.is_ok_and(|answer| answer.status == 431));
    assert_eq!(http.get("/livez", &[]).await.status, 200);
}

#[tokio::test]
async fn browsers_of_the_origins_that_are_named_may_ask() {
    let stack = Stack::builder()
        .config(json!({"cors": {"allowed_origins": ["https://chat.example"]}}))
        .start()
        .await;
    let stranger = stack
        .http()
        .get("/api/system/health", &[("origin", "https://evil.example")])
        .await;
    assert!(!stranger.headers.contains_key("access-control-allow-origin"));
    let origin = ("origin", "https://chat.example");
    let preflight = stack
        .http()
        .send(
            Method::OPTIONS,
            "/api/v1/auth/login",
            &[
                origin,
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,content-type"),
            ],
            Bytes::new(),
        )
        .await
        .unwrap();
    assert!((200..300).contains(&preflight.status));
    assert!(preflight.headers.contains_key("access-control-allow-origin"));
    let allowed = preflight.headers["access-control-allow-headers"]
        .to_str()
        .unwrap()
        .to_lowercase();
    assert!(
        allowed.contains("authorization") && allowed.contains("content-type"),
        "{allowed}"
    );
    let answer = stack.http().get("/api/system/health", &[origin]).await;
    assert!(answer.headers.contains_key("access-control-allow-origin"));
    let refused = stack.http().get("/api/auth/verify", &[origin]).await;
    assert!(
        refused.headers.contains_key("access-control-allow-origin"),
        "errors can be read too"
    );
}

#[tokio::test]
async fn figures_and_probes_can_have_an_address_of_their_own() {
    let mut stack = Stack::builder()
        .config(json!({"server": {"metrics_address": "127.0.0.1:0"}}))
        .start_unready()
        .await;
    let address = stack.gateway.line("metrics listening on ").await.parse().unwrap();
    let operations = gateway_tests::http::Http::new(address);
    assert!(stack.gateway.says("serving").await);
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(operations.get(path, &[]).await.status, 200, "{path}");
        assert_eq!(stack.http().get(path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(operations.get("/api/system/health", &[]).await.status, 404);
    assert_eq!(stack.http().get("/api/system/health", &[]).await.status, 200);
}
