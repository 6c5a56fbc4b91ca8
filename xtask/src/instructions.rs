//! `cargo xtask instructions`: holds the instructions that the hot paths take against recorded figures.
//!
//! Times on a shared machine differ by more than what a careless change costs. Counts under callgrind are the same in
//! each run, but for hash maps with random keys, which make up to 2 % where there are many. They are those of one
//! processor family, one system and one compiler: where one of them changes, and after a change that is meant, `--record`
//! writes them anew.

mod figures;
mod measure;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::figures::{Comparison, Figures};
use crate::tools::{self, VALGRIND};
use crate::workspace::Workspace;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Write what was measured as the figures to be held from now on.
    #[arg(long)]
    record: bool,
}

/// Where the figures are, from the repository's root.
const RECORD: &str = "xtask/instructions.json";

/// Whether the figures are of this kind of machine.
pub(crate) const COMPARABLE: bool = cfg!(all(target_arch = "x86_64", target_os = "linux"));

/// Installs what is needed, which `ci` does early: what fails here needs nothing that was built.
pub(crate) fn prepare() -> Result<()> {
    tools::ensure(&[VALGRIND])
}

/// Measures, and compares or records.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !COMPARABLE {
        bail!("the figures are those of x86-64 Linux");
    }
    prepare()?;
    let measured = measure::all(workspace)?;
    let path = workspace.root().join(RECORD);
    if options.record {
        measured.write(&path)?;
        println!("{RECORD}: {} figures", measured.count());
        return Ok(());
    }
    let recorded = Figures::read(&path).with_context(|| format!("{RECORD} (written by --record)"))?;
    let comparison = Comparison::of(&recorded, &measured);
    println!("{comparison}");
    if comparison.has_better() {
        println!("better than recorded: keep it so with `cargo xtask instructions --record`");
    }
    if comparison.fails() {
        bail!(
            "instruction counts are not as recorded in {RECORD}. What is meant to be so, or comes with another \
             compiler, is recorded by `cargo xtask instructions --record`"
        );
    }
    Ok(())
}
