//! Reloads: what is inside the configuration folder, and what changes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use gateway_config::{LoadOptions, Loaded, ReloadError, ReloadSection, load, reload_auth, reload_section};
use tempfile::TempDir;

const ONE: &str = r#"{"platforms": {"web": {"session_timeout": 60}}}"#;

/// A folder `config` with a main file, beside a folder `other`.
fn folders() -> (TempDir, Loaded) {
    let root = tempfile::tempdir().unwrap();
    for name in ["config", "other"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(root.path().join("other/secret.json"), ONE).unwrap();
    let main = root.path().join("config/gateway_config.json");
    fs::write(&main, "{}").unwrap();
    let loaded = load(LoadOptions {
        main: Some(main),
        ..LoadOptions::default()
    })
    .unwrap();
    (root, loaded)
}

fn outside(loaded: &Loaded, path: &Path) -> bool {
    let result = reload_section(
        &loaded.config,
        ReloadSection::PlatformStrategy,
        Some(path),
        loaded.sources.folder.as_deref().unwrap(),
    );
    matches!(result, Err(ReloadError::OutsideFolder))
}

#[test]
fn a_path_outside_the_folder_is_refused_whatever_way_it_takes() {
    let (root, loaded) = folders();
    let config = root.path().join("config");
    symlink(root.path().join("other/secret.json"), config.join("link.json")).unwrap();
    symlink(root.path().join("other"), config.join("folder")).unwrap();
    symlink(root.path().join("gone"), config.join("dangling.json")).unwrap();
    for path in [
        root.path().join("other/secret.json"),
        config.join("../other/secret.json"),
        "../other/secret.json".into(),
        "link.json".into(),
        "folder/secret.json".into(),
        "folder/gone.json".into(),
        "../other/gone.json".into(),
        "/etc/passwd".into(),
        "/no/such/file.json".into(),
    ] {
        assert!(outside(&loaded, &path), "{}", path.display());
    }
    let nowhere = reload_section(
        &loaded.config,
        ReloadSection::RouterConfig,
        Some(&config.join("gateway_config.json")),
        Path::new("/no/such/folder"),
    );
    assert!(matches!(nowhere, Err(ReloadError::OutsideFolder)));
}

#[test]
fn a_file_inside_the_folder_is_read_and_the_difference_told() {
    let (root, loaded) = folders();
    fs::create_dir(root.path().join("config/sub")).unwrap();
    fs::write(root.path().join("config/sub/new.json"), ONE).unwrap();
    for path in ["sub/new.json", "sub/../sub/new.json"] {
        let reloaded = reload_section(
            &loaded.config,
            ReloadSection::PlatformStrategy,
            Some(Path::new(path)),
            loaded.sources.folder.as_deref().unwrap(),
        )
        .unwrap();
        assert_eq!(reloaded.config.platforms.platforms.len(), 1);
        let paths: Vec<&str> = reloaded
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .collect();
        assert!(
            paths.contains(&"platforms.web.session_timeout") && paths.contains(&"platforms.admin"),
            "{paths:?}"
        );
    }
}

#[test]
fn without_a_file_the_defaults_are_taken_and_nothing_differs() {
    let (_root, loaded) = folders();
    for section in [ReloadSection::PlatformStrategy, ReloadSection::RouterConfig] {
        let reloaded = reload_section(
            &loaded.config,
            section,
            None,
            loaded.sources.folder.as_deref().unwrap(),
        )
        .unwrap();
        assert_eq!(reloaded.changes, []);
        assert!(reloaded.file.is_none());
    }
}

#[test]
fn the_file_beside_the_main_one_is_found_when_none_is_named() {
    let (root, loaded) = folders();
    let text =
        r#"{"routes": {"9001": {"handler": "user"}}, "load_balancing": {"backend_servers": ["http://a:1"]}}"#;
    fs::write(root.path().join("config/router_config.json"), text).unwrap();
    let reloaded = reload_section(
        &loaded.config,
        ReloadSection::RouterConfig,
        None,
        loaded.sources.folder.as_deref().unwrap(),
    )
    .unwrap();
    assert!(
        reloaded
            .changes
            .iter()
            .any(|change| change.path == "router.routes.9001")
    );
    assert_eq!(reloaded.warnings[0].path, "load_balancing.backend_servers");
}

#[test]
fn a_wrong_or_missing_file_inside_the_folder_is_told_with_its_place() {
    let (root, loaded) = folders();
    fs::write(
        root.path().join("config/bad.json"),
        r#"{"platforms": {"web": {"max_devices": 0}}}"#,
    )
    .unwrap();
    for (path, expected) in [
        ("bad.json", "platforms.web.max_devices"),
        ("gone.json", "cannot be read"),
    ] {
        let error = reload_section(
            &loaded.config,
            ReloadSection::PlatformStrategy,
            Some(Path::new(path)),
            loaded.sources.folder.as_deref().unwrap(),
        )
        .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(error, ReloadError::Invalid(_)));
    }
}

