//! The result, for readers and for machines.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::rig::line_of;
use super::rows::Line;
use crate::workspace::Workspace;

/// Between these lines of `docs/performance.md` stands the table.
const BEGIN: &str = "<!-- cargo xtask bench: begin -->";
const END: &str = "<!-- cargo xtask bench: end -->";

#[derive(Serialize, Deserialize)]
pub(crate) struct Outcome {
    machine: String,
    kernel: String,
    rustc: String,
    commit: String,
    date: String,
    quick: bool,
    lines: Vec<Line>,
}

impl Outcome {
    pub(crate) fn of(workspace: &Workspace, quick: bool, lines: Vec<Line>) -> Result<Self> {
        let cores = std::thread::available_parallelism()?;
        let model = line_of(Path::new("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown CPU".into());
        let memory = line_of(Path::new("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kibibytes: f64 = memory
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .unwrap_or(0.0);
        let commit = said(
            workspace,
            "git",
            &["describe", "--always", "--dirty", "--exclude=*"],
        );
        Ok(Self {
            machine: format!("{cores} cores, {model}, {:.0} GiB", kibibytes / 1_048_576.0),
            kernel: said(workspace, "uname", &["-sr"]),
            rustc: said(workspace, "rustc", &["--version"]),
            commit,
            date: said(workspace, "date", &["-u", "+%F"]),
            quick,
            lines,
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let Self {
            machine,
            kernel,
            rustc,
            commit,
            date,
            ..
        } = self;
        let how = if self.quick {
            "one round, quick"
        } else {
            "median of five, in turn with the baseline"
        };
        let mut text = format!(
            "{date} · commit {commit} · {machine} · {kernel} · {rustc} · {how}\n\n\
             | # | what | measured | aim | reached | made of |\n|---|---|---|---|---|---|\n"
        );
        for line in &self.lines {
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} |\n",
                line.row,
                line.what,
                line.shown(),
                line.aimed(),
                line.reached(),
                line.detail
            ));
        }
        text
    }

    /// Into `docs/performance.json`, and into its place in `docs/performance.md`. Rows that were not measured this time
    /// stay as they are there.
    pub(crate) fn write(mut self, workspace: &Workspace) -> Result<()> {
        let docs = workspace.root().join("docs");
        let file = docs.join("performance.json");
        if let Ok(before) = std::fs::read(&file) {
            let before: Self =
                serde_json::from_slice(&before).with_context(|| format!("reading {}", file.display()))?;
            self.keep(before.lines);
        }
        let json = serde_json::to_string_pretty(&self)?;
        std::fs::write(&file, json + "\n")?;
        let page = docs.join("performance.md");
        let text = std::fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
        let text =
            put_in(&text, &self.markdown()).context("docs/performance.md has no place for the table")?;
        std::fs::write(&page, text)?;
        Ok(())
    }
}

impl Outcome {
    /// Takes over the rows that it has not.
    fn keep(&mut self, before: Vec<Line>) {
        let measured: Vec<u32> = self.lines.iter().map(|line| line.row).collect();
        let kept = before.into_iter().filter(|line| !measured.contains(&line.row));
        self.lines.extend(kept);
        self.lines.sort_by_key(|line| line.row);
    }
}

fn put_in(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// A program's first line; empty where it has nothing to say.
fn said(workspace: &Workspace, program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .current_dir(workspace.root())
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_one_before() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nafter\n");
        let new = put_in(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(put_in("no place", "new"), None);
    }
}
