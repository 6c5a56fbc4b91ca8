//! The program around the library: command line, log, signals.

mod cli;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use mock_service::{MockService, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A command is a dozen small allocations made on one thread and often freed on another, which jemalloc does
/// with less time and memory than glibc.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let options = Options::from(cli::Cli::parse());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // Taken before anything is said to listen, so that a signal sent at that word ends in order.
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;

    let running = MockService::start(options).await?;
    say(&running)?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    running.stop().await;
    Ok(())
}

/// One line per service; whoever started us may be waiting for them.
fn say(running: &mock_service::Running) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for service in mock_service::ServiceKind::ALL {
        if let Some(address) = running.addresses.get(service.name()) {
            writeln!(out, "{service} service listening on {address}")?;
        }
    }
    out.flush()
}
