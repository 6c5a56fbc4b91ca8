//! Where the repository and its build output are, as cargo itself says, and what cargo knows of the crates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The repository that this program was built from.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One declared dependency; `path` tells those inside the workspace.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

impl Workspace {
    /// Asks cargo in which one the caller stands: this program may have been built for another clone that has the same
    /// target folder. Fails where cargo does, or where its answer cannot be read.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cargo could not be started")?;
        if !output.status.success() {
            bail!("cargo metadata failed");
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata's answer")?;
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            packages: metadata.packages,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// A folder of our own under cargo's target folder; made if missing.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// A program that [`crate::build::programs`] has built.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target
            .join(crate::build::PROFILE)
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Where programs built for release are.
    pub(crate) fn release(&self) -> PathBuf {
        self.target.join("release")
    }

    /// A command that runs in the repository's root, reads nothing and writes to our own output.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }
}

/// The cargo that runs us, so that a `+toolchain` is kept.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Runs a command to its end. Fails with the command's words when it did not succeed.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let told = format!("{command:?}").replace('"', "");
    let status = command
        .status()
        .with_context(|| format!("{told} could not be started"))?;
    if !status.success() {
        bail!("{told}: {status}");
    }
    Ok(())
}

/// Does `install` unless it has been done for this very version, which a file in `folder` records.
pub(crate) fn once(folder: &Path, version: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = folder.join("installed-version");
    if std::fs::read_to_string(&mark).is_ok_and(|found| found == version) {
        return Ok(());
    }
    install()?;
    std::fs::write(&mark, version).with_context(|| format!("writing {}", mark.display()))
}
