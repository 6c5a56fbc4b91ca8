//! Reloads: what is inside the configuration folder, and what changes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use gateway_config::{LoadOptions, Loaded, ReloadError, ReloadSection, load, reload_section};
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
