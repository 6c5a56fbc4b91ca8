//! Public WebSocket clients against the real programs, directly and through reverse proxies.
//!
//! Each client holds the conversation of `tests/clients/python/conversation.py`: the three ways to pass a token, 1,000
//! messages each way, fragments, 1 MiB, pings, resume, a close code. Packages have fixed versions and go into the target
//! folder. A client whose toolchain is missing and cannot be installed is skipped with its reason.

mod proxies;
mod report;
mod runtimes;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::proxies::Proxy;
use self::report::{Outcome, Report};
use self::runtimes::{Launcher, Runtime};
use crate::ports::Ports;
use crate::programs::{Additions, Keys, Programs};
use crate::signals::StopSignals;
use crate::supervise::{Echo, Supervised};
use crate::workspace::Workspace;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long one conversation may take.
const WITHIN: Duration = Duration::from_secs(120);
/// Conversations at once. Each is silent for 6 s of its 8, so two processors have room for this many.
const AT_ONCE: usize = 4;
/// How many clients have to run in CI.
const AT_LEAST: usize = 10;

/// The clients, by what runs them.
const CLIENTS: [(Runtime, &[&str]); 8] = [
    (
        Runtime::Python,
        &["websockets", "websocket-client", "aiohttp", "tornado", "autobahn"],
    ),
    (Runtime::Qt, &["qt"]),
    (
        Runtime::Node,
        &["ws", "websocket", "faye-websocket", "undici", "node", "wscat"],
    ),
    (Runtime::Go, &["gorilla", "coder", "gobwas", "x-net"]),
    (Runtime::Java, &["java.net.http", "okhttp", "java-websocket"]),
    (Runtime::Curl, &["curl"]),
    (Runtime::Chromium, &["chromium"]),
    (Runtime::Firefox, &["firefox"]),
];
/// Those that also go through each proxy.
const THROUGH_PROXIES: [&str; 3] = ["websockets", "ws", "curl"];

/// One conversation to hold.
struct Job {
    client: &'static str,
    proxy: Option<&'static str>,
    command: Command,
}

/// Installs what can be installed, holds every conversation, prints the table.
///
/// Fails if a conversation failed, and in CI (`CI=true`) also if fewer than ten clients ran.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut report = Report::default();
    let mut prepared: Vec<(&'static str, Launcher)> = Vec::new();
    for (runtime, clients) in CLIENTS {
        match runtime.prepare(workspace) {
            Ok(launcher) => prepared.extend(clients.iter().map(|client| (*client, launcher.clone()))),
            Err(error) => {
                for client in clients {
                    report.skip(client, &format!("{error:#}"));
                }
            }
        }
    }
    let mut installed = Vec::new();
    for proxy in Proxy::ALL {
        match proxy.install() {
            Ok(()) => installed.push(proxy),
            Err(error) => report.skip(proxy.name(), &format!("{error:#}")),
        }
    }
    crate::dev::runtime()?.block_on(hold_all(workspace, &prepared, &installed, &mut report))?;
    report.print();
    report.verdict(
        std::env::var("CI")
            .is_ok_and(|ci| ci == "true")
            .then_some(AT_LEAST),
    )
}

