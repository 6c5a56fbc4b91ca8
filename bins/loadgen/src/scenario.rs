//! The scenarios: which orders the fleet gets, one after the other, and what is looked at in between.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::fleet::{self, Fleet};
use crate::measure::Counts;
use crate::options::{Command, Common, Flow, People, Source as SourceOptions};
use crate::orders::{Load, Login, Message, Order, Plan, Target};
use crate::report::{Connections, Curve, Figure, Messages, Own, Report, Servers};
use crate::servers::{self, Usage};
use crate::source::Source;
use crate::strangers::Strangers;
use crate::worker::stamped;

/// How long pushes may take to arrive after the last was sent.
const SETTLE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A loadgen process that uses more of a core is at its limit.
const BUSY: f64 = 0.95;
/// Memory is looked at when all has come to rest.
const REST: Duration = Duration::from_secs(2);

/// Runs a scenario to its end, or until Ctrl-C; either way there is a report.
///
/// # Errors
/// Where it cannot begin, and where a worker ends or pushes fail altogether.
pub(crate) async fn run(command: Command) -> Result<(Common, Report)> {
    let (common, name) = match &command {
        Command::Connect(common) => (common, "connect"),
        Command::Idle { common, .. } => (common, "idle"),
        Command::Echo { common, .. } => (common, "echo"),
        Command::Rpc { common, .. } => (common, "rpc"),
        Command::Push { common, .. } => (common, "push"),
        Command::Fanout { common, .. } => (common, "fanout"),
        Command::Chat { common, .. } => (common, "chat"),
        Command::Storm { common, .. } => (common, "storm"),
        Command::Soak { common, .. } => (common, "soak"),
        Command::Baseline { .. } | Command::Worker => bail!("not a scenario"),
    };
    let common = common.clone();
    let mut run = Run::start(common.clone(), name).await?;
    match command {
        Command::Connect(_) => run.connect().await?,
        Command::Idle { from, rest, .. } => run.idle(from, rest).await?,
        Command::Echo { flow, .. } => run.flow(flow, Message::Heartbeat).await?,
        Command::Rpc { flow, cmd, size, .. } => {
            let message = Message::Command { cmd_id: cmd, size };
            run.flow(flow, message).await?;
        }
        Command::Push { source, rate, .. } => run.push(&source, rate).await?,
        Command::Fanout {
            source, burst, times, ..
        } => run.fan_out(&source, burst, times).await?,
        Command::Chat { people, .. } => run.chat(people).await?,
        Command::Storm {
            back_off, strangers, ..
        } => run.storm(back_off, strangers).await?,
        Command::Soak {
            people,
            waves,
            first_look,
            ..
        } => run.soak(people, waves, first_look).await?,
        Command::Baseline { .. } | Command::Worker => {}
    }
    Ok((common, run.end().await?))
}

/// A run under way, and what it has found so far.
struct Run {
    common: Common,
    name: &'static str,
    plan: Plan,
    clock: Clock,
    fleet: Fleet,
    /// Of the connections.
    connected: Counts,
    /// Of the measured time.
    measured: Counts,
    seconds: f64,
    /// What server and workers used in the measured time.
    server: Usage,
    own: Usage,
    /// The load has fixed moments, for which workers look at the clock all the time.
    is_open: bool,
    figures: Vec<Figure>,
}

impl Run {
    async fn start(common: Common, name: &'static str) -> Result<Self> {
        fleet::check_limit(common.connections, common.processes)?;
        // A wrong process is noticed before the load begins.
        servers::usage(&common.pids)?;
        let login = login(&common)?;
        let plan = Plan {
            target: target(&common).await?,
            first: common.first,
            encoding: common.encoding.into(),
            login,
            platform: common.platform.clone(),
            users: common.users.unwrap_or(common.first + common.connections),
            acknowledge: common.ack,
            at_once: common.at_once,
        };
        let fleet = Fleet::start(&plan, common.connections, common.processes).await?;
        Ok(Self {
            common,
            name,
            plan,
            clock: Clock::start(),
            fleet,
            connected: Counts::default(),
            measured: Counts::default(),
            seconds: 0.0,
            server: Usage::default(),
            own: Usage::default(),
            is_open: false,
            figures: Vec::new(),
        })
    }

