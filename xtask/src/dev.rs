//! `cargo xtask dev`: everything a newcomer needs to see two people talk, in one command.

use std::net::IpAddr;

use anyhow::{Context, Result};
use clap::Args;

use crate::ports::Ports;
use crate::programs::{Additions, Programs};
use crate::signals::StopSignals;
use crate::supervise::Echo;
use crate::workspace::Workspace;
use crate::{build, conversation, tools};

#[derive(Args)]
pub(crate) struct Options {
    /// Eight ports from this one on (WebSocket, HTTP, gRPC, five services) instead of 8080–8082 and 9001–9005.
    #[arg(long, value_name = "PORT", conflicts_with = "any_port")]
    port_base: Option<u16>,
    /// Any eight free ports.
    #[arg(long)]
    any_port: bool,
    /// The address to listen on. The accounts have well-known passwords: leave it at loopback where others can reach you.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Do not pass on what the two programs print.
    #[arg(long)]
    quiet: bool,
}

/// Builds, starts, shows, waits. Ends well at SIGINT, SIGTERM or SIGHUP; with an error when one program dies.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let ports = match options.port_base {
        Some(base) => Ports::from_base(options.host, base)?,
        None if options.any_port => Ports::any(options.host)?,
        None => Ports::standard(options.host),
    };
    // Before the build, which may take minutes.
    ports.check_free()?;
    tools::ensure(&[tools::MAKE])?;
    build::programs(workspace)?;
    let echo = if options.quiet { Echo::Keep } else { Echo::Print };
    runtime()?.block_on(serve(workspace, ports, echo))
}

/// A runtime on this thread alone.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")
}

async fn serve(workspace: &Workspace, ports: Ports, echo: Echo) -> Result<()> {
    // Before the children exist: from here on no signal can end us without ending them.
    let mut stop = StopSignals::listen()?;
    let mut programs = Programs::start(workspace, ports, echo, Additions::default())?;
    let outcome = tokio::select! {
        outcome = programs.ready() => outcome,
        () = stop.heard() => return finish(programs).await,
    };
    if let Err(error) = outcome {
        // Whichever is still there goes too; what matters is why the start failed.
        let _ = programs.stop().await;
        return Err(error);
    }
    println!("{}", conversation::invitation(workspace, programs.ports())?);
    tokio::select! {
        death = programs.died() => {
            let _ = programs.stop().await;
            death
        }
        () = stop.heard() => finish(programs).await,
    }
}

async fn finish(programs: Programs) -> Result<()> {
    println!("\nstopping …");
    programs.stop().await?;
    println!("stopped");
    Ok(())
}
