//! The program itself: its commands, its refusals to start, its logs, its end.

use std::process::Output;

use gateway_tests::Stack;
use gateway_tests::stack::{Process, SECRET, program};
use serde_json::{Value, json};

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(program("gateway-server"));
    command
        .args(args)
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway_config.json"), config.to_string()).unwrap();
        Self(folder)
    }

    fn config(&self) -> String {
        self.0
            .path()
            .join("gateway_config.json")
            .to_string_lossy()
            .into_owned()
    }
}

fn good() -> Value {
    json!({"auth": {"jwt_secret": SECRET}})
}

#[test]
fn check_config_tells_all_errors_at_once_with_file_path_and_nearest_key() {
    let folder = Folder::with(&json!({
        "server": {"http_prot": 1, "websocket_port": "many"},
        "auth": {"jwt_secret": SECRET},
    }));
    std::fs::write(
        folder.0.path().join("platform_strategy.json"),
        r#"{"platforms": {"web": {"session_timeuot": 1}}}"#,
    )
    .unwrap();
    let output = run(&["check-config", "--config", &folder.config()], &[]);
    assert_ne!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    for part in [
        "gateway_config.json",
        "http_prot",
        "http_port",
        "websocket_port",
        "platform_strategy.json",
        "session_timeout",
    ] {
        assert!(said.contains(part), "{part} in: {said}");
    }
    let good = Folder::with(&good());
    assert_eq!(
        run(&["check-config", "--config", &good.config()], &[])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn a_placeholder_or_short_secret_and_what_is_not_there_yet_refuse_to_start() {
    for (what, patch, word) in [
        (
            "placeholder",
            json!({"auth": {"jwt_secret": "your_secret_key"}}),
            "secret",
        ),
        (
            "other placeholder",
            json!({"auth": {"jwt_secret": "your-secret-key"}}),
            "secret",
        ),
        ("short", json!({"auth": {"jwt_secret": "0123456789"}}), "32"),
        ("none", json!({}), "secret"),
        (
            "redis",
            json!({"auth": {"jwt_secret": SECRET}, "redis": {"host": "localhost"}}),
            "redis",
        ),
        (
            "TLS",
            json!({"auth": {"jwt_secret": SECRET}, "server": {"ssl_enabled": true, "ssl_cert_path": "c", "ssl_key_path": "k"}}),
            "ssl",
        ),
    ] {
        let folder = Folder::with(&patch);
        let output = run(&["serve", "--config", &folder.config()], &[]);
        assert_ne!(output.status.code(), Some(0), "{what}");
        assert!(
            text(&output.stderr).to_lowercase().contains(word),
            "{what}: {}",
            text(&output.stderr)
        );
    }
}

type Environment = Vec<(&'static str, &'static str)>;

/// Configurations that cannot start: what is laid over a good one, the environment, and what the error names.
fn wrong_ones() -> Vec<(Value, Environment, &'static str)> {
    let secret = "c".repeat(40);
    let redis = |redis: Value| json!({"redis": redis, "cluster": {"secret": &secret}});
    let cluster = |key: &str, value: &str| json!({"redis": {"host": "127.0.0.1"}, "cluster": {"secret": &secret, key: value}});
    let origin = |origin: &str| json!({"cors": {"allowed_origins": [origin]}});
    let mut wrong = vec![
        (cluster("node_id", "gw:0"), "cluster.node_id"),
        (cluster("node_id", "gw 0"), "cluster.node_id"),
        (json!({"cluster": {"node_id": "{gw}"}}), "cluster.node_id"),
        (cluster("advertise_address", "gw-0.gw"), "cluster.advertise_address"),
        (cluster("advertise_address", "http://gw-0:8082/x"), "cluster.advertise_address"),
        (cluster("advertise_address", "0.0.0.0:8082"), "cluster.advertise_address"),
        (cluster("advertise_address", "https://gw-0:8082"), "cluster.advertise_address"),
        (redis(json!({"host": "redis://:hidden@r:6379/0"})), "redis.host"),
        (redis(json!({"host": "redis:6379"})), "redis.host"),
        (redis(json!({"host": ""})), "redis.host"),
        (redis(json!({"host": "a b"})), "redis.host"),
        (redis(json!({"url": "http://r"})), "redis.url"),
        (redis(json!({"url": "redis://:hidden@r/x"})), "redis.url"),
        (redis(json!({"url": "redis://:hidden@r", "host": "r"})), "redis.url"),
        (redis(json!({"url": "redis://:hidden@r", "password": "hidden"})), "redis.url"),
        (redis(json!({"sentinel_nodes": ["a:1", "b"]})), "redis.sentinel_nodes[1]"),
        (redis(json!({"cluster_nodes": ["redis://:hidden@b:1"]})), "redis.cluster_nodes[0]"),
        (redis(json!({"host": "r", "tls": true, "tls_ca_file": "/nowhere/ca.pem"})), "/nowhere/ca.pem"),
        (json!({"server": {"ssl_enabled": true, "ssl_cert_path": "/nowhere/c.pem", "ssl_key_path": "/nowhere/k.pem"}}),
            "/nowhere/c.pem"),
        (json!({"server": {"grpc_tls": {"cert_path": "/nowhere/c.pem", "key_path": "/nowhere/k.pem"}}}), "/nowhere/c.pem"),
        (json!({"auth": {"admin_keys": ["file:/nowhere/key"]}}), "auth.admin_keys[0]"),
        (json!({"auth": {"admin_keys": ["sha256:12"]}}), "auth.admin_keys[0]"),
        (json!({"auth": {"service_keys": ["file:/dev/null"]}}), "auth.service_keys[0]"),
        (json!({"auth": {"keys": [{"kid": "k", "algorithm": "ES256", "public_key_file": "/nowhere/k.pem"}]}}),
            "/nowhere/k.pem"),
        (json!({"auth": {"revocation_file": "/dev/null/revoked"}}), "auth.revocation_file"),
        (json!({"logging": {"level": "info,a=b=debug"}}), "logging.level"),
        (json!({"services": {"user": {"host": "a b", "port": 1}}}), "services.user.host"),
        (json!({"server": {"http_port": 8080, "websocket_port": 8080}}), "port"),
        (json!({"server": {"host": "gateway"}}), "server.host"),
        (origin("https://chat.example/path"), "cors.allowed_origins[0]"),
        (origin("chat.example"), "cors.allowed_origins[0]"),
        (origin("*.chat.example"), "cors.allowed_origins[0]"),
        (origin("https://a.*.example"), "cors.allowed_origins[0]"),
        (origin("wss://chat.example"), "cors.allowed_origins[0]"),
        (origin("https://chat.example:0"), "cors.allowed_origins[0]"),
    ]
    .into_iter()
    .map(|(patch, names)| (patch, Vec::new(), names))
    .collect::<Vec<_>>();
    let cluster = json!({"cluster": {"secret": &secret}});
    wrong.extend([
        (
            cluster.clone(),
            vec![("REDIS_HOST", "redis://:hidden@r:6379/0")],
            "REDIS_HOST",
        ),
        (cluster.clone(), vec![("REDIS_HOST", "r:6379")], "REDIS_HOST"),
        (
            cluster.clone(),
            vec![("REDIS_URL", "redis://:hid#den@r")],
            "REDIS_URL",
        ),
        (
            cluster,
            vec![("REDIS_URL", "redis://:hidden@r"), ("REDIS_HOST", "r")],
            "REDIS_HOST",
        ),
    ]);
    wrong
}

#[test]
fn what_cannot_start_is_told_by_check_config_with_its_file_and_key() {
    for (patch, env, names) in wrong_ones() {
        let mut config = json!({
            "auth": {"jwt_secret": SECRET},
            "server": {"host": "127.0.0.1", "websocket_port": 0, "http_port": 0, "grpc_port": 0},
        });
        gateway_tests::stack::merge(&mut config, patch.clone());
        let folder = Folder::with(&config);
        for verb in ["check-config", "serve"] {
            let output = run(&[verb, "--config", &folder.config()], &env);
            let said = text(&output.stderr) + &text(&output.stdout);
            assert_eq!(output.status.code(), Some(2), "{verb} {patch} {env:?}: {said}");
            assert!(said.contains(names), "{verb} {patch} {env:?}: {said}");
            let place = env.first().map_or("gateway_config.json", |(name, _)| name);
            assert!(said.contains(place), "{verb} {patch} {env:?}: {said}");
            for secret in ["hidden", "hid#den"] {
                assert!(!said.contains(secret), "{verb} {patch} {env:?}: {said}");
            }
        }
    }
}

#[test]
fn a_redis_url_stands_for_its_parts_and_its_password_is_not_shown() {
    let folder =
        Folder::with(&json!({"auth": {"jwt_secret": SECRET}, "cluster": {"secret": "c".repeat(40)}}));
    let url = ("REDIS_URL", "rediss://us%65r:hid%40den@[::1]:7000/3");
    let output = run(&["print-config", "--config", &folder.config()], &[url]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for secret in ["hid@den", "hid%40den"] {
        assert!(!said.contains(secret), "{said}");
    }
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let redis = &printed["redis"];
    assert_eq!(
        json!([
            redis["host"],
            redis["port"],
            redis["db"],
            redis["username"],
            redis["tls"],
            redis["password"]
        ]),
        json!(["::1", 7000, 3, "user", true, "(hidden)"])
    );
    assert_eq!(printed["storage"], "redis");
    let output = run(&["check-config", "--config", &folder.config()], &[url]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn the_environment_comes_after_the_file_and_secrets_are_never_printed() {
    let folder = Folder::with(&good());
    let env = [
        ("GATEWAY__SERVER__HTTP_PORT", "18081"),
        ("GATEWAY__AUTH__JWT_SECRET", "11112222333344445555666677778888"),
        ("REDIS_PASSWORD", "hidden-redis-password"),
    ];
    let output = run(&["print-config", "--config", &folder.config()], &env);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["server"]["http_port"], 18081);
    let all = text(&output.stdout) + &text(&output.stderr);
    for secret in [
        SECRET,
        "11112222333344445555666677778888",
        "hidden-redis-password",
    ] {
        assert!(!all.contains(secret), "{all}");
    }
    let wrong = run(
        &["check-config", "--config", &folder.config()],
        &[("GATEWAY__SERVER__HTTP_PRT", "1")],
    );
    assert!(
        text(&wrong.stderr).contains("GATEWAY__SERVER__HTTP_PRT"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn the_documentation_names_every_section() {
    let output = run(&["config-doc"], &[]);
    let said = text(&output.stdout);
    for key in [
        "server",
        "websocket_port",
        "jwt_secret",
        "max_devices",
        "timeout_ms",
        "push_ack_timeout_ms",
    ] {
        assert!(said.contains(key), "{key}");
    }
}

#[test]
fn tokens_can_be_made_and_checked_by_hand() {
    let folder = Folder::with(&good());
    let config = folder.config();
    let minted = run(
        &[
            "gen-token",
            "--config",
            &config,
            "--user",
            "alice",
            "--role",
            "admin",
        ],
        &[],
    );
    assert_eq!(minted.status.code(), Some(0), "{}", text(&minted.stderr));
    let token = text(&minted.stdout).trim().to_owned();
    let checked = run(&["check-token", "--config", &config, &token], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let claims: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["roles"]),
        (&json!("alice"), &json!(["admin"]))
    );
    let wrong = run(&["check-token", "--config", &config, &format!("{token}x")], &[]);
    assert_ne!(wrong.status.code(), Some(0));
}

#[tokio::test]
async fn a_minted_admin_token_opens_the_admin_routes() {
    let stack = Stack::start().await;
    let config = stack
        .folder
        .path()
        .join("gateway_config.json")
        .to_string_lossy()
        .into_owned();
    let minted = run(
        &[
            "gen-token",
            "--config",
            &config,
            "--user",
            "root",
            "--role",
            "admin",
        ],
        &[],
    );
    let bearer = format!("Bearer {}", text(&minted.stdout).trim());
    let answer = stack
        .http()
        .get("/api/connections/stats", &[("authorization", &bearer)])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn log_lines_have_the_asked_shape_and_hold_no_secret() {
    let mut stack = Stack::builder()
        .config(json!({"logging": {"level": "debug"}}))
        .start()
        .await;
    let mut client = stack.login("alice", "d1", "web").await;
    let (token, refresh_token) = (client.token.clone(), client.refresh_token.clone());
    client.command(4, &json!({"refresh_token": refresh_token})).await;
    client.command(9_999, &json!({})).await;
    client.close().await;
    assert!(
        stack.gateway.says("session bound").await,
        "{}",
        stack.gateway.log()
    );
    stack.gateway.signal("INT").await;
    assert_eq!(stack.gateway.ended().await, Some(0));
    let log = stack.gateway.log();
    let line = log.lines().find(|line| line.contains("session bound")).unwrap();
    let parts: Vec<&str> = line.split("] [").collect();
    assert!(line.starts_with('[') && parts.len() >= 4, "{line}");
    assert_eq!((parts[1], parts[2]), ("gateway", "debug"), "{line}");
    assert!(parts[3].contains(".rs:"), "{line}");
    assert!(
        line.contains("user_id=alice") && line.contains("session_id="),
        "{line}"
    );
    for secret in [token.as_str(), &refresh_token, SECRET, "password\""] {
        assert!(!log.contains(secret), "a secret in the log");
    }
}

#[tokio::test]
async fn json_logs_are_json() {
    let mut stack = Stack::builder()
        .config(json!({"logging": {"format": "json", "level": "debug"}}))
        .start()
        .await;
    stack.login("alice", "d1", "web").await.close().await;
    stack.gateway.signal("TERM").await;
    stack.gateway.ended().await;
    let log = stack.gateway.log();
    let line = log.lines().find(|line| line.contains("session bound")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["user_id"], "alice", "{line}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let stack = Stack::start().await;
    let folder = Folder::with(&json!({
        "server": {"host": "127.0.0.1", "websocket_port": stack.websocket.port(), "http_port": 0, "grpc_port": 0},
        "auth": {"jwt_secret": SECRET},
    }));
    let config = folder.config();
    let mut second = Process::start(
        "gateway-server",
        &["serve".into(), "--config".into(), config],
        &[],
    );
    assert_ne!(
        second.ended().await,
        Some(0),
        "SO_REUSEPORT is for our own workers only"
    );
    assert!(
        second.log().contains(&stack.websocket.port().to_string()),
        "{}",
        second.log()
    );
}

#[tokio::test]
async fn dev_needs_no_configuration_at_all() {
    let args: Vec<String> = [
        "--dev",
        "--set",
        "server.websocket_port=0",
        "--set",
        "server.http_port=0",
        "--set",
        "server.grpc_port=0",
    ]
    .map(str::to_owned)
    .into();
    let mut gateway = Process::start("gateway-server", &args, &[]);
    let http = gateway.line("http listening on ").await;
    assert!(gateway.says("serving").await);
    let http: std::net::SocketAddr = http.parse().unwrap();
    let http = std::net::SocketAddr::from(([127, 0, 0, 1], http.port()));
    assert_eq!(
        gateway_tests::http::Http::new(http)
            .get("/readyz", &[])
            .await
            .status,
        200
    );
    gateway.signal("INT").await;
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test]
async fn a_hangup_reads_the_configuration_again_and_ends_nothing() {
    let mut stack = Stack::start().await;
    let mut client = stack.login("alice", "d1", "web").await;
    let router = stack.folder.path().join("router_config.json");
    for (content, said) in [
        (
            r#"{"routes": {"2001-2999": {"handler": "message", "timeout_ms": 4321}}}"#,
            "configuration reloaded",
        ),
        ("{broken", "a configuration was not taken"),
    ] {
        std::fs::write(&router, content).unwrap();
        stack.gateway.signal("HUP").await;
        assert!(stack.gateway.says(said).await, "{}", stack.gateway.log());
    }
    assert_eq!(client.command(3001, &json!({})).await["code"], 200);
    stack.gateway.signal("TERM").await;
    stack.gateway.signal("HUP").await;
    assert_eq!(stack.gateway.ended().await, Some(0));
}