    /// Connects everybody.
    async fn gather(&mut self) -> Result<()> {
        let (total, rate) = (self.common.connections, self.common.connect_rate);
        self.connected = self.fleet.connect(total, rate).await?;
        ensure!(
            self.connected.open > 0 || self.connected.connected > 0,
            "no connection could be made: {:?}",
            self.connected.refused
        );
        Ok(())
    }

    fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    fn usage(&self) -> Result<(Usage, Usage)> {
        Ok((
            servers::usage(&self.common.pids)?,
            servers::usage(&self.fleet.pids())?,
        ))
    }

    /// Notes what was used since `before`.
    fn note_usage(&mut self, before: (Usage, Usage)) -> Result<()> {
        let now = self.usage()?;
        let since = |now: Usage, before: Usage| Usage {
            cpu_seconds: now.cpu_seconds - before.cpu_seconds,
            rss_anon: now.rss_anon,
        };
        self.server = since(now.0, before.0);
        self.own = since(now.1, before.1);
        Ok(())
    }

    async fn connect(&mut self) -> Result<()> {
        let (before, start) = (self.usage()?, Instant::now());
        self.gather().await?;
        self.seconds = start.elapsed().as_secs_f64();
        self.note_usage(before)?;
        let made = self.connected.connected as f64;
        self.figure("handshakes", made / self.seconds, "a second");
        if !self.common.pids.is_empty() {
            let micros = self.server.cpu_seconds * 1e6 / made;
            self.figure("server CPU a handshake", micros, "µs");
        }
        self.fleet.pause(self.common.duration).await
    }

    async fn idle(&mut self, from: u32, rest: Duration) -> Result<()> {
        let total = self.common.connections;
        ensure!(from < total, "--from must be below the number of connections");
        let rate = self.common.connect_rate;
        let (kernel, used) = (servers::kernel_memory()?, servers::used_memory()?);
        let few = self.fleet.connect(from, rate).await?;
        self.fleet.pause(rest).await?;
        let before = servers::usage(&self.common.pids)?;
        self.gather().await?;
        self.fleet.pause(rest).await?;
        let after = servers::usage(&self.common.pids)?;
        let more = self.connected.open.saturating_sub(few.open).max(1) as f64;
        let all = self.connected.open.max(1) as f64;
        let grown = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let user = grown(after.rss_anon, before.rss_anon) / more;
        self.figure("user memory a connection", user, "bytes");
        let (kernel, used) = (
            grown(servers::kernel_memory()?, kernel) / all,
            grown(servers::used_memory()?, used) / all,
        );
        self.figure("kernel memory a connection, both ends", kernel, "bytes");
        self.figure("all memory a connection, both ends", used, "bytes");
        self.figure("all memory", used * all / 1_073_741_824.0, "GiB");
        let (start, usage) = (Instant::now(), self.usage()?);
        self.fleet.pause(self.common.duration).await?;
        self.seconds = start.elapsed().as_secs_f64();
        self.note_usage(usage)?;
        let idle = self.server.cpu_seconds / self.seconds.max(1e-9);
        self.figure("server CPU while idle", idle * 100.0, "% of a core");
        Ok(())
    }

    async fn flow(&mut self, flow: Flow, message: Message) -> Result<()> {
        self.gather().await?;
        let workers = u32::try_from(self.fleet.len())?;
        let load = match flow.rate {
            Some(rate) => Load::Open {
                rate: rate / f64::from(workers),
                message,
            },
            None => Load::Closed {
                active: flow.active.map_or(u32::MAX, |active| active.div_ceil(workers)),
                depth: flow.depth,
                message,
            },
        };
        self.measure(load).await
    }

