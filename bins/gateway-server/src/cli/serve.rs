//! `gateway-server serve`: builds the gateway, says where it listens, serves until a signal.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use gateway_auth::{Random, SystemRandom};
use gateway_config::{Config, LoadOptions, Loaded, OriginPattern, Secret};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::gateway::{Addresses, Gateway, GatewayError};

/// Threads for HTTP, gRPC and the like; clients' sockets have workers of their own.
const SERVICE_THREADS: usize = 2;

pub(super) fn serve(loaded: Loaded, folder: PathBuf, options: LoadOptions) -> ExitCode {
    let dev = options.dev;
    if let Err(error) = crate::logging::start(&loaded.config.logging, &loaded.config.telemetry.service_name) {
        return super::fail(&error);
    }
    if loaded.config.auth.revocation_file.is_none() && !dev {
        tracing::warn!("auth.revocation_file is not set: logouts are forgotten at a restart");
    }
    match gateway_net::raise_file_limit() {
        Ok(limit) => tracing::info!(
            sockets = limit.sockets(),
            "the file limit allows this many sockets and files"
        ),
        Err(error) => tracing::warn!(%error, "the file limit could not be raised"),
    }
    let prometheus = recorder();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .thread_name("service")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    match runtime.block_on(run(loaded, folder, options, prometheus)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the gateway has failed");
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    loaded: Loaded,
    folder: PathBuf,
    options: LoadOptions,
    prometheus: Option<PrometheusHandle>,
) -> Result<(), GatewayError> {
    let mut builder = Gateway::builder(loaded.config)
        .config_folder(folder)
        .loaded_with(options);
    if let Some(prometheus) = prometheus {
        builder = builder.prometheus(prometheus);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // From here on a hang-up does not end the process any more, whatever phase it is in.
    let mut hangup = signal(SignalKind::hangup())?;
    let gateway = builder.build().await?;
    let handle = gateway.handle();
    let addresses = gateway.addresses();
    // Nobody has to listen: a closed standard output is no reason not to serve.
    let _ = tell(&addresses, &mut std::io::stdout());
    let stop = CancellationToken::new();
    let serving = gateway.run(stop.clone());
    tokio::pin!(serving);
    loop {
        tokio::select! {
            result = &mut serving => return result,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => {
                tracing::info!("hang-up: the configuration is read again");
                handle.reload().await;
            }
        }
    }
    stop.cancel();
    tokio::select! {
        result = &mut serving => result,
        // A second signal ends at once.
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// One line per listener.
fn tell(addresses: &Addresses, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "websocket listening on {}", addresses.websocket)?;
    writeln!(out, "http listening on {}", addresses.http)?;
    writeln!(out, "grpc listening on {}", addresses.grpc)?;
    if let Some(operations) = addresses.operations {
        writeln!(out, "metrics listening on {operations}")?;
    }
    out.flush()
}

/// `--dev` makes up a signing secret; what it signs is worth nothing after a restart. Clients' sockets are plain, whatever
/// certificates are configured, and pages of every origin may call.
pub(super) fn complete_for_dev(config: &mut Config) {
    config.server.ssl_enabled = false;
    config.cors.allowed_origins = vec![OriginPattern::Any];
    let auth = &mut config.auth;
    if auth.jwt_secret.is_none() && (auth.keys.is_empty() || auth.signing_kid.is_none()) {
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        auth.jwt_secret = Some(Secret::new(hex));
    }
}

/// Installs the process's recorder; without one `/metrics` says so and everything else works.
fn recorder() -> Option<PrometheusHandle> {
    match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::error!(%error, "no figures for Prometheus");
            None
        }
    }
}
