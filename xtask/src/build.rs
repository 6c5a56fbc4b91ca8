//! Building the programs: always with the one profile that clippy and the tests use, so that nothing is built twice.

use anyhow::Result;

use crate::workspace::{Workspace, cargo, check};

/// The profile of every build made here. `release` is for measuring only.
pub(crate) const PROFILE: &str = "ci";

/// Builds all programs of the workspace. The whole workspace is named because cargo would otherwise choose
/// other features for shared dependencies, and build them again for the tests.
pub(crate) fn programs(workspace: &Workspace) -> Result<()> {
    check(
        workspace
            .command(cargo())
            .args(["build", "--profile", PROFILE, "--workspace", "--bins"]),
    )
}
