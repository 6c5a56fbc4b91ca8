//! What the start would stumble over, found without starting: files that are named and cannot be used, keys that do not fit.
//!
//! Each part is tried by the function that the start uses, so that both agree. No socket is bound, nothing is connected to,
//! and no file is written. What only the running program can know (a port in use, a disk that fills) is not looked for.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use gateway_auth::{ApiKeys, Authenticator, Clock as _, EmbeddedTokenStore, SystemClock, SystemRandom};
use gateway_config::{ApiKey, Auth, Config, Problem, Storage};
use gateway_conn::PolicyTable;

use crate::tls::Certificates;

/// Everything that keeps a gateway from starting with this configuration; empty if nothing does. Reads files; blocks.
#[must_use]
pub fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    certificates(config, &mut problems);
    api_keys(&config.auth, &mut problems);
    tokens(config, &mut problems);
    if let (Storage::Redis, Some(redis)) = (config.storage, &config.redis)
        && let Err(error) = gateway_redis::check(redis)
    {
        problems.push(problem("redis", &error));
    }
    if let Err(error) = crate::logging::filter(&config.logging) {
        problems.push(problem("logging.level", &error));
    }
    if let Err(error) = PolicyTable::new(&config.platforms) {
        problems.push(problem("platforms", &error));
    }
    problems
}

fn problem(path: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// Those of the listeners for clients and of the gRPC listener apart, so that both are told.
fn certificates(config: &Config, problems: &mut Vec<Problem>) {
    let mut clients = config.clone();
    clients.server.grpc_tls = None;
    let mut grpc = config.clone();
    grpc.server.ssl_enabled = false;
    for (path, part) in [("server.ssl_cert_path", clients), ("server.grpc_tls", grpc)] {
        if let Err(error) = Certificates::load(&part) {
            problems.push(problem(path, &error));
        }
    }
}

fn api_keys(auth: &Auth, problems: &mut Vec<Problem>) {
    for (name, keys) in [
        ("admin_keys", &auth.admin_keys),
        ("service_keys", &auth.service_keys),
    ] {
        for (index, key) in keys.iter().enumerate() {
            if let ApiKey::File(_) = key
                && let Err(error) = ApiKeys::load(&Auth {
                    admin_keys: vec![key.clone()],
                    ..Auth::default()
                })
            {
                problems.push(problem(&format!("auth.{name}[{index}]"), &error));
            }
        }
    }
}

fn tokens(config: &Config, problems: &mut Vec<Problem>) {
    let clock = Arc::new(SystemClock);
    // Without the file, which would be made.
    let tried = EmbeddedTokenStore::new(None, clock.now()).and_then(|store| {
        Authenticator::with_store(&config.auth, Arc::new(store), clock, Arc::new(SystemRandom))
    });
    if let Err(error) = tried {
        problems.push(problem("auth.keys", &error));
    }
    if config.storage == Storage::Embedded
        && let Some(file) = &config.auth.revocation_file
        && let Err(error) = appendable(file)
    {
        let path = "auth.revocation_file";
        problems.push(problem(
            path,
            &format!("cannot write {}: {error}", file.display()),
        ));
    }
}

/// Whether a file can be appended to, or made; as far as can be told without making it.
fn appendable(file: &Path) -> std::io::Result<()> {
    if file.exists() {
        return OpenOptions::new().read(true).append(true).open(file).map(drop);
    }
    let folder = file.ancestors().skip(1).find(|folder| folder.exists());
    match folder {
        Some(folder) if !folder.is_dir() => Err(std::io::ErrorKind::NotADirectory.into()),
        Some(folder) if folder.metadata()?.permissions().readonly() => {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
        // No ancestor: the working folder.
        _ => Ok(()),
    }
}
