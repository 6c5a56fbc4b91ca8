//! Pressure for MyChat Gateway: many clients that behave as real ones do, and latencies that can be believed.
//!
//! Load is open: a message has a moment at which it is meant to be sent, and its latency counts from there, however
//! late it could really go out. What a slow gateway makes wait is thereby in the figures and not left out of them.
//! Everything is bounded in number and in time. It tests whatever it is pointed at: point it at your own.

mod live;
mod measure;
mod options;
mod pace;
mod people;
mod report;
mod scenario;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::options::Cli;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenario; whether anything came about at all.
fn run(cli: &Cli) -> Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let run = scenario::run(cli, stop.clone());
        tokio::pin!(run);
        let report = tokio::select! {
            report = &mut run => report?,
            signal = tokio::signal::ctrl_c() => {
                signal.context("listening for Ctrl-C")?;
                eprintln!("stopping early; the report covers what was done");
                stop.cancel();
                run.await?
            }
        };
        print!("{report}");
        if let Some(path) = &cli.settings().json {
            let json = serde_json::to_string_pretty(&report).context("writing the report as JSON")?;
            std::fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(report.is_alive())
    })
}
