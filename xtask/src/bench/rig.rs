//! What is measured, running: gateways and mock-service on one core, the load on another.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::ports::Ports;
use crate::workspace::{Workspace, cargo, check};

/// The core of servers, and the core of the load.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// The services' accounts.
const ACCOUNTS: &str = "20000";

/// The programs and files of a run.
pub(crate) struct Rig {
    programs: PathBuf,
    folder: PathBuf,
    /// Runs of loadgen so far.
    loads: Cell<u32>,
}

/// A running program; ended when dropped.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

/// One gateway and where it listens.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    pub(crate) websocket: String,
    pub(crate) http: String,
    pub(crate) grpc: String,
}

/// A gateway and its back end.
pub(crate) struct Pair {
    pub(crate) gateway: Gateway,
    pub(crate) services: Server,
}

/// A baseline of loadgen.
pub(crate) struct Baseline {
    pub(crate) server: Server,
    pub(crate) url: String,
}

impl Rig {
    /// Builds for release and writes keys and folders.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        check(workspace.command(cargo()).args(["build", "--release"]).args([
            "-p",
            "gateway-server",
            "-p",
            "mock-service",
            "-p",
            "loadgen",
        ]))?;
        let folder = workspace.scratch("bench")?;
        let rig = Self {
            programs: workspace.release(),
            folder,
            loads: Cell::new(0),
        };
        for (file, byte) in [("jwt.key", "6a"), ("service.key", "73")] {
            // It guards nothing: the gateways listen on loopback for as long as a row takes.
            std::fs::write(rig.folder.join(file), byte.repeat(24))?;
        }
        Ok(rig)
    }

    fn program(&self, name: &str, core: &str) -> Command {
        let mut command = Command::new("taskset");
        command
            .args(["-c", core])
            .arg(self.programs.join(name))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn key(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// A gateway of one worker over the services at these ports.
    pub(crate) fn gateway(&self, ports: &Ports) -> Result<Gateway> {
        self.gateway_with(ports, &json!({}))
    }

    /// The same, which pings its clients once an hour.
    pub(crate) fn gateway_without_pings(&self, ports: &Ports) -> Result<Gateway> {
        self.gateway_with(ports, &json!({ "limits": { "ping_interval_seconds": 3_600 } }))
    }

    fn gateway_with(&self, ports: &Ports, more: &Value) -> Result<Gateway> {
        let jwt = std::fs::read_to_string(self.key("jwt.key"))?;
        let mut config = json!({
            "server": {
                "host": "127.0.0.1", "websocket_port": 0, "http_port": 0, "grpc_port": 0, "worker_threads": 1,
            },
            "logging": { "level": "warn" },
            "auth": { "jwt_secret": jwt, "service_keys": ["file:service.key"] },
            // As much as a benchmark has under way at once.
            "services": {
                "message": { "host": "127.0.0.1", "port": ports.services + 1, "max_in_flight": 100_000 },
            },
        });
        for (section, value) in more.as_object().into_iter().flatten() {
            config[section] = value.clone();
        }
        let file = self.folder.join(format!("gateway-{}.json", std::process::id()));
        std::fs::write(&file, config.to_string())?;
        let mut command = self.program("gateway-server", SERVER_CORE);
        command.args(["serve", "--config"]).arg(&file);
        let mut server = Server::start("gateway-server", command)?;
        let websocket = server.says("websocket listening on ")?;
        let http = server.says("http listening on ")?;
        let grpc = server.says("grpc listening on ")?;
        server.leave_unread();
        Ok(Gateway {
            server,
            websocket: format!("ws://{websocket}/ws"),
            http,
            grpc: format!("http://{grpc}"),
        })
    }

    /// The message service, on the gateways' core, and its ports.
    pub(crate) fn services(&self) -> Result<(Server, Ports)> {
        let ports = Ports::any(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let mut command = self.program("mock-service", SERVER_CORE);
        command
            .args(["--services", "message", "--accounts", ACCOUNTS])
            .args(["--base-port", &ports.services.to_string()]);
        let mut services = Server::start("mock-service", command)?;
        services.says("message service listening on ")?;
        services.leave_unread();
        Ok((services, ports))
    }

    /// A gateway and its message service: without one, what it keeps trying to fetch from there would be in the figures.
    pub(crate) fn pair(&self) -> Result<Pair> {
        let (services, ports) = self.services()?;
        let gateway = self.gateway(&ports)?;
        // Its first health check finds the service.
        sleep(Duration::from_millis(1_500));
        Ok(Pair { gateway, services })
    }

    /// A Redis that keeps nothing on disk, on the load's core, and its port.
    pub(crate) fn redis(&self) -> Result<(Server, u16)> {
        let port = Ports::any(IpAddr::V4(Ipv4Addr::LOCALHOST))?.services;
        let mut command = Command::new("taskset");
        command
            .args(["-c", LOAD_CORE, "redis-server", "--bind", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut redis = Server::start("redis-server", command)?;
        redis.says("Ready to accept connections")?;
        redis.leave_unread();
        Ok((redis, port))
    }

    /// As [`Rig::pair`], the gateway's sessions in this Redis.
    pub(crate) fn pair_on_redis(&self, port: u16) -> Result<Pair> {
        let (services, ports) = self.services()?;
        let more = json!({
            "redis": { "host": "127.0.0.1", "port": port },
            "cluster": { "secret": "of-nodes-that-live-for-one-benchmark-only" },
        });
        let gateway = self.gateway_with(&ports, &more)?;
        sleep(Duration::from_millis(1_500));
        Ok(Pair { gateway, services })
    }

    pub(crate) fn baseline(&self, kind: &str) -> Result<Baseline> {
        let mut command = self.program("loadgen", SERVER_CORE);
        command.args(["baseline", kind]);
        let mut server = Server::start("loadgen baseline", command)?;
        let url = format!("{}/", server.says("baseline ")?);
        server.leave_unread();
        Ok(Baseline { server, url })
    }

    /// A run of loadgen against a gateway, to be started or run.
    pub(crate) fn load(&self, gateway: &Gateway, arguments: &[&str]) -> Load {
        let key = self.key("jwt.key").display().to_string();
        self.against(arguments, &["--url", &gateway.websocket, "--key-file", &key])
            .watch(&gateway.server)
    }

    /// The same against a baseline.
    pub(crate) fn bare(&self, baseline: &Baseline, arguments: &[&str]) -> Load {
        self.against(arguments, &["--url", &baseline.url, "--baseline"])
            .watch(&baseline.server)
    }

    /// Where a scenario with pushes gets them from.
    pub(crate) fn service_key(&self) -> String {
        self.key("service.key").display().to_string()
    }

    fn against(&self, arguments: &[&str], target: &[&str]) -> Load {
        let mut command = self.program("loadgen", LOAD_CORE);
        let number = self.loads.get();
        self.loads.set(number + 1);
        let file = self.folder.join(format!("report-{number}.json"));
        command.args(arguments).args(target).arg("--json").arg(&file);
        Load { command, file }
    }
}

/// A run of loadgen.
pub(crate) struct Load {
    command: Command,
    /// Where its report will be.
    file: PathBuf,
}

impl Load {
    /// Has this process's CPU and memory reported too.
    pub(crate) fn watch(mut self, server: &Server) -> Self {
        self.command.args(["--pid", &server.pid().to_string()]);
        self
    }

    /// Runs it to its end and reads its report.
    pub(crate) fn run(self) -> Result<Report> {
        self.start()?.report()
    }

    /// Starts it; [`Running::report`] waits.
    pub(crate) fn start(mut self) -> Result<Running> {
        self.command.stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = self.command.spawn().context("starting loadgen")?;
        Ok(Running {
            child,
            file: self.file,
        })
    }
}

pub(crate) struct Running {
    child: Child,
    file: PathBuf,
}

impl Running {
    pub(crate) fn report(mut self) -> Result<Report> {
        let status = self.child.wait()?;
        ensure!(status.success(), "loadgen ended with {status}");
        let report = std::fs::read(&self.file).context("reading loadgen's report")?;
        std::fs::remove_file(&self.file)?;
        Ok(Report(serde_json::from_slice(&report)?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What loadgen has found.
pub(crate) struct Report(Value);

impl Report {
    /// A number by its JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Result<f64> {
        self.0
            .pointer(pointer)
            .and_then(Value::as_f64)
            .with_context(|| format!("loadgen's report has no {pointer}: {}", self.0))
    }

    /// A figure of the scenario by its name.
    pub(crate) fn figure(&self, name: &str) -> Result<f64> {
        self.0["figures"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|figure| figure["name"] == name)
            .and_then(|figure| figure["value"].as_f64())
            .with_context(|| format!("loadgen's report has no figure {name:?}"))
    }

    /// CPU microseconds of the watched processes for each reply and push. An error where anything failed: a figure
    /// for refused messages would be too good.
    pub(crate) fn cpu_each(&self) -> Result<f64> {
        let failed = &self.0["messages"]["failed"];
        ensure!(
            failed.as_object().is_none_or(serde_json::Map::is_empty),
            "failed: {failed}"
        );
        self.at("/servers/cpu_micros_each")
    }
}

impl Server {
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { name, child, stdout })
    }

    /// `taskset` replaces itself by the program, so this is the program's.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What follows `words` on the line that has them.
    fn says(&mut self, words: &str) -> Result<String> {
        let until = Instant::now() + READY_WITHIN;
        let Some(stdout) = &mut self.stdout else {
            bail!("{} is not listened to", self.name);
        };
        let mut line = String::new();
        while Instant::now() < until {
            line.clear();
            if stdout.read_line(&mut line)? == 0 {
                bail!("{} ended before it said {words:?}", self.name);
            }
            if let Some((_, rest)) = line.split_once(words) {
                return Ok(rest.trim().to_owned());
            }
        }
        bail!("{} did not say {words:?} in time", self.name)
    }

    /// What it says from now on is thrown away by a thread that ends with it.
    fn leave_unread(&mut self) {
        if let Some(stdout) = self.stdout.take() {
            std::thread::spawn(move || {
                for line in stdout.lines() {
                    if line.is_err() {
                        return;
                    }
                }
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let until = Instant::now() + STOP_WITHIN;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of a file, for the machine's description.
pub(crate) fn line_of(path: &Path, begins: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(begins))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
