//! System calls of a process, counted by strace while somebody else loads it.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::rig::{Gateway, Server};

/// System calls for each message that came in during `time`, by the gateway's own count of messages.
pub(crate) fn per_message(gateway: &Gateway, time: Duration) -> Result<f64> {
    let before = messages(gateway)?;
    let calls = count(&gateway.server, time)?;
    let messages = messages(gateway)? - before;
    Ok(calls / messages.max(1.0))
}

fn count(server: &Server, time: Duration) -> Result<f64> {
    let strace = Command::new("strace")
        .args(["-c", "-f", "-q", "-p", &server.pid().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting strace")?;
    sleep(time);
    let pid = strace.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status()?;
    let told = strace.wait_with_output()?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    total(&told).with_context(|| format!("strace said: {told}"))
}

/// The number of calls in the last line of strace's table.
fn total(table: &str) -> Option<f64> {
    let line = table.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Messages in so far, as the gateway's metrics say.
fn messages(gateway: &Gateway) -> Result<f64> {
    let text = super::rows::get(&gateway.http, "/metrics")?;
    text.lines()
        .find_map(|line| line.strip_prefix(r#"gateway_ws_messages_total{direction="in"} "#))
        .and_then(|value| value.trim().parse().ok())
        .context("the gateway has no count of messages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_strace() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.525847           9     54407           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    3.391190          28    118417       262 total
";
        assert_eq!(total(table), Some(118_417.0));
        assert_eq!(total("strace: attach failed"), None);
    }
}