    /// Loads, warms up, measures, and lets what is under way come to its end.
    async fn measure(&mut self, load: Load) -> Result<()> {
        self.is_open = matches!(load, Load::Open { .. });
        self.fleet.order(Order::Load(load)).await?;
        self.fleet.pause(self.common.warm_up).await?;
        self.fleet.order(Order::Mark).await?;
        let (start, before) = (Instant::now(), self.usage()?);
        self.fleet.pause(self.common.duration).await?;
        self.note_usage(before)?;
        self.seconds = start.elapsed().as_secs_f64();
        self.measured = self.fleet.order(Order::Mark).await?;
        let rest = self.fleet.order(Order::Quiet).await?;
        // Replies that came later belong to no second of the measured time; what failed does.
        for (kind, count) in &rest.failed {
            *self.measured.failed.entry(kind.clone()).or_default() += count;
        }
        Ok(())
    }

    async fn chat(&mut self, people: People) -> Result<()> {
        self.gather().await?;
        let think_ms = people.think.as_secs_f64() * 1_000.0;
        self.measure(Load::Chat { think_ms }).await
    }

    async fn push(&mut self, options: &SourceOptions, rate: f64) -> Result<()> {
        ensure!(!self.common.baseline, "a baseline has no push to one user");
        self.gather().await?;
        let source = Source::open(options, None).await?;
        self.fleet.order(Order::Mark).await?;
        let (start, before) = (Instant::now(), self.usage()?);
        let users = self.common.users.unwrap_or(self.common.connections);
        let first = self.clock.now();
        let total = (rate * self.common.duration.as_secs_f64()) as u64;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..total {
            if self.fleet.is_interrupted() {
                break;
            }
            let intended = first.plus(Duration::from_secs_f64(number as f64 / rate));
            let wait = intended.since(self.clock.now());
            if !wait.is_zero() || number % 256 == 0 {
                self.fleet.pause(wait).await?;
            }
            let user = format!("user{}", number % u64::from(users) + 1);
            let content = stamped(intended, options.size as usize);
            let mut source = source.clone();
            calls.spawn(async move { source.push(user, content).await });
            while calls.len() >= MOST_CALLS {
                joined(calls.join_next().await)?;
            }
            while let Some(call) = calls.try_join_next() {
                joined(Some(call))?;
            }
        }
        while let Some(call) = calls.join_next().await {
            joined(Some(call))?;
        }
        self.settle(total).await?;
        self.note_usage(before)?;
        self.seconds = start.elapsed().as_secs_f64();
        self.measured = self.fleet.order(Order::Mark).await?;
        self.measured.sent = total;
        Ok(())
    }

    async fn fan_out(&mut self, options: &SourceOptions, burst: u32, times: u32) -> Result<()> {
        self.gather().await?;
        let baseline = self.common.baseline.then(|| self.plan.target.clone());
        let source = Source::open(options, baseline).await?;
        let open = self.connected.open;
        // The first of all makes queues and connections; it is not measured.
        for measured in [false, true] {
            let done = self.fleet.done();
            self.fleet.order(Order::Mark).await?;
            let (before, begun) = (self.usage()?, Instant::now());
            let times = if measured { times } else { 1 };
            for time in 1..=u64::from(times) {
                // All at once, as what they stand for comes from different people.
                let mut calls = tokio::task::JoinSet::new();
                for _ in 0..burst {
                    let content = stamped(self.clock.now(), options.size as usize);
                    let mut source = source.clone();
                    calls.spawn(async move { source.broadcast(content).await });
                }
                while let Some(call) = calls.join_next().await {
                    joined(Some(call))?;
                }
                self.settle(done + open * u64::from(burst) * time).await?;
            }
            self.note_usage(before)?;
            self.seconds = begun.elapsed().as_secs_f64();
            self.measured = self.fleet.order(Order::Mark).await?;
            self.measured.sent = u64::from(times * burst);
        }
        let longest = self.measured.delivery.figures().max;
        self.figure("from the push to its last receiver, at most", longest, "ms");
        Ok(())
    }

