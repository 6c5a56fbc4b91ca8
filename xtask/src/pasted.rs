//! The conversation that `cargo xtask dev` prints, pasted into a shell as a newcomer would.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::conversation::{FROM_HERE, TO_HERE};
use crate::ports::Ports;
use crate::signals::StopSignals;
use crate::supervise::{self, Echo, Supervised};
use crate::workspace::Workspace;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Deadline of each wait.
const WITHIN: Duration = Duration::from_secs(120);

/// `cargo xtask dev` as a newcomer runs it: wait until it invites, paste what it prints into a shell, look at what
/// comes back, stop it by Ctrl-C; the exit code is 0 and nothing listens any more.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    crate::dev::runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let ports = Ports::any(LOOPBACK)?;
        // By its path: the build may have replaced the file that this process was started from.
        let mut dev = workspace.command(workspace.program("xtask"));
        dev.args(["dev", "--quiet", "--port-base", &ports.websocket.to_string()]);
        let mut dev = Supervised::start("dev", dev, Echo::Keep)?;
        let said = tokio::select! {
            said = converse(workspace, &mut dev) => said,
            () = stop.heard() => Err(anyhow!("interrupted")),
        };
        // However that went: it has children of its own, which only it can stop.
        let stopped = interrupt(&mut dev).await;
        let said = match (said, stopped) {
            (Ok(said), stopped) => stopped.map(|()| said)?,
            (Err(error), Ok(())) => return Err(error),
            (Err(error), Err(second)) => bail!("{error:#}; then {second:#}"),
        };
        ports.check_free().context("after dev had ended")?;
        // JSON inside a JSON string has its quotes escaped.
        let said = said.replace('\\', "");
        for (who, expected) in EXPECTED {
            let found = said
                .lines()
                .any(|line| line.starts_with(who) && line.contains(expected));
            ensure!(
                found,
                "the pasted conversation shows no line of {who:?} with {expected:?}"
            );
        }
        Ok(())
    })
}

/// What has to come out of the conversation, and on whose lines.
const EXPECTED: [(&str, &str); 5] = [
    ("alice <", "\"status\":\"offline\""),
    ("alice <", "\"status\":\"sent\""),
    ("bob <", "are you there"),
    ("bob <", "here I am"),
    ("bob <", "\"messages\":["),
];

async fn converse(workspace: &Workspace, dev: &mut Supervised) -> Result<String> {
    let block = invited(dev).await?;
    print!("{block}");
    let said = paste(workspace, &block).await?;
    println!("{said}");
    Ok(said)
}

/// Ctrl-C, and a clean end within the time that stopping may take.
async fn interrupt(dev: &mut Supervised) -> Result<()> {
    if let Some(id) = dev.id() {
        supervise::signal(id, "INT")?;
    }
    let ended = tokio::time::timeout(WITHIN, dev.ended()).await;
    let status = ended.context("dev did not stop at SIGINT")??;
    ensure!(
        status.success(),
        "dev ended with {status} at SIGINT:\n{}",
        dev.last_output()
    );
    Ok(())
}

/// Waits for the block between the two marks.
async fn invited(dev: &mut Supervised) -> Result<String> {
    let asked = Instant::now();
    loop {
        let output = dev.last_output().replace("dev | ", "");
        if let Some((_, rest)) = output.split_once(FROM_HERE)
            && let Some((block, _)) = rest.split_once(TO_HERE)
        {
            return Ok(block.trim_start().to_owned());
        }
        ensure!(
            asked.elapsed() < WITHIN,
            "dev invited nobody; its last output:\n{output}"
        );
        tokio::select! {
            status = dev.ended() => bail!("dev ended with {}:\n{}", status?, dev.last_output()),
            () = sleep(Duration::from_millis(100)) => {}
        }
    }
}

/// Gives the block to a shell as typed input, which is what pasting is: a command in it that read its input would
/// swallow the rest.
async fn paste(workspace: &Workspace, block: &str) -> Result<String> {
    let mut shell = workspace.command("sh");
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().context("starting a shell")?;
    let mut input = shell.stdin.take().context("the shell's input")?;
    input.write_all(block.as_bytes()).context("pasting")?;
    drop(input);
    let output = tokio::task::spawn_blocking(move || shell.wait_with_output());
    let output = tokio::time::timeout(WITHIN, output)
        .await
        .context("the conversation did not end")???;
    ensure!(
        output.status.success(),
        "the pasted conversation ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
