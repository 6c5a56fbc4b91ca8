//! Errors, order and secrets of loading.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;

use gateway_config::{
    Config, ConfigErrors, LoadOptions, Loaded, Storage, difference, effective_json, load, reference_markdown,
};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("gateway_config.json")
    }

    fn load(&self, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect()
        };
        let main = Some(self.main()).filter(|main| main.exists());
        load(LoadOptions {
            main,
            env: owned(env),
            overrides: owned(flags),
            ..LoadOptions::default()
        })
    }
}

fn main_file(text: &str) -> Folder {
    Folder::new(&[("gateway_config.json", text)])
}

/// Path and message of each error.
fn told(result: Result<Loaded, ConfigErrors>) -> Vec<(String, String)> {
    let errors = result.unwrap_err();
    errors
        .into_iter()
        .map(|error| (error.path, error.kind.to_string()))
        .collect()
}

#[test]
fn nothing_at_all_is_the_defaults() {
    let loaded = Folder::new(&[]).load(&[], &[]).unwrap();
    assert_eq!(difference(&Config::defaults(), &loaded.config), []);
    assert_eq!(loaded.config.storage, Storage::Embedded);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let folder = main_file(r#"{"server": {"websocket_port": 1, "http_port": 2, "grpc_port": 3}}"#);
    let env = [
        ("GATEWAY__SERVER__HTTP_PORT", "12"),
        ("GATEWAY__GATEWAY__GRPC_PORT", "13"),
        ("HOME", "/"),
    ];
    let server = folder
        .load(&env, &[("server.grpc_port", "23")])
        .unwrap()
        .config
        .server;
    assert_eq!(
        (server.websocket_port, server.http_port, server.grpc_port),
        (1, 12, 23)
    );
    assert_eq!(server.max_connections, 0);
}

#[test]
fn every_kind_of_value_can_come_from_the_environment() {
    let env = [
        ("GATEWAY__SERVER__SSL_ENABLED", "no"),
        ("GATEWAY__SERVER__HOST", "127.0.0.1"),
        ("GATEWAY__AUTH__JWT_SECRET", "12345678901234567890123456789012"),
        ("GATEWAY__AUTH__ISSUER", "true"),
        ("GATEWAY__AUTH__SERVICE_KEYS", "one, 2,file:/run/key"),
        ("GATEWAY__AUTH__KEYS", r#"[{"kid": "a", "secret": "x"}]"#),
        ("GATEWAY__LIMITS__PING_INTERVAL_SECONDS", "7"),
        ("GATEWAY__SERVICES__USER_SERVICE__PORT", "9101"),
        ("GATEWAY__CLUSTER__NODE_ID", "7"),
        ("GATEWAY__LOGGING__MAX_FILE_SIZE", "1MiB"),
    ];
    let config = Folder::new(&[]).load(&env, &[]).unwrap().config;
    assert_eq!(
        config.auth.jwt_secret.as_ref().unwrap().expose(),
        "12345678901234567890123456789012"
    );
    assert_eq!(
        (config.auth.issuer.as_str(), config.auth.service_keys.len()),
        ("true", 3)
    );
    assert_eq!(
        (
            config.auth.keys.len(),
            config
                .cluster
                .node_id
                .as_ref()
                .map(gateway_config::NodeName::as_str)
        ),
        (1, Some("7"))
    );
    assert_eq!(config.limits.ping_interval.as_secs(), 7);
    assert_eq!(
        config.services["user"].endpoints[0].to_string(),
        "http://127.0.0.1:9101"
    );
    assert_eq!(config.logging.max_file_size.as_bytes(), 1 << 20);
}

#[test]
fn the_names_of_the_compose_file_ask_for_redis_and_a_lone_password_does_not() {
    let folder = Folder::new(&[]);
    let env = [
        ("REDIS_HOST", "redis"),
        ("REDIS_PORT", "6380"),
        ("REDIS_PASSWORD", "007"),
    ];
    let config = folder.load(&env, &[]).unwrap().config;
    let redis = config.redis.unwrap();
    assert_eq!(
        (config.storage, redis.host.as_str(), redis.port),
        (Storage::Redis, "redis", 6380)
    );
    assert_eq!(redis.password.unwrap().expose(), "007");

    let config = folder.load(&env[1..], &[]).unwrap().config;
    assert!(config.redis.is_none() && config.storage == Storage::Embedded);

    let config = folder
        .load(&[env[0], ("GATEWAY__STORAGE", "embedded")], &[])
        .unwrap()
        .config;
    assert!(config.redis.is_some() && config.storage == Storage::Embedded);

    let loaded = folder
        .load(&[env[0], ("REDIS_PORT", "tcp://10.0.0.1:6379")], &[])
        .unwrap();
    assert_eq!(loaded.config.redis.unwrap().port, 6379);
    assert!(loaded.warnings.iter().any(|warning| warning.path == "redis.port"));
}

#[test]
fn in_development_the_store_is_embedded_whatever_is_configured() {
    let folder = main_file(r#"{"redis": {}, "storage": "redis"}"#);
    let loaded = load(LoadOptions {
        main: Some(folder.main()),
        dev: true,
        ..LoadOptions::default()
    })
    .unwrap();
    assert_eq!(loaded.config.storage, Storage::Embedded);
    assert!(loaded.warnings.iter().any(|warning| warning.path == "storage"));
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let folder = Folder::new(&[
        (
            "gateway_config.json",
            r#"{"sever": {}, "server": {"htp_port": 1, "jwt_secret": "x"}, "gateway": {"htttp_port": 2},
                "services": {"user": {"hots": "a"}}, "auth": {"keys": [{"kidd": "a"}]}}"#,
        ),
        (
            "platform_strategy.json",
            r#"{"platforms": {"web": {"max_device": 3}}, "routes": {}}"#,
        ),
        (
            "router_config.json",
            r#"{"routes": {"2001": {"handler": "message", "timeout": 5}}, "default_route": true}"#,
        ),
    ]);
    let nearest: Vec<(String, String)> = told(folder.load(&[("GATEWAY__LIMITS__BAD_MESAGES", "1")], &[]))
        .into_iter()
        .filter_map(|(path, message)| Some((path, message.split('`').nth(1)?.to_owned())))
        .collect();
    for (path, known) in [
        ("sever", "server"),
        ("server.htp_port", "server.http_port"),
        ("server.jwt_secret", "auth.jwt_secret"),
        ("gateway.htttp_port", "server.http_port"),
        ("services.user.hots", "services.user.host"),
        ("auth.keys[0].kidd", "auth.keys[0].kid"),
        ("limits.bad_mesages", "limits.bad_messages"),
        ("platforms.web.max_device", "platforms.web.max_devices"),
        ("routes.2001.timeout", "routes.2001.timeout_ms"),
        ("default_route", "default_routes"),
    ] {
        assert!(
            nearest.contains(&(path.to_owned(), known.to_owned())),
            "{path}: {nearest:?}"
        );
    }
}

#[test]
fn all_errors_are_told_at_once_each_with_its_origin_and_path() {
    let folder = Folder::new(&[
        (
            "gateway_config.json",
            r#"{"gateway": {"http_port": "8081"}, "limits": {"bad_messages": 0}}"#,
        ),
        (
            "platform_strategy.json",
            r#"{"platforms": {"web": {"max_devices": 2}}}"#,
        ),
        (
            "router_config.json",
            r#"{"routes": {"0": {"handler": "message"}, "7": {"handler": "mesage_send"}}}"#,
        ),
    ]);
    let env = [("GATEWAY__SERVER__GRPC_PORT", "70000")];
    let errors = folder
        .load(&env, &[("server.worker_threads", "many")])
        .unwrap_err();
    let lines: Vec<String> = errors.to_string().lines().map(str::to_owned).collect();
    let has = |parts: &[&str]| {
        assert!(
            lines
                .iter()
                .any(|line| parts.iter().all(|part| line.contains(part))),
            "{parts:?} in {lines:#?}"
        );
    };
    has(&["gateway_config.json: gateway.http_port: expected a whole number, found text"]);
    has(&["gateway_config.json: limits.bad_messages: must be from 1 to 1000, is 0"]);
    has(&[
        "environment variable GATEWAY__SERVER__GRPC_PORT: server.grpc_port: must be from 0 to 65535, is 70000",
    ]);
    has(&["flag for server.worker_threads: server.worker_threads: expected a whole number"]);
    has(&["platform_strategy.json: platforms.web.max_devices: more than 1 contradicts"]);
    has(&["router_config.json: routes.0: 0 is no command"]);
    has(&[
        "router_config.json: routes.7.handler: unknown handler `mesage_send`",
        "`message_send`",
    ]);
    assert_eq!(lines.len(), 7, "{lines:#?}");
}

#[test]
fn a_file_that_cannot_be_parsed_is_told_with_its_line_beside_the_errors_of_the_others() {
    let folder = Folder::new(&[
        ("gateway_config.json", "{\n  \"server\": {,}\n}"),
        ("router_config.json", r#"{"routes": 5}"#),
    ]);
    let errors = folder.load(&[], &[]).unwrap_err().to_string();
    assert!(errors.contains("is not valid JSON at line 2, column"), "{errors}");
    assert!(errors.contains("routes: expected a section"), "{errors}");
    let gone = load(LoadOptions {
        main: Some(folder.0.path().join("gone.json")),
        ..LoadOptions::default()
    });
    assert!(gone.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (text, path) in [
        (r#"{"server": {"http_port": 8080}}"#, "server.http_port"),
        (r#"{"server": {"websocket_port": 8082}}"#, "server.websocket_port"),
        (r#"{"server": {"http_port": -1}}"#, "server.http_port"),
        (r#"{"server": {"http_port": 80.5}}"#, "server.http_port"),
        (r#"{"server": {"host": "nowhere"}}"#, "server.host"),
        (
            r#"{"server": {"metrics_address": "127.0.0.1:8081"}}"#,
            "server.metrics_address",
        ),
        (
            r#"{"server": {"ssl_enabled": true, "ssl_cert_path": "a"}}"#,
            "server.ssl_key_path",
        ),
        (
            r#"{"server": {"grpc_tls": {"cert_path": "a"}}}"#,
            "server.grpc_tls.key_path",
        ),
        (
            r#"{"server": {"grpc_tls": {"cert_path": "a", "key_path": "b", "require_client_cert": true}}}"#,
            "server.grpc_tls.client_ca_path",
        ),
        (
            r#"{"server": {"grpc_tls": {"cert_path": "a", "key_path": "b"}}, "cluster": {"certificate_name": "n"}}"#,
            "cluster.certificate_name",
        ),
        (
            r#"{"server": {"grpc_tls": {"cert_path": "a", "key_path": "b", "client_ca_path": "c"}},
                "cluster": {"certificate_name": "*.example.com"}}"#,
            "cluster.certificate_name",
        ),
        (
            r#"{"server": {"grpc_tls": {"cert_path": "a", "key_path": "b", "client_ca_path": "c"}},
                "cluster": {"certificate_name": "n.example.com"},
                "auth": {"service_certificates": ["s.example.com", "N.example.com"]}}"#,
            "auth.service_certificates[1]",
        ),
        (
            r#"{"auth": {"service_certificates": ["s.example.com"]}}"#,
            "auth.service_certificates[0]",
        ),
        (r#"{"auth": {"key_check_seconds": 31}}"#, "auth.key_check_seconds"),
        (r#"{"server": 5}"#, "server"),
        (
            r#"{"auth": {"session_timeout_seconds": 0}}"#,
            "auth.session_timeout_seconds",
        ),
        (r#"{"auth": {"leeway_seconds": 61}}"#, "auth.leeway_seconds"),
        (
            r#"{"auth": {"refresh_expire_seconds": 60}}"#,
            "auth.refresh_expire_seconds",
        ),
        (r#"{"auth": {"signing_kid": "a"}}"#, "auth.signing_kid"),
        (r#"{"auth": {"keys": [{"kid": "a"}]}}"#, "auth.keys[0].secret"),
        (
            r#"{"auth": {"keys": [{"kid": "a", "algorithm": "RS265"}]}}"#,
            "auth.keys[0].algorithm",
        ),
        (
            r#"{"auth": {"keys": [{"kid": "a", "algorithm": "RS256"}]}}"#,
            "auth.keys[0].public_key_file",
        ),
        (r#"{"auth": {"admin_keys": ["sha256:12"]}}"#, "auth.admin_keys[0]"),
        (
            r#"{"auth": {"secret_key": "a", "jwt_secret": "b"}}"#,
            "auth.secret_key",
        ),
        (r#"{"logging": {"level": "inof"}}"#, "logging.level"),
        (
            r#"{"logging": {"max_file_size": "100 buckets"}}"#,
            "logging.max_file_size",
        ),
        (r#"{"services": {"user": {"port": 0}}}"#, "services.user.port"),
        (
            r#"{"services": {"extra_service": {"host": "a"}}}"#,
            "services.extra_service.port",
        ),
        (
            r#"{"services": {"user": {"endpoints": ["https://a:1"]}}}"#,
            "services.user.endpoints[0]",
        ),
        (
            r#"{"services": {"user": {"endpoints": ["http://a:1"], "port": 2}}}"#,
            "services.user",
        ),
        (r#"{"storage": "redis7"}"#, "storage"),
        (
            r#"{"cors": {"allowed_origins": ["https://a.example/chat"]}}"#,
            "cors.allowed_origins[0]",
        ),
        (
            r#"{"delivery": {"push_ack_timeout_ms": 0}}"#,
            "delivery.push_ack_timeout_ms",
        ),
    ] {
        let paths: Vec<String> = told(main_file(text).load(&[], &[]))
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(paths, [path], "{text}");
    }
}

#[test]
fn routes_that_cannot_be_are_refused() {
    for (text, path) in [
        (r#"{"routes": {"20-10": {"handler": "user"}}}"#, "routes.20-10"),
        (
            r#"{"routes": {"10-20": {"handler": "user"}, "15-30": {"handler": "user"}}}"#,
            "routes.15-30",
        ),
        (
            r#"{"routes": {"7": {"handler": "user"}, "07": {"handler": "user"}}}"#,
            "routes.7",
        ),
        (r#"{"routes": {"7": {}}}"#, "routes.7.handler"),
        (r#"{"routes": {"7": {"handler": 5}}}"#, "routes.7.handler"),
        (
            r#"{"routes": {"7": {"handler": "user", "timeout_ms": 0}}}"#,
            "routes.7.timeout_ms",
        ),
        (
            r#"{"routes": {"7": {"handler": "user", "sensitivity": "publik"}}}"#,
            "routes.7.sensitivity",
        ),
        (
            r#"{"load_balancing": {"strategy": "random"}}"#,
            "load_balancing.strategy",
        ),
        (
            r#"{"http_routes": [{"path": "api", "cmd_id": 5}]}"#,
            "http_routes[0].path",
        ),
    ] {
        let folder = Folder::new(&[("gateway_config.json", "{}"), ("router_config.json", text)]);
        let paths: Vec<String> = told(folder.load(&[], &[]))
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(paths, [path], "{text}");
    }
}

#[test]
fn a_files_routes_replace_default_ones_or_all_of_them() {
    let routes = |text| {
        let folder = Folder::new(&[("gateway_config.json", "{}"), ("router_config.json", text)]);
        let router = folder.load(&[], &[]).unwrap().config.router;
        router
            .routes
            .iter()
            .map(|rule| (rule.key(), rule.handler.to_string()))
            .collect::<Vec<_>>()
    };
    let before = Config::defaults().router.routes.len();
    let laid = routes(r#"{"routes": {"2001-2999": {"handler": "push"}, "9001": {"handler": "user_ask"}}}"#);
    assert_eq!(laid.len(), before + 1);
    assert!(laid.contains(&("2001-2999".to_owned(), "push".to_owned())));
    assert!(!laid.contains(&("2001-2999".to_owned(), "message".to_owned())));
    let alone = routes(r#"{"default_routes": false, "routes": {"9001": {"handler": "user"}}}"#);
    assert_eq!(alone, [("9001".to_owned(), "user".to_owned())]);
}

#[test]
fn http_routes_parse_and_refuse_the_start() {
    let text = r#"{"http_routes": [{"method": "GET", "path": "/api/x", "cmd_id": 2002}]}"#;
    let folder = Folder::new(&[("gateway_config.json", "{}"), ("router_config.json", text)]);
    let config = folder.load(&[], &[]).unwrap().config;
    assert!(
        config
            .check_startable(false)
            .iter()
            .any(|problem| problem.path == "http_routes")
    );
    assert!(config.check_startable(true).is_empty());
}

#[test]
fn what_is_of_a_cluster_refuses_the_start_without_one_and_is_warned_of_in_development() {
    let text = r#"{"auth": {"jwt_secret": "01234567890123456789012345678901"},
        "cluster": {"secret": "01234567890123456789012345678901", "events": {"enabled": true}, "rebalance": {"enabled": true}}}"#;
    let folder = Folder::new(&[("gateway_config.json", text)]);
    let loaded = folder.load(&[], &[]).unwrap();
    let paths = ["cluster.events.enabled", "cluster.rebalance.enabled"];
    let problems = loaded.config.check_startable(false);
    assert_eq!(
        problems
            .iter()
            .map(|problem| problem.path.as_str())
            .collect::<Vec<_>>(),
        paths
    );
    for path in paths {
        assert!(loaded.warnings.iter().any(|warning| warning.path == path));
    }
    assert!(loaded.config.check_startable(true).is_empty());
    let shared = folder.load(&[("GATEWAY__STORAGE", "redis")], &[]).unwrap().config;
    assert!(shared.check_startable(false).is_empty());
}

#[test]
fn weak_secrets_refuse_the_start_outside_development_only() {
    for (secret, starts) in [
        ("your_secret_key", false),
        ("your-secret-key-but-made-longer-than-32", false),
        ("0123456789012345678901234567890", false),
        ("01234567890123456789012345678901", true),
        ("", false),
    ] {
        let config = Folder::new(&[])
            .load(&[("GATEWAY__AUTH__JWT_SECRET", secret)], &[])
            .unwrap()
            .config;
        let problems = config.check_startable(false);
        assert_eq!(problems.is_empty(), starts, "{secret}");
        assert!(secret.is_empty() || !format!("{problems:?}").contains(secret));
        assert!(config.check_startable(true).is_empty());
    }
}

#[test]
fn no_secret_is_shown_by_errors_debug_print_or_difference() {
    const SECRET: &str = "hunter2hunter2hunter2hunter2hunter2";
    let env = [
        ("GATEWAY__AUTH__JWT_SECRET", SECRET),
        ("GATEWAY__AUTH__ADMIN_KEYS", SECRET),
        ("GATEWAY__CLUSTER__SECRET", SECRET),
        ("REDIS_HOST", "redis"),
        ("REDIS_PASSWORD", SECRET),
    ];
    let folder = Folder::new(&[]);
    let loaded = folder.load(&env, &[]).unwrap();
    let shown = effective_json(&loaded.config).to_string();
    assert!(shown.contains("(hidden)") && !shown.contains(SECRET));
    assert!(!format!("{loaded:?}").contains(SECRET));
    let options = LoadOptions {
        env: vec![("GATEWAY__AUTH__JWT_SECRET".into(), SECRET.into())],
        ..Default::default()
    };
    assert!(!format!("{options:?}").contains(SECRET));

    let other = folder
        .load(&[("GATEWAY__AUTH__JWT_SECRET", "another")], &[])
        .unwrap();
    let same = folder
        .load(&[("GATEWAY__AUTH__JWT_SECRET", SECRET)], &[])
        .unwrap();
    let changes = difference(&other.config, &same.config);
    assert_eq!(
        changes
            .iter()
            .map(|change| change.path.as_str())
            .collect::<Vec<_>>(),
        ["auth.jwt_secret"]
    );
    assert!(!format!("{changes:?}").contains(SECRET));

    for (name, text) in [
        ("GATEWAY__AUTH__JWT_SECRETT", SECRET),
        ("GATEWAY__AUTH__JWT_SECRET__X", SECRET),
        ("GATEWAY__AUTH", SECRET),
        ("GATEWAY__SERVER__HTTP_PORT", SECRET),
        ("GATEWAY__SERVER__HOST", SECRET),
        ("GATEWAY__AUTH__KEYS", SECRET),
        ("GATEWAY__AUTH____X", SECRET),
    ] {
        let errors = folder.load(&[(name, text)], &[]).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains(SECRET), "{errors}");
        assert!(errors.to_string().contains(name), "{errors}");
    }
    let wrong = main_file(&format!(r#"{{"auth": {{"jwt_secret": ["{SECRET}"]}}}}"#));
    assert!(!wrong.load(&[], &[]).unwrap_err().to_string().contains(SECRET));
}

#[test]
fn the_reference_has_every_key_of_the_three_files() {
    let text = reference_markdown();
    for path in [
        "server.http_port",
        "auth.keys[].kid",
        "services.*.endpoints",
        "platforms.*.required_role",
        "routes.*.timeout_ms",
        "load_balancing.backend_servers",
        "http_routes[].path",
        "storage",
    ] {
        assert!(text.contains(&format!("`{path}`")), "{path}");
    }
    assert!(
        text.contains("| `auth.session_timeout_seconds` | seconds, 1 to 3600 | `30` |"),
        "{text}"
    );
}

#[test]
fn a_services_port_from_the_environment_wins_over_the_files_endpoints_and_the_other_way_round() {
    for (file, name, text, expected) in [
        (
            r#"{"endpoints": ["http://far:1", "http://far:2"]}"#,
            "GATEWAY__SERVICES__USER__PORT",
            "7",
            "http://far:7",
        ),
        (
            r#"{"host": "far", "port": 1}"#,
            "GATEWAY__SERVICES__USER__ENDPOINTS",
            "near:7",
            "http://near:7",
        ),
        (
            r#"{"host": "far", "port": 1}"#,
            "GATEWAY__SERVICES__USER__PORT",
            "7",
            "http://far:7",
        ),
    ] {
        let folder = main_file(&format!(r#"{{"services": {{"user": {file}}}}}"#));
        let config = folder.load(&[(name, text)], &[]).unwrap().config;
        let shown: Vec<String> = config.services["user"]
            .endpoints
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, [expected]);
    }
}