    /// Waits until so many replies and pushes have come since the start, or nothing more may be expected.
    async fn settle(&mut self, done: u64) -> Result<()> {
        let until = Instant::now() + SETTLE;
        while self.fleet.done() < done && Instant::now() < until && !self.fleet.is_interrupted() {
            self.fleet.pause(LOOK_EVERY).await?;
        }
        Ok(())
    }

    async fn storm(&mut self, back_off: bool, strangers: Option<f64>) -> Result<()> {
        let start = Instant::now();
        self.gather().await?;
        let first = start.elapsed().as_secs_f64();
        self.fleet.pause(REST).await?;
        if let Some(rate) = strangers {
            let coming = self.strangers(rate).await?;
            self.fleet.pause(self.common.duration).await?;
            self.note_strangers(CALM, &coming.went().await?);
        }
        let meanwhile = match strangers {
            Some(rate) => Some(self.strangers(rate).await?),
            None => None,
        };
        let (start, before) = (Instant::now(), self.usage()?);
        self.connected = self.fleet.order(Order::Storm { back_off }).await?;
        self.seconds = start.elapsed().as_secs_f64();
        self.note_usage(before)?;
        if let Some(coming) = meanwhile {
            self.note_strangers(CUT, &coming.went().await?);
        }
        self.figure("first connect", first, "s");
        self.figure("all back after the cut", self.seconds, "s");
        self.figure("cut ÷ first connect", self.seconds / first, "×");
        Ok(())
    }

    async fn strangers(&self, rate: f64) -> Result<Strangers> {
        let first = self.common.first.saturating_add(self.common.connections);
        Strangers::come(&self.plan, first, rate).await
    }

