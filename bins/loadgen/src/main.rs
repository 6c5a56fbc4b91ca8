//! Pressure for MyChat Gateway: many clients that behave as real ones do, and latencies that can be believed.
//!
//! ```text
//! scenario ── orders ──▶ fleet ── JSON lines ──▶ worker (a process, a thread, 18,000 sockets) ──▶ gateway
//!    │                     ◀── counts, ticks ──                                            or ──▶ baseline
//!    └─ servers: CPU and memory of the processes under load                 source ── pushes ──▶
//! ```
//! A closed loop has a fixed number of messages under way; an open one has fixed moments, and latencies count from
//! there, however late a message could really go out. Everything is bounded in number and in time.

mod baseline;
mod clock;
mod fleet;
mod frame;
mod intake;
mod limits;
mod measure;
mod options;
mod orders;
mod report;
mod scenario;
mod servers;
mod source;
mod strangers;
mod worker;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::options::{Cli, Command, Common};
use crate::report::Report;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked; whether anything came about at all.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Worker => worker::run().map(|()| true),
        Command::Baseline { kind, listen } => baseline::run(kind, listen).map(|()| true),
        scenario => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("starting a runtime")?;
            let (common, report) = runtime.block_on(scenario::run(scenario))?;
            tell(&common, &report)?;
            Ok(report.is_alive())
        }
    }
}

fn tell(common: &Common, report: &Report) -> Result<()> {
    print!("{report}");
    if let Some(path) = &common.json {
        let json = serde_json::to_string_pretty(report).context("writing the report as JSON")?;
        std::fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &common.html {
        std::fs::write(path, report::page(report)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
