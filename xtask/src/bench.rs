//! `cargo xtask bench`: how far the gateway is from what is physically there.
//!
//! Every figure is a ratio to a baseline from the same minutes of the same machine, measured in turn (A B A B), because
//! absolute figures drift by a third here. CPU time is the scheduler's own count of the server's threads; the server
//! is pinned to one core and the load to another. The result is a table, `docs/performance.json`, and the table in
//! `docs/performance.md`. [`rig`] starts things, [`rows`] knows what is measured and what it should reach, [`table`]
//! writes it down.

mod rig;
mod rows;
mod syscalls;
mod table;

use anyhow::{Result, ensure};
use clap::Args;

use self::rig::Rig;
use self::rows::Row;
use crate::tools;
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Options {
    /// Once instead of five times, a second each; leaves out the rows that take long. Under three minutes.
    #[arg(long)]
    quick: bool,
    /// Only these rows, such as 1,3,6.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<u32>,
    /// Write the result into docs/; other rows stay as they are there.
    #[arg(long)]
    write: bool,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    pub(crate) quick: bool,
}

/// Builds, measures row after row, and prints the table.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    tools::ensure(&[tools::MAKE, tools::STRACE, tools::TASKSET])?;
    let effort = if options.quick {
        Effort {
            rounds: 1,
            seconds: 1,
            quick: true,
        }
    } else {
        Effort {
            rounds: 5,
            seconds: 4,
            quick: false,
        }
    };
    let rows: Vec<Row> = Row::ALL
        .into_iter()
        .filter(|row| match options.rows.as_slice() {
            [] => !(options.quick && row.takes_long()),
            wanted => wanted.contains(&row.number()),
        })
        .collect();
    ensure!(!rows.is_empty(), "there are rows 1 to {}", Row::ALL.len());
    let mut rig = Rig::build(workspace)?;
    let mut lines = Vec::new();
    for row in rows {
        eprintln!("row {}: {}", row.number(), row.title());
        for line in row.measure(&mut rig, effort)? {
            eprintln!("  {line}");
            lines.push(line);
        }
    }
    let result = table::Outcome::of(workspace, options.quick, lines)?;
    println!("{}", result.markdown());
    if options.write {
        result.write(workspace)?;
    }
    Ok(())
}