async fn hold_all(
    workspace: &Workspace,
    prepared: &[(&'static str, Launcher)],
    installed: &[Proxy],
    report: &mut Report,
) -> Result<()> {
    let mut stop = StopSignals::listen()?;
    let conversations = prepared.len() + installed.len() * THROUGH_PROXIES.len();
    let additions = Additions {
        accounts: 2 * conversations,
        config: sections(),
    };
    let mut programs = Programs::start(workspace, Ports::any(LOOPBACK)?, Echo::Keep, additions)?;
    tokio::select! {
        ready = programs.ready() => ready?,
        () = stop.heard() => bail!("interrupted"),
    }
    let mut running = Vec::new();
    for proxy in installed {
        running.push(proxy.start(workspace, programs.ports()).await?);
    }

    let (websocket, http) = (programs.ports().websocket_url(), programs.ports().http_url());
    let mut jobs = VecDeque::new();
    let mut add =
        |client: &(&'static str, Launcher), proxy: Option<&'static str>, websocket: &str, http: &str| {
            let command = command(workspace, client, jobs.len(), programs.keys(), websocket, http);
            jobs.push_back(Job {
                client: client.0,
                proxy,
                command,
            });
        };
    for client in prepared {
        add(client, None, &websocket, &http);
    }
    for proxy in &running {
        let through = |client: &&(&str, Launcher)| THROUGH_PROXIES.contains(&client.0);
        for client in prepared.iter().filter(through) {
            add(
                client,
                Some(proxy.name()),
                &proxy.websocket_url(),
                &proxy.http_url(),
            );
        }
    }

    let (interrupt, interrupted) = watch::channel(false);
    let mut workers = start_workers(jobs, &interrupted);
    let ended = tokio::select! {
        () = collect(&mut workers, report) => Ok(()),
        death = programs.died() => death,
        () = stop.heard() => Err(anyhow::anyhow!("interrupted")),
    };
    // Every child is stopped, however this went: some have children of their own.
    let _ = interrupt.send(true);
    collect(&mut workers, report).await;
    for proxy in running {
        proxy.stop().await?;
    }
    ended?;
    programs.stop().await
}

/// Short pings, so that a client which does not answer them is found in seconds; any page may call.
fn sections() -> serde_json::Map<String, Value> {
    let sections = [
        ("limits", json!({ "ping_interval_seconds": 2 })),
        ("cors", json!({ "allowed_origins": ["*"] })),
    ];
    sections
        .into_iter()
        .map(|(name, section)| (name.to_owned(), section))
        .collect()
}

/// The command of one conversation, with two accounts of its own.
fn command(
    workspace: &Workspace,
    (client, launcher): &(&'static str, Launcher),
    number: usize,
    keys: &Keys,
    websocket: &str,
    http: &str,
) -> Command {
    let mut command = launcher.command(workspace, client);
    command
        .env("GATEWAY_WS", websocket)
        .env("GATEWAY_HTTP", http)
        .env("GATEWAY_ADMIN_KEY", &keys.admin)
        .env("GATEWAY_SERVICE_KEY", &keys.service)
        .env("CLIENT_USER", format!("user{}", 2 * number + 1))
        .env("CLIENT_PEER", format!("user{}", 2 * number + 2));
    command
}

type Workers = JoinSet<Vec<Outcome>>;

/// Workers that share the jobs. Each ends when no job is left, or when it is interrupted.
fn start_workers(jobs: VecDeque<Job>, interrupted: &watch::Receiver<bool>) -> Workers {
    let jobs = Arc::new(Mutex::new(jobs));
    let mut workers = Workers::new();
    for _ in 0..AT_ONCE {
        let (jobs, interrupted) = (Arc::clone(&jobs), interrupted.clone());
        workers.spawn(async move {
            let mut outcomes = Vec::new();
            while !*interrupted.borrow() {
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(job) = next else { break };
                let outcome = hold(job, interrupted.clone()).await;
                println!("{outcome}");
                outcomes.push(outcome);
            }
            outcomes
        });
    }
    workers
}

async fn collect(workers: &mut Workers, report: &mut Report) {
    while let Some(outcomes) = workers.join_next().await {
        match outcomes {
            Ok(outcomes) => report.add(outcomes),
            Err(error) => report.add([Outcome::broken(&error)]),
        }
    }
}

/// Holds one conversation.
async fn hold(job: Job, mut interrupted: watch::Receiver<bool>) -> Outcome {
    let started = Instant::now();
    let mut outcome = Outcome::of(job.client, job.proxy);
    let mut child = match Supervised::start(job.client, job.command, Echo::Keep) {
        Ok(child) => child,
        Err(error) => {
            outcome.fail(format!("{error:#}"));
            return outcome;
        }
    };
    let ended = tokio::select! {
        status = child.ended() => match status {
            Ok(status) if status.success() => None,
            Ok(status) => Some(status.to_string()),
            Err(error) => Some(format!("{error:#}")),
        },
        () = sleep(WITHIN) => Some(format!("did not end in {} s", WITHIN.as_secs())),
        _ = interrupted.wait_for(|interrupted| *interrupted) => Some("interrupted".to_owned()),
    };
    if let Some(failure) = ended {
        // Does nothing to one that has ended.
        let stopped = child.stop().await;
        outcome.fail(failure);
        if let Err(error) = stopped {
            outcome.fail(format!("{error:#}"));
        }
    }
    outcome.read(&child.last_output());
    outcome.took(started.elapsed());
    outcome
}
