//! The samples of both requirement documents, verbatim, and those that the project ships.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_config::{
    Config, Handler, LoadOptions, Loaded, LocalHandler, Sensitivity, Storage, difference, load,
};

fn sample(path: &str) -> PathBuf {
    // Tests run in the folder of their package.
    Path::new("tests/samples").join(path)
}

fn load_main(path: PathBuf) -> Loaded {
    load(LoadOptions {
        main: Some(path),
        ..LoadOptions::default()
    })
    .unwrap_or_else(|errors| panic!("{errors}"))
}

fn warned(loaded: &Loaded) -> Vec<&str> {
    loaded
        .warnings
        .iter()
        .map(|warning| warning.path.as_str())
        .collect()
}

#[test]
fn the_three_files_of_the_gateway_requirement_load_as_they_stand() {
    let loaded = load_main(sample("002/gateway_config.json"));
    let config = &loaded.config;
    assert_eq!(
        (config.server.websocket_port, config.server.http_port),
        (8080, 8081)
    );
    assert!(config.server.ssl_enabled);
    assert_eq!(
        config.server.ssl_cert_path.as_deref(),
        Some(Path::new("/path/to/cert.pem"))
    );
    let redis = config.redis.as_ref().unwrap();
    assert_eq!(
        (redis.host.as_str(), redis.port, redis.db, redis.pool_size),
        ("localhost", 6379, 0, 10)
    );
    assert!(redis.password.is_none());
    assert_eq!(config.storage, Storage::Redis);
    assert_eq!(
        config.auth.jwt_secret.as_ref().unwrap().expose(),
        "your_secret_key"
    );
    assert_eq!(config.auth.token_expire, Duration::from_secs(86_400));
    assert_eq!(config.auth.session_timeout, Duration::from_secs(30));
    assert_eq!(config.logging.max_file_size.as_bytes(), 100_000_000);
    assert_eq!(config.logging.max_files, 10);

    assert_eq!(
        config.platforms.platforms.keys().collect::<Vec<_>>(),
        ["android", "desktop", "ios", "web"]
    );
    let android = config.platforms.get("android").unwrap();
    assert!(android.allow_multiple_devices && android.notify_on_new_login);
    assert_eq!(android.max_devices.unwrap().get(), 3);
    let web = config.platforms.get("web").unwrap();
    assert!(!web.allow_multiple_devices && web.kick_existing_on_login && web.max_devices.is_none());
    assert_eq!(web.session_timeout, Duration::from_secs(1_800));

    let rule = |cmd: u32| {
        config
            .router
            .routes
            .iter()
            .find(|rule| rule.commands == (cmd..=cmd))
            .unwrap()
    };
    assert_eq!(rule(1001).handler, Handler::Local(LocalHandler::Login));
    assert_eq!(
        (rule(1001).retry_count, rule(1001).sensitivity),
        (3, Sensitivity::Public)
    );
    assert_eq!(rule(2001).handler.to_string(), "message");
    assert_eq!(
        (rule(2001).timeout, rule(2001).retry_count),
        (Duration::from_secs(3), 1)
    );
    assert_eq!(
        rule(4).handler,
        Handler::Local(LocalHandler::RefreshToken),
        "the default table lies below"
    );
    let user = &config.services["user"];
    let shown: Vec<String> = user.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["http://backend1:8080", "http://backend2:8080"]);

    assert_eq!(
        warned(&loaded),
        [
            "auth.jwt_secret",
            "cluster.secret",
            "logging.file_path",
            "load_balancing.backend_servers"
        ]
    );
    let problems = config.check_startable(false);
    assert_eq!(problems.len(), 2);
    assert!(
        problems[1]
            .message
            .contains("nodes that share a Redis prove themselves by it")
    );
    assert!(config.check_startable(true).is_empty());
}

#[test]
fn the_sample_of_the_project_requirement_loads_with_its_other_names() {
    let loaded = load_main(sample("000/gateway_config.json"));
    let config = &loaded.config;
    assert_eq!(
        (config.server.http_port, config.server.websocket_port),
        (8080, 8081)
    );
    assert_eq!(
        (config.server.worker_threads, config.server.max_connections),
        (4, 10_000)
    );
    assert_eq!(
        config.auth.jwt_secret.as_ref().unwrap().expose(),
        "your-secret-key"
    );
    assert_eq!(
        config.services["user"].endpoints[0].to_string(),
        "http://127.0.0.1:9001"
    );
    assert_eq!(
        config.services["message"].endpoints[0].to_string(),
        "http://127.0.0.1:9002"
    );
    assert_eq!(config.services.len(), 5);
    assert_eq!(config.storage, Storage::Redis);
    assert_eq!(
        config.platforms.get("admin").unwrap().required_role.as_deref(),
        Some("admin")
    );
    assert_eq!(warned(&loaded), ["auth.jwt_secret", "cluster.secret"]);
}

#[test]
fn the_fragments_of_the_gateway_requirement_load_too() {
    let loaded = load(LoadOptions {
        main: Some(sample("002/logging_rotation.json")),
        platform_strategy: Some(sample("002/platform_strategy_short.json")),
        ..LoadOptions::default()
    })
    .unwrap();
    assert!(loaded.config.logging.rotate_daily);
    assert_eq!(loaded.config.platforms.platforms.len(), 2);
}

#[test]
fn the_files_that_the_project_ships_are_the_defaults_and_lack_only_the_secret() {
    let folder = Path::new("../../config");
    let loaded = load_main(folder.join("gateway_config.json"));
    assert_eq!(difference(&Config::defaults(), &loaded.config), []);
    assert_eq!(warned(&loaded), ["auth.jwt_secret"]);
    assert!(loaded.sources.platform_strategy.is_some() && loaded.sources.router_config.is_some());
}