    /// Those who were not bound, or not by the end of all patience, are counted: latencies are of the others only.
    fn note_strangers(&mut self, [bound, refused, p50, p99, max]: [&'static str; 5], counts: &Counts) {
        let latency = counts.connect.figures();
        self.figure(bound, counts.connected as f64, "");
        self.figure(refused, (counts.sent - counts.connected) as f64, "");
        self.figure(p50, latency.p50, "ms");
        self.figure(p99, latency.p99, "ms");
        self.figure(max, latency.max, "ms");
    }

    async fn soak(&mut self, people: People, waves: u32, first_look: Duration) -> Result<()> {
        let duration = self.common.duration;
        ensure!(
            first_look < duration,
            "--first-look must be before the wave's end"
        );
        let mebibytes = |usage: Usage| usage.rss_anon as f64 / 1_048_576.0;
        let (mut left, mut all) = (Vec::new(), Counts::default());
        for wave in 0..waves {
            self.gather().await?;
            let think_ms = people.think.as_secs_f64() * 1_000.0;
            self.fleet.order(Order::Load(Load::Chat { think_ms })).await?;
            self.fleet.order(Order::Mark).await?;
            let (start, before) = (Instant::now(), self.usage()?);
            self.fleet.pause(first_look).await?;
            let early = servers::usage(&self.common.pids)?;
            let rest = duration.saturating_sub(first_look);
            self.fleet.pause(rest / 2).await?;
            let middle = servers::usage(&self.common.pids)?;
            self.fleet.pause(rest - rest / 2).await?;
            self.note_usage(before)?;
            let late = servers::usage(&self.common.pids)?;
            self.seconds += start.elapsed().as_secs_f64();
            all.add(&self.fleet.order(Order::Mark).await?);
            self.fleet.order(Order::Quiet).await?;
            self.fleet.order(Order::Leave).await?;
            self.fleet.pause(SETTLE).await?;
            let after = servers::usage(&self.common.pids)?;
            left.push(after.rss_anon);
            if wave == 0 {
                self.figure("memory at the first look", mebibytes(early), "MiB");
                self.figure("memory at the wave's end", mebibytes(late), "MiB");
                let growth = |earlier: Usage| late.rss_anon as f64 / earlier.rss_anon.max(1) as f64;
                self.figure("end ÷ first look", growth(early), "×");
                self.figure("end ÷ half-way", growth(middle), "×");
            }
            self.figure("memory after a wave has left", mebibytes(after), "MiB");
            if self.fleet.is_interrupted() {
                break;
            }
        }
        if let [first, .., last] = left[..] {
            let growth = last as f64 / first.max(1) as f64;
            self.figure("after the last wave ÷ after the first", growth, "×");
        }
        self.measured = all;
        Ok(())
    }

    async fn end(mut self) -> Result<Report> {
        let processes = self.fleet.len();
        let leaving = self.fleet.order(Order::Leave).await;
        let series = self.fleet.series().to_vec();
        self.fleet.end().await;
        leaving?;
        let mut counts = self.measured.clone();
        counts.connect.add(&self.connected.connect);
        counts.connected = self.connected.connected;
        counts.refused.clone_from(&self.connected.refused);
        if counts.open == 0 {
            counts.open = self.connected.open;
        }
        let share = |cpu: f64| cpu / self.seconds.max(1e-9);
        let done = (counts.answered + counts.delivered).max(1);
        let own = share(self.own.cpu_seconds) / processes as f64;
        Ok(Report {
            scenario: self.name,
            url: self.common.url.clone(),
            seconds: (self.seconds * 1_000.0).round() / 1_000.0,
            connections: Connections::of(self.common.connections, &counts),
            messages: Messages::of(&counts, self.seconds),
            figures: self.figures,
            servers: (!self.common.pids.is_empty()).then(|| Servers {
                cpu_seconds: self.server.cpu_seconds,
                cpu_share: share(self.server.cpu_seconds),
                cpu_micros_each: self.server.cpu_seconds * 1e6 / done as f64,
                rss_anon: self.server.rss_anon,
            }),
            own: Own {
                processes,
                cpu_share: own,
                is_bottleneck: own > BUSY && !self.is_open,
            },
            series,
            curves: Curve::all(&counts),
        })
    }
}

/// How the figures of strangers are called, before the cut and after it: bound, not bound, and how long it took them.
const CALM: [&str; 5] = [
    "strangers before the cut",
    "strangers refused before the cut",
    "strangers bound before the cut, p50",
    "strangers bound before the cut, p99",
    "strangers bound before the cut, at most",
];
const CUT: [&str; 5] = [
    "strangers after the cut",
    "strangers refused after the cut",
    "strangers bound after the cut, p50",
    "strangers bound after the cut, p99",
    "strangers bound after the cut, at most",
];

/// Calls of one scenario under way at once.
const MOST_CALLS: usize = 1_024;

fn joined(call: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match call {
        None => Ok(()),
        Some(done) => done?,
    }
}

fn login(common: &Common) -> Result<Login> {
    if common.baseline {
        return Ok(Login::Baseline);
    }
    if common.anonymous {
        return Ok(Login::Anonymous);
    }
    let Some(path) = &common.key_file else {
        return Ok(Login::Password(common.password.clone()));
    };
    let key = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Login::Key(key.trim().to_owned()))
}

async fn target(common: &Common) -> Result<Target> {
    let (scheme, rest) = common.url.split_once("://").context("the URL has no scheme")?;
    let tls = match scheme {
        "ws" => None,
        "wss" => {
            let path = common.ca.as_ref().context("wss:// needs --ca FILE")?;
            Some(std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?)
        }
        other => bail!("the URL's scheme is {other:?}; there are ws and wss"),
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let default = if tls.is_some() { 443 } else { 80 };
    let named = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().context("the URL's port")?),
        _ => (host, default),
    };
    let address = tokio::net::lookup_host(named)
        .await
        .with_context(|| format!("looking up {host}"))?
        .next()
        .with_context(|| format!("{host} has no address"))?;
    Ok(Target {
        host: named.0.to_owned(),
        address,
        path: path.to_owned(),
        tls,
    })
}
