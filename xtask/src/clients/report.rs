//! What each client reported, as a table, and whether it suffices.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

/// The steps of the conversation, in their order. Every client reports each of them, done or skipped.
const STEPS: [&str; 11] = [
    "header",
    "query",
    "subprotocol",
    "login",
    "messages",
    "fragmented",
    "large",
    "ping",
    "idle",
    "resume",
    "close",
];

/// Steps that only clients of the HTTP API report.
const MORE_STEPS: [&str; 1] = ["http"];

/// One step that a client reported: done, or skipped with a reason.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Done,
    Skipped(String),
}

/// What came of one conversation.
#[derive(Debug)]
pub(super) struct Outcome {
    client: String,
    proxy: Option<&'static str>,
    steps: BTreeMap<String, Step>,
    /// Why this client cannot run here.
    absent: Option<String>,
    failures: Vec<String>,
    output: String,
    took: Duration,
}

impl Outcome {
    pub(super) fn of(client: &str, proxy: Option<&'static str>) -> Self {
        Self {
            client: client.to_owned(),
            proxy,
            steps: BTreeMap::new(),
            absent: None,
            failures: Vec::new(),
            output: String::new(),
            took: Duration::ZERO,
        }
    }

    /// A worker that ended without an outcome.
    pub(super) fn broken(error: &dyn fmt::Display) -> Self {
        let mut outcome = Self::of("xtask", None);
        outcome.fail(error.to_string());
        outcome
    }

    pub(super) fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }

    pub(super) fn took(&mut self, took: Duration) {
        self.took = took;
    }

    /// Reads a driver's lines, each after the child's name and a bar. A step that is missing is a failure.
    pub(super) fn read(&mut self, output: &str) {
        for line in output.lines() {
            let line = line.split_once(" | ").map_or(line, |(_, line)| line);
            let mut words = line.splitn(3, ' ');
            let (kind, step) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let rest = words.next().unwrap_or_default();
            match kind {
                "ok" => drop(self.steps.insert(step.to_owned(), Step::Done)),
                "skip" => drop(self.steps.insert(step.to_owned(), Step::Skipped(rest.to_owned()))),
                "absent" => self.absent = Some(line.trim_start_matches("absent ").to_owned()),
                "FAILED" => self.failures.push(line.to_owned()),
                _ => {}
            }
        }
        self.output = output.to_owned();
        if self.absent.is_none() && self.failures.is_empty() {
            let missing = STEPS.iter().filter(|step| !self.steps.contains_key(**step));
            let missing: Vec<&str> = missing.copied().collect();
            if !missing.is_empty() {
                self.fail(format!("reported nothing of {}", missing.join(", ")));
            }
            if !self.steps.values().any(|step| *step == Step::Done) {
                self.fail("skipped every step".to_owned());
            }
        }
    }

    fn passed(&self) -> bool {
        self.failures.is_empty() && self.absent.is_none()
    }

    fn label(&self) -> String {
        match self.proxy {
            Some(proxy) => format!("{} via {proxy}", self.client),
            None => self.client.clone(),
        }
    }

    /// The steps skipped, by reason.
    fn skipped_steps(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (step, what) in &self.steps {
            if let Step::Skipped(reason) = what {
                reasons.entry(reason).or_default().push(step);
            }
        }
        reasons
    }

    fn row(&self) -> String {
        let cells = STEPS.iter().chain(&MORE_STEPS).map(|step| {
            let cell = match self.steps.get(*step) {
                Some(Step::Done) => "ok",
                Some(Step::Skipped(_)) => "-",
                None => "",
            };
            format!("{cell:^width$}", width = step.len())
        });
        let cells: Vec<String> = cells.collect();
        let verdict = if self.passed() { "" } else { "FAILED" };
        let row = format!("  {:<31}{}  {verdict}", self.label(), cells.join(" "));
        row.trim_end().to_owned()
    }
}

/// One line, for when the conversation has ended.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (label, took) = (self.label(), self.took);
        match (&self.absent, self.failures.first()) {
            (_, Some(failure)) => write!(f, "FAILED {label} after {took:.1?}: {failure}"),
            (Some(reason), None) => write!(f, "skip   {label}: {reason}"),
            (None, None) => write!(f, "ok     {label} in {took:.1?}"),
        }
    }
}

/// All outcomes, and what did not run.
#[derive(Default)]
pub(super) struct Report {
    outcomes: Vec<Outcome>,
    skipped: Vec<(String, String)>,
}

