//! What a compiler does not check: who may depend on whom, how long files are, what they are called, whether
//! generated files are up to date, and that nothing names the machine that it was written on.

mod graph;
mod lengths;
mod names;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{codegen, conversation};

/// One file of the repository, path from its root, with its text (lossy where it is no UTF-8).
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

/// All checks; every complaint is told, then it fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let sources = sources(workspace)?;
    let mut complaints = graph::check(workspace.packages());
    complaints.extend(lengths::check(&sources));
    complaints.extend(names::check(workspace.root(), &sources));
    complaints.extend(quoted(&sources));
    if let Err(error) = codegen::run(workspace.root(), true) {
        complaints.push(format!("generated files: {error:#}"));
    }
    if complaints.is_empty() {
        println!("tidy: {} files, nothing to complain of", sources.len());
        return Ok(());
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    bail!("{} things to tidy", complaints.len());
}

/// Every file that git tracks or would track.
fn sources(workspace: &Workspace) -> Result<Vec<Source>> {
    let output = workspace
        .command("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("git could not be started")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut sources = Vec::new();
    for path in String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|path| !path.is_empty())
    {
        let full = workspace.root().join(path);
        // Deleted but still tracked, or a link to elsewhere.
        if !full.symlink_metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("reading {}", full.display()))?;
        sources.push(Source {
            path: path.into(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        });
    }
    Ok(sources)
}

/// The README's conversation is the file that the test command runs, to the letter.
fn quoted(sources: &[Source]) -> Option<String> {
    let find = |name: &str| sources.iter().find(|source| source.path == Path::new(name));
    let readme = find("README.md")?;
    let Some(conversation) = find(conversation::FILE) else {
        return Some(format!("{} is missing", conversation::FILE));
    };
    (!readme.text.contains(conversation.text.trim()))
        .then(|| format!("README.md does not quote {} to the letter", conversation::FILE))
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rs")
    }

    fn is_generated(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "generated")
            || self.text.lines().take(5).any(|line| line.contains("@generated"))
    }

    fn is_test(&self) -> bool {
        let in_tests = ["tests", "benches", "fuzz"];
        self.path
            .components()
            .any(|part| in_tests.iter().any(|name| part.as_os_str() == *name))
            || self.path.file_name().is_some_and(|name| name == "tests.rs")
    }
}
