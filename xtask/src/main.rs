//! The project's own commands, so that a newcomer, CI and an editor all run the same thing.
//!
//! `cargo xtask dev` starts everything, `test` runs everything, `ci` is what CI runs. Written in Rust because
//! the one thing that every machine with this repository has is cargo. It holds no product code.

mod bench;
mod build;
mod ci;
mod clients;
mod codegen;
mod conversation;
mod dev;
mod instructions;
mod pasted;
mod ports;
mod programs;
mod signals;
mod supervise;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and start mock-service and gateway-server, show how to talk to them, stop both at Ctrl-C.
    Dev(dev::Options),
    /// Install what the tests need, then run all of them.
    Test(test::Options),
    /// What CI runs: format, clippy, tidy, all tests, then instruction counts.
    Ci,
    /// Count the instructions of the hot paths, and compare with what is recorded.
    Instructions(instructions::Options),
    /// Measure the gateway against what is physically there.
    Bench(bench::Options),
    /// Check the crate graph, file lengths, names, generated files and machine paths.
    Tidy,
    /// Write the generated files.
    Codegen {
        /// Write nothing; fail where a generated file is not what would be written.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Dev(options) => dev::run(&workspace, &options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::Ci => ci::run(&workspace),
        Command::Instructions(options) => instructions::run(&workspace, &options),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Tidy => tidy::run(&workspace),
        Command::Codegen { check } => codegen::run(workspace.root(), check),
    }
}
