//! The real program against its own baselines: processes, sockets, reports.
#![expect(clippy::unwrap_used, reason = "a test that fails, fails")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// A baseline that ends with its test.
struct Baseline {
    child: Child,
    url: String,
}

impl Baseline {
    fn start(kind: &str) -> Self {
        let mut child = Command::new(LOADGEN)
            .args(["baseline", kind])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.strip_prefix("baseline ").unwrap().trim().to_owned();
        Self { child, url }
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn run(baseline: &Baseline, name: &str, arguments: &[&str]) -> Value {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (json, html) = (
        folder.join(format!("{name}.json")),
        folder.join(format!("{name}.html")),
    );
    let output = Command::new(LOADGEN)
        .args(arguments)
        .args(["--url", &baseline.url, "--baseline"])
        .args(["--pid", &baseline.child.id().to_string()])
        .arg("--json")
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}{:?}", output.stderr);
    assert!(words.contains("loadgen:"), "{words}");
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(
        !page.contains("<script") && !page.contains("http://"),
        "it needs nothing else"
    );
    serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
}

fn at(report: &Value, pointer: &str) -> f64 {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer}: {report}"))
}

/// Nothing was refused, nothing ended, nothing failed.
fn is_clean(report: &Value) {
    for part in ["/connections/refused", "/connections/ended", "/messages/failed"] {
        let troubles = report.pointer(part).and_then(Value::as_object);
        assert!(troubles.is_none_or(serde_json::Map::is_empty), "{part}: {report}");
    }
}

const SHORT: [&str; 6] = ["-n", "30", "--warm-up", "100ms", "--duration", "700ms"];

#[test]
fn a_closed_loop_over_two_processes_counts_every_reply() {
    let baseline = Baseline::start("echo");
    let arguments = [&["echo", "--depth", "4", "--processes", "2"], &SHORT[..]].concat();
    let report = run(&baseline, "closed", &arguments);
    is_clean(&report);
    assert!(at(&report, "/messages/answered") > 100.0, "{report}");
    assert!(at(&report, "/servers/cpu_micros_each") > 0.0);
    assert_eq!(
        (at(&report, "/own/processes"), at(&report, "/connections/held")),
        (2.0, 30.0)
    );
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let baseline = Baseline::start("hop");
    let arguments = [&["rpc", "--rate", "1000", "--encoding", "protobuf"], &SHORT[..]].concat();
    let report = run(&baseline, "open", &arguments);
    is_clean(&report);
    let answered = at(&report, "/messages/answered");
    assert!((600.0..=800.0).contains(&answered), "{report}");
}

#[test]
fn a_fan_out_reaches_everybody() {
    let baseline = Baseline::start("echo");
    let arguments = ["fanout", "-n", "30", "--burst", "3", "--times", "2"];
    let report = run(&baseline, "fanout", &arguments);
    is_clean(&report);
    assert_eq!(at(&report, "/messages/delivered"), 30.0 * 3.0 * 2.0);
}

#[test]
fn after_a_storm_all_are_back() {
    let baseline = Baseline::start("echo");
    let report = run(&baseline, "storm", &["storm", "-n", "30"]);
    is_clean(&report);
    assert_eq!(at(&report, "/connections/made"), 60.0);
    assert_eq!(at(&report, "/connections/held"), 30.0);
}

#[test]
fn strangers_come_before_a_storm_and_during_it() {
    let baseline = Baseline::start("echo");
    let arguments = ["storm", "--back-off", "--strangers", "100"];
    let report = run(&baseline, "strangers", &[&arguments[..], &SHORT].concat());
    is_clean(&report);
    assert_eq!(at(&report, "/connections/held"), 30.0);
    let figure = |name: &str| {
        let figures = report["figures"].as_array().unwrap();
        let found = figures.iter().find(|figure| figure["name"] == name);
        found.and_then(|figure| figure["value"].as_f64()).unwrap()
    };
    for when in ["before the cut", "after the cut"] {
        assert!(figure(&format!("strangers {when}")) > 1.0, "{report}");
        assert_eq!(figure(&format!("strangers refused {when}")), 0.0, "{report}");
        assert!(figure(&format!("strangers bound {when}, p99")) > 0.0, "{report}");
    }
}

#[test]
fn nobody_there_is_told_and_fails() {
    let output = Command::new(LOADGEN)
        .args([
            "connect",
            "-n",
            "3",
            "--duration",
            "0",
            "--baseline",
            "--url",
            "ws://127.0.0.1:1/",
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("no connection could be made") && told.contains("refused"),
        "{told}"
    );
}
