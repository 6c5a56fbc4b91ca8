//! Clients that nobody here wrote, against the real programs: Python's `websockets`, Node's `ws`, and what `dev` prints.
//!
//! Their scripts are in `tests/clients/`; the packages go into the target folder, with versions fixed, so that the
//! machine stays as it was.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::conversation::{FROM_HERE, TO_HERE};
use crate::ports::Ports;
use crate::programs::Programs;
use crate::signals::StopSignals;
use crate::supervise::{self, Echo, Supervised};
use crate::workspace::{Workspace, check};

const WEBSOCKETS: &str = "websockets==15.0.1";
const WS: &str = "ws@8.18.3";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long one script may take.
const SCRIPT_WITHIN: Duration = Duration::from_secs(120);

/// `tests/clients/python_websockets.py` in a virtual environment of its own.
pub(crate) fn python(workspace: &Workspace) -> Result<()> {
    let folder = workspace.scratch("python")?;
    let python = folder.join("bin/python3");
    once(&folder, WEBSOCKETS, || {
        check(
            workspace
                .command("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        )?;
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            WEBSOCKETS,
        ];
        check(workspace.command(&python).args(install))
    })?;
    let mut script = workspace.command(&python);
    script
        .arg(workspace.root().join("tests/clients/python_websockets.py"))
        .env("PYTHONUNBUFFERED", "1");
    against_the_programs(workspace, script)
}

/// `tests/clients/node_ws.mjs`, with the package's folder named by the environment.
pub(crate) fn node(workspace: &Workspace) -> Result<()> {
    let folder = workspace.scratch("node")?;
    once(&folder, WS, || {
        // npm installs into the nearest folder above that has one, so this has to exist.
        std::fs::write(folder.join("package.json"), "{\"private\": true}\n")
            .context("writing package.json")?;
        let install = [
            "install",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--ignore-scripts",
            WS,
        ];
        check(
            Command::new("npm")
                .args(install)
                .current_dir(&folder)
                .stdin(Stdio::null()),
        )
    })?;
    let mut script = workspace.command("node");
    script
        .arg(workspace.root().join("tests/clients/node_ws.mjs"))
        .env("CLIENT_MODULES", &folder);
    against_the_programs(workspace, script)
}

/// `cargo xtask dev` as a newcomer runs it: wait until it invites, paste what it prints into a shell, look at what
/// comes back, stop it by Ctrl-C; the exit code is 0 and nothing listens any more.
pub(crate) fn pasted(workspace: &Workspace) -> Result<()> {
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
    let ended = tokio::time::timeout(SCRIPT_WITHIN, dev.ended()).await;
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
            asked.elapsed() < SCRIPT_WITHIN,
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
    let output = tokio::time::timeout(SCRIPT_WITHIN, output)
        .await
        .context("the conversation did not end")???;
    ensure!(
        output.status.success(),
        "the pasted conversation ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a script against a fresh pair of programs, told where they are by the environment.
fn against_the_programs(workspace: &Workspace, mut script: Command) -> Result<()> {
    crate::dev::runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let mut programs = Programs::start(workspace, Ports::any(LOOPBACK)?, Echo::Keep)?;
        tokio::select! {
            ready = programs.ready() => ready?,
            () = stop.heard() => bail!("interrupted"),
        }
        script
            .env("GATEWAY_WS", programs.ports().websocket_url())
            .env("GATEWAY_HTTP", programs.ports().http_url());
        let mut script = Supervised::start("client", script, Echo::Print)?;
        let status = tokio::select! {
            status = script.ended() => status?,
            death = programs.died() => return death,
            () = stop.heard() => bail!("interrupted"),
            () = sleep(SCRIPT_WITHIN) => bail!("the client did not end in {} s", SCRIPT_WITHIN.as_secs()),
        };
        // Its last lines are printed by then.
        script.last_output();
        programs.stop().await?;
        ensure!(status.success(), "the client ended with {status}");
        Ok(())
    })
}

/// Does `install` unless it has been done for this very version.
pub(crate) fn once(
    folder: &std::path::Path,
    version: &str,
    install: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mark: PathBuf = folder.join("installed-version");
    if std::fs::read_to_string(&mark).is_ok_and(|found| found == version) {
        return Ok(());
    }
    install()?;
    std::fs::write(&mark, version).with_context(|| format!("writing {}", mark.display()))
}
