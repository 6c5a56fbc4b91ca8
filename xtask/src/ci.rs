//! What CI runs, in the order of how soon each step can fail.

use anyhow::Result;

use crate::build::PROFILE;
use crate::instructions;
use crate::test::{self, Steps};
use crate::workspace::{Workspace, cargo, check};

/// Format, clippy, tidy, then the test command, then instruction counts. The first failure ends it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("fmt", || {
        check(workspace.command(cargo()).args(["fmt", "--all", "--", "--check"]))
    })?;
    steps.step("clippy", || {
        check(
            workspace
                .command(cargo())
                .args([
                    "clippy",
                    "--profile",
                    PROFILE,
                    "--workspace",
                    "--all-targets",
                    "--",
                ])
                .args(["-D", "warnings"]),
        )
    })?;
    steps.step("tidy", || crate::tidy::run(workspace))?;
    if instructions::COMPARABLE {
        steps.step("valgrind", instructions::prepare)?;
    }
    test::all(workspace, &mut steps, None)?;
    if instructions::COMPARABLE {
        steps.step("instructions", || {
            instructions::run(workspace, &instructions::Options::default())
        })?;
    } else {
        println!("\ninstructions are not counted: the recorded ones are of another kind of machine");
    }
    steps.report();
    Ok(())
}