impl Report {
    /// Notes a client or proxy that cannot run here.
    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push((name.to_owned(), reason.to_owned()));
    }

    pub(super) fn add(&mut self, outcomes: impl IntoIterator<Item = Outcome>) {
        for outcome in outcomes {
            match outcome.absent.clone() {
                Some(reason) if outcome.failures.is_empty() => self.skip(&outcome.label(), &reason),
                _ => self.outcomes.push(outcome),
            }
        }
    }

    pub(super) fn print(&mut self) {
        self.outcomes
            .sort_by_key(|outcome| (outcome.proxy, outcome.client.clone()));
        let columns: Vec<&str> = STEPS.iter().chain(&MORE_STEPS).copied().collect();
        println!("\n  {:<31}{}", "client", columns.join(" "));
        for outcome in &self.outcomes {
            println!("{}", outcome.row());
        }
        println!("\nsteps that a library cannot do:");
        for outcome in self.outcomes.iter().filter(|outcome| outcome.proxy.is_none()) {
            for (reason, steps) in outcome.skipped_steps() {
                println!("  {} {}: {reason}", outcome.client, steps.join(", "));
            }
        }
        for (name, reason) in &self.skipped {
            println!("not run: {name}: {reason}");
        }
        println!("{} clients ran, {} did not", self.clients(), self.skipped.len());
    }

    /// Clients that held the conversation directly and passed.
    fn clients(&self) -> usize {
        let direct = |outcome: &&Outcome| outcome.proxy.is_none() && outcome.passed();
        self.outcomes.iter().filter(direct).count()
    }

    /// Fails if a conversation failed, or if fewer than `at_least` clients ran.
    pub(super) fn verdict(&self, at_least: Option<usize>) -> Result<()> {
        let failed: Vec<String> = self
            .outcomes
            .iter()
            .filter(|outcome| !outcome.passed())
            .map(|outcome| format!("{outcome}\n{}", outcome.output))
            .collect();
        ensure!(
            failed.is_empty(),
            "{} conversations failed:\n{}",
            failed.len(),
            failed.join("\n")
        );
        let at_least = at_least.unwrap_or(0);
        ensure!(
            self.clients() >= at_least,
            "{} clients ran, fewer than the {at_least} that have to",
            self.clients()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &str) -> Outcome {
        let mut outcome = Outcome::of("some", None);
        outcome.read(lines);
        outcome
    }

    fn complete() -> String {
        STEPS.iter().map(|step| format!("some | ok {step}\n")).collect()
    }

    #[test]
    fn a_complete_report_passes() {
        let mut report = Report::default();
        report.add([outcome(&complete().replace("ok ping", "skip ping it has none"))]);
        assert_eq!(report.clients(), 1);
        report.verdict(Some(1)).unwrap();
        assert!(report.outcomes[0].row().contains(" -  "));
    }

    #[test]
    fn a_driver_that_stops_early_fails_though_its_exit_code_is_0() {
        let mut report = Report::default();
        report.add([outcome("some | ok header\n")]);
        let told = report.verdict(None).unwrap_err().to_string();
        assert!(told.contains("reported nothing of query"), "{told}");
    }

    #[test]
    fn a_driver_that_skips_everything_fails() {
        let skipped = complete().replace("ok ", "skip ");
        assert!(!outcome(&skipped).passed());
    }

    #[test]
    fn a_failure_is_told_with_the_output() {
        let mut report = Report::default();
        report.add([outcome("some | ok header\nsome | FAILED query: closed\n")]);
        let told = report.verdict(None).unwrap_err().to_string();
        assert!(
            told.contains("FAILED query: closed") && told.contains("ok header"),
            "{told}"
        );
    }

    #[test]
    fn too_few_clients_fail_where_a_number_is_asked_for() {
        let mut report = Report::default();
        report.add([outcome(&complete()), outcome("some | absent too old a Node.js\n")]);
        report.skip("other", "no Go");
        assert_eq!((report.clients(), report.skipped.len()), (1, 2));
        report.verdict(None).unwrap();
        assert!(report.verdict(Some(2)).is_err());
    }

    #[test]
    fn what_went_through_a_proxy_counts_as_no_client() {
        let mut report = Report::default();
        let mut through = Outcome::of("some", Some("nginx"));
        through.read(&complete());
        report.add([through]);
        assert_eq!(report.clients(), 0);
    }
}
