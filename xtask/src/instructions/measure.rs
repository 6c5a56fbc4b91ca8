//! Runs the benchmarks under valgrind and reads what gungraun has written down about each.
//!
//! gungraun is two programs that have to be of one version: the library inside the benchmarks, which `Cargo.lock` fixes,
//! and the runner, which is installed here into the target folder.
//!
//! The benchmarks are built as a release is, but without optimisation at link time, which takes four times as long after
//! a change: counts are 0 to 7 % higher than those of `cargo bench --bench instructions`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::figures::Figures;
use crate::workspace::{Workspace, cargo, check, once};

/// The crates that have a benchmark `instructions`.
const CRATES: [&str; 4] = ["gateway-codec", "gateway-conn", "gateway-net", "gateway-router"];
const BENCHMARK: &str = "instructions";
/// Only instructions are looked at, so caches need not be simulated; and they are the same on a busy core.
const OPTIONS: [&str; 4] = [
    "--save-summary=json",
    "--callgrind-metrics=ir",
    "--callgrind-args=--cache-sim=no",
    "--parallel=auto",
];

/// What gungraun writes about one benchmark; of schema 7, what is needed of it.
#[derive(Deserialize)]
struct Summary {
    version: String,
    package_dir: PathBuf,
    group: String,
    function_name: String,
    id: Option<String>,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(rename = "Ir")]
    instructions: Option<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    values: Values,
}

#[derive(Deserialize)]
struct Values {
    new: u64,
}

/// The instructions of every benchmark.
pub(super) fn all(workspace: &Workspace) -> Result<Figures> {
    let programs = runner(workspace)?;
    let results = workspace.scratch("gungraun")?;
    // What was measured before may be of benchmarks that are gone.
    std::fs::remove_dir_all(&results).with_context(|| format!("clearing {}", results.display()))?;
    let mut command = workspace.command(cargo());
    command.args(["bench", "--bench", BENCHMARK]);
    command.args(CRATES.iter().flat_map(|name| ["--package", name]));
    command.arg("--").args(OPTIONS).arg("--home").arg(&results);
    command.env("CARGO_PROFILE_BENCH_LTO", "false");
    command.env("PATH", first(&programs)?).stderr(Stdio::inherit());
    let output = command.output().context("cargo bench could not be started")?;
    if !output.status.success() {
        bail!(
            "{}\ncargo bench: {}",
            String::from_utf8_lossy(&output.stdout),
            output.status
        );
    }
    let mut figures = Figures::default();
    read_all(&results, &mut figures)?;
    ensure!(figures.count() > 0, "no summaries in {}", results.display());
    Ok(figures)
}

/// The folder with the runner, which is installed if it is not there.
fn runner(workspace: &Workspace) -> Result<PathBuf> {
    let lock = std::fs::read_to_string(workspace.root().join("Cargo.lock")).context("Cargo.lock")?;
    let version = locked(&lock, "gungraun").context("Cargo.lock names no gungraun")?;
    let folder = workspace.scratch("tools")?;
    once(&folder, version, || {
        let build = folder.join("build");
        let mut install = workspace.command(cargo());
        install.args(["install", "--locked", "gungraun-runner", "--version", version]);
        // It waits for valgrind most of the time: what counts is that it is there soon.
        install.args(["--debug", "--force", "--root"]).arg(&folder);
        install
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_TARGET_DIR", &build);
        check(&mut install)?;
        std::fs::remove_dir_all(&build).with_context(|| format!("clearing {}", build.display()))
    })?;
    Ok(folder.join("bin"))
}

/// The version of a package in a lock file.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let named = format!("name = \"{package}\"");
    let mut after = lock.lines().skip_while(|line| *line != named);
    after.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

/// `PATH` with this folder before all others.
fn first(folder: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).context("PATH")
}

fn read_all(folder: &Path, figures: &mut Figures) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, figures)?;
        } else if path.file_name().is_some_and(|name| name == "summary.json") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let (name, instructions) = read(&text).with_context(|| format!("{}", path.display()))?;
            ensure!(
                figures.add(name.clone(), instructions),
                "two benchmarks are called {name}"
            );
        }
    }
    Ok(())
}

/// A benchmark's name, `crate/group/function/case`, and its instructions.
fn read(text: &str) -> Result<(String, u64)> {
    let summary: Summary = serde_json::from_str(text)?;
    ensure!(summary.version == "7", "schema {} and not 7", summary.version);
    let package = summary
        .package_dir
        .file_name()
        .context("no package")?
        .to_string_lossy();
    let mut name = format!("{package}/{}/{}", summary.group, summary.function_name);
    if let Some(id) = summary.id {
        name = format!("{name}/{id}");
    }
    let metric = summary
        .profiles
        .into_iter()
        .find_map(|profile| profile.data.total.metrics.instructions);
    Ok((name, metric.context("no instructions")?.values.new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_as_gungraun_writes_it() {
        let summary = r#"{"version":"7","package_dir":"crates/gateway-codec","group":"decode","function_name":"json",
            "id":"short","module_path":"instructions::decode::json","profiles":[{"tool":"Callgrind","data":{"parts":[],
            "total":{"metrics":{"Ir":{"values":{"new":2039}}},"regressions":[]}}}]}"#;
        let (name, instructions) = read(summary).unwrap();
        assert_eq!(
            (name.as_str(), instructions),
            ("gateway-codec/decode/json/short", 2039)
        );
        assert!(read(&summary.replace("Ir", "Dr")).is_err());
        assert!(read(&summary.replace("\"7\"", "\"8\"")).is_err());
    }

    #[test]
    fn the_locked_version_is_that_of_the_very_package() {
        let lock = "[[package]]\nname = \"gungraun-runner\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"gungraun\"\nversion = \"0.20.0\"\nsource = \"registry\"\n";
        assert_eq!(locked(lock, "gungraun"), Some("0.20.0"));
        assert_eq!(locked(lock, "gung"), None);
    }

    #[test]
    fn the_folder_comes_before_all_others() {
        let path = first(Path::new("/somewhere/bin")).unwrap();
        assert_eq!(env::split_paths(&path).next(), Some("/somewhere/bin".into()));
    }
}
