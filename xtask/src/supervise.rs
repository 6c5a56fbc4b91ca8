//! One child process: started in a process group of its own, its output passed on line by line, stopped by SIGTERM.
//!
//! A group of its own, because Ctrl-C in a terminal goes to every process of the foreground group: the children
//! would stop in any order, beside us. This way only xtask hears it and stops them one after the other.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

/// How many of its last lines a child is remembered by.
const TAIL: usize = 100;
/// How long a child may take from SIGTERM to its end before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// What happens to a child's lines besides being remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Printed with the child's name before them.
    Print,
    /// Shown only if the child fails.
    Keep,
}

/// How a child came to its end when it was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// By itself, with exit code 0.
    Cleanly,
    /// By itself, with another code or by a signal.
    Badly(ExitStatus),
    /// Not within the time it had: killed.
    Killed,
}

/// A running child process. Killed when dropped.
pub(crate) struct Supervised {
    name: &'static str,
    child: Child,
    tail: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Supervised {
    /// Starts the program. Must be called inside a tokio runtime.
    pub(crate) fn start(name: &'static str, command: std::process::Command, echo: Echo) -> Result<Self> {
        let mut command = Command::from(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL)));
        let mut readers = Vec::new();
        if let Some(output) = child.stdout.take() {
            readers.push(pass_on(
                name,
                std::fs::File::from(output.into_owned_fd()?),
                &tail,
                echo,
            ));
        }
        if let Some(output) = child.stderr.take() {
            readers.push(pass_on(
                name,
                std::fs::File::from(output.into_owned_fd()?),
                &tail,
                echo,
            ));
        }
        Ok(Self {
            name,
            child,
            tail,
            readers,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until the child has ended by itself. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .await
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// Its last lines, oldest first; complete once the child has ended.
    pub(crate) fn last_output(&mut self) -> String {
        if !self.is_running() {
            for reader in self.readers.drain(..) {
                // A reader that panicked has nothing more to give.
                let _ = reader.join();
            }
        }
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter()
            .map(|line| format!("{} | {line}\n", self.name))
            .collect()
    }

    /// SIGTERM, then up to 15 seconds of patience, then SIGKILL. A child that has ended already is `Badly`
    /// unless its code was 0.
    pub(crate) async fn stop(&mut self) -> Result<Stopped> {
        if self.is_running()
            && let Some(id) = self.child.id()
        {
            signal(id, "TERM")?;
        }
        match tokio::time::timeout(STOP_WITHIN, self.ended()).await {
            Ok(status) => Ok(match status? {
                status if status.success() => Stopped::Cleanly,
                status => Stopped::Badly(status),
            }),
            Err(_) => {
                self.child
                    .kill()
                    .await
                    .with_context(|| format!("killing {}", self.name))?;
                Ok(Stopped::Killed)
            }
        }
    }

    /// Its process id while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// Sends a signal by the shell's own `kill`, which every POSIX system has; a call of libc would need unsafe code.
/// In a group of its own: a second Ctrl-C must not end it before it has stopped anybody.
pub(crate) fn signal(process: u32, name: &str) -> Result<()> {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &process.to_string()]);
    crate::workspace::check(command.stdin(Stdio::null()).process_group(0))
}

/// Reads lines on a thread of its own until the child closes its end. Blocking reads, so that a burst of
/// output is never held up by what the runtime is doing; bytes that are no UTF-8 are replaced.
fn pass_on(
    name: &'static str,
    output: impl Read + Send + 'static,
    tail: &Arc<Mutex<VecDeque<String>>>,
    echo: Echo,
) -> JoinHandle<()> {
    let tail = Arc::clone(tail);
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if echo == Echo::Print {
                println!("{name} | {line}");
            }
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> std::process::Command {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_child_that_heeds_sigterm_stops_cleanly() {
        let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
        let mut child = Supervised::start("heeds", shell(script), Echo::Keep).unwrap();
        while !child.last_output().contains("up") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(child.stop().await.unwrap(), Stopped::Cleanly);
    }

    #[tokio::test]
    async fn a_child_that_dies_leaves_its_status_and_last_lines() {
        let script = "for i in 1 2 3; do echo line $i; done; echo cause >&2; exit 3";
        let mut child = Supervised::start("dies", shell(script), Echo::Keep).unwrap();
        assert_eq!(child.ended().await.unwrap().code(), Some(3));
        let output = child.last_output();
        assert!(
            output.contains("dies | line 3\n") && output.contains("dies | cause\n"),
            "{output}"
        );
        assert!(matches!(child.stop().await.unwrap(), Stopped::Badly(status) if status.code() == Some(3)));
    }

    #[tokio::test]
    async fn only_the_last_lines_are_kept() {
        let script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done";
        let mut child = Supervised::start("talks", shell(script), Echo::Keep).unwrap();
        child.ended().await.unwrap();
        let output = child.last_output();
        assert_eq!(output.lines().count(), TAIL);
        assert!(output.ends_with("line 99\n"), "{output}");
    }
}