#[test]
fn a_file_named_at_start_is_read_again_when_none_is_named() {
    let (root, loaded) = folders();
    let named = root.path().join("other/secret.json");
    let main = loaded.sources.main.clone();
    let loaded = load(LoadOptions {
        main,
        platform_strategy: Some(named.clone()),
        ..LoadOptions::default()
    })
    .unwrap();
    fs::write(&named, ONE.replace("60", "61")).unwrap();
    let folder = root.path().join("config");
    let reloaded = reload_section(&loaded.config, ReloadSection::PlatformStrategy, None, &folder).unwrap();
    let paths: Vec<&str> = reloaded
        .changes
        .iter()
        .map(|change| change.path.as_str())
        .collect();
    assert_eq!(paths, ["platforms.web.session_timeout"]);
}

const OLD: &str = "an old secret of the tests, of 32 bytes";
const NEW: &str = "a new secret of the tests, of 32 bytes";

/// Options over a main file with this `auth`.
fn with_auth(root: &TempDir, auth: &str) -> LoadOptions {
    let main = root.path().join("config/gateway_config.json");
    fs::write(
        &main,
        format!(r#"{{"auth": {auth}, "server": {{"http_port": 1}}}}"#),
    )
    .unwrap();
    LoadOptions {
        main: Some(main),
        ..LoadOptions::default()
    }
}

#[test]
fn of_the_main_file_only_the_keys_are_taken_and_no_secret_is_told() {
    let (root, _) = folders();
    let options = with_auth(&root, &format!(r#"{{"jwt_secret": "{OLD}"}}"#));
    let loaded = load(options.clone()).unwrap();
    let keys = format!(
        r#"{{"jwt_secret": "{NEW}", "keys": [{{"kid": "k", "secret": "{OLD}"}}], "signing_kid": "k",
            "admin_keys": ["an-admin-key"], "token_expire_seconds": 60}}"#
    );
    let options = with_auth(&root, &keys);
    fs::write(
        options.main.as_ref().unwrap(),
        fs::read_to_string(options.main.as_ref().unwrap())
            .unwrap()
            .replace("\"http_port\": 1", "\"http_port\": 2"),
    )
    .unwrap();
    let reloaded = reload_auth(&loaded.config, &options).unwrap();
    let paths: Vec<&str> = reloaded
        .changes
        .iter()
        .map(|change| change.path.as_str())
        .collect();
    let changed = [
        "auth.admin_keys",
        "auth.jwt_secret",
        "auth.keys",
        "auth.signing_kid",
    ];
    assert_eq!(paths, changed);
    let told = format!("{:?}", reloaded.changes);
    for secret in [OLD, NEW, "an-admin-key"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(reloaded.config.server.http_port, 1);
    assert_eq!(reloaded.config.auth.token_expire.as_secs(), 86_400);
    assert_eq!(reloaded.config.auth.jwt_secret.unwrap().expose(), NEW);
    let again = reload_auth(&load(options.clone()).unwrap().config, &options).unwrap();
    assert!(again.changes.is_empty());
}

#[test]
fn keys_that_must_not_be_used_and_a_file_that_does_not_hold_are_refused() {
    let (root, _) = folders();
    let loaded = load(with_auth(&root, &format!(r#"{{"jwt_secret": "{OLD}"}}"#))).unwrap();
    for (auth, place) in [
        (r#"{"jwt_secret": "short"}"#, "auth.jwt_secret"),
        ("{}", "auth.jwt_secret"),
        (r#"{"jwt_secret": "your_secret_key"}"#, "auth.jwt_secret"),
        (r#"{"signing_kid": "gone"}"#, "auth.signing_kid"),
        (r#"{"jwt_secrets": ""}"#, "auth.jwt_secrets"),
        ("{", "line"),
    ] {
        let error = reload_auth(&loaded.config, &with_auth(&root, auth)).unwrap_err();
        assert!(error.to_string().contains(place), "{auth}: {error}");
    }
    // A secret made at the start of a development server is not lost.
    let dev = LoadOptions {
        dev: true,
        ..with_auth(&root, "{}")
    };
    let kept = reload_auth(&loaded.config, &dev).unwrap();
    assert_eq!(kept.config.auth.jwt_secret.unwrap().expose(), OLD);
    // The environment and flags stand over the file, as at the start.
    let flagged = LoadOptions {
        env: vec![("GATEWAY__AUTH__JWT_SECRET".to_owned(), NEW.to_owned())],
        ..with_auth(&root, &format!(r#"{{"jwt_secret": "{OLD}"}}"#))
    };
    let flagged = reload_auth(&loaded.config, &flagged).unwrap();
    assert_eq!(flagged.config.auth.jwt_secret.unwrap().expose(), NEW);
}
