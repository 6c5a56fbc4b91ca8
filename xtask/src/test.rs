//! `cargo xtask test`: all tests there are, from one command, on a machine where nothing was prepared.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, PROFILE};
use crate::workspace::{Workspace, cargo, check};
use crate::{clients, pasted};

#[derive(Args)]
pub(crate) struct Options {
    /// Only this step (after building): cargo, clients or dev.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

const STEPS: [&str; 3] = ["cargo", "clients", "dev"];

/// Runs everything, or the one step asked for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    all(workspace, &mut steps, options.only.as_deref())?;
    steps.report();
    Ok(())
}

/// The test steps; the first failure ends them.
pub(crate) fn all(workspace: &Workspace, steps: &mut Steps, only: Option<&str>) -> Result<()> {
    if let Some(name) = only
        && !STEPS.contains(&name)
    {
        bail!("no step {name:?}: there are {}", STEPS.join(", "));
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    steps.step("tools", || {
        let mut needed = vec![crate::tools::MAKE];
        if wanted("cargo") {
            needed.extend([crate::tools::REDIS, crate::tools::OPENSSL]);
        }
        if wanted("dev") {
            needed.extend([crate::tools::NODE, crate::tools::CURL]);
        }
        crate::tools::ensure(&needed)
    })?;
    // Tests of the real programs find them in cargo's target folder, so they come first.
    steps.step("build", || build::programs(workspace))?;
    if wanted("cargo") {
        steps.step("cargo test", || {
            check(
                workspace
                    .command(cargo())
                    .args(["test", "--profile", PROFILE, "--workspace"]),
            )
        })?;
    }
    if wanted("clients") {
        steps.step("clients and proxies", || clients::run(workspace))?;
    }
    if wanted("dev") {
        steps.step("dev and its conversation", || pasted::run(workspace))?;
    }
    Ok(())
}

/// The steps done so far with their times.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs one step and says how long it took; its error names it.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n==> {name}");
        let started = Instant::now();
        work().with_context(|| format!("step {name:?} failed after {:.1?}", started.elapsed()))?;
        let took = started.elapsed();
        println!("==> {name}: ok in {took:.1?}");
        self.done.push((name, took));
        Ok(())
    }

    /// All times once more, at the end.
    pub(crate) fn report(&self) {
        println!("\nall steps passed:");
        for (name, took) in &self.done {
            println!("  {name:<26} {took:>8.1?}");
        }
    }
}
