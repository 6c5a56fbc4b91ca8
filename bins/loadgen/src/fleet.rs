//! The workers as one: starts them, orders them about together, and keeps what they tell.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::ProgressBar;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::measure::{Counts, Latencies};
use crate::orders::{Order, Plan, Tick, Tidings};
use crate::report::Point;

/// Sockets that one worker takes.
pub(crate) const PER_WORKER: u32 = 18_000;
/// Tidings that wait to be looked at; past it workers wait.
const UNREAD: usize = 1_024;
const POINT_EVERY: Duration = Duration::from_millis(500);
/// A worker that does not end by itself by then is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// All workers of a run. Dropped, it takes them with it.
pub(crate) struct Fleet {
    workers: Vec<Worker>,
    tidings: Receiver<(usize, Tidings)>,
    readers: JoinSet<()>,
    interrupted: bool,
    start: Instant,
    next_point: Instant,
    series: Vec<Point>,
    interval: Latencies,
    done_before: u64,
    line: ProgressBar,
}

struct Worker {
    child: Child,
    stdin: ChildStdin,
    connections: u32,
    tick: Tick,
}

/// What waiting for tidings has come to.
enum Woken {
    Told(usize, Tidings),
    Interrupted,
    TimeOver,
}

impl Fleet {
    /// Starts as many workers as `connections` need, at least `processes`.
    ///
    /// # Errors
    /// Where a process cannot be started.
    pub(crate) async fn start(plan: &Plan, connections: u32, processes: u32) -> Result<Self> {
        let count = processes.max(connections.div_ceil(PER_WORKER)).max(1);
        let (sender, tidings) = mpsc::channel(UNREAD);
        let (mut workers, mut readers) = (Vec::new(), JoinSet::new());
        let mut first = plan.first;
        for number in 0..count {
            let share = connections / count + u32::from(number < connections % count);
            let plan = Plan {
                first,
                ..plan.clone()
            };
            first += share;
            let (worker, stdout) = Worker::start(&plan, share).await?;
            readers.spawn(read(workers.len(), stdout, sender.clone()));
            workers.push(worker);
        }
        let now = Instant::now();
        Ok(Self {
            workers,
            tidings,
            readers,
            interrupted: false,
            start: now,
            next_point: now + POINT_EVERY,
            series: Vec::new(),
            interval: Latencies::default(),
            done_before: 0,
            line: ProgressBar::new_spinner(),
        })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers
            .iter()
            .filter_map(|worker| worker.child.id())
            .collect()
    }

    /// How many processes they are.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Somebody has pressed Ctrl-C.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Replies and deliveries so far, as the last ticks say.
    pub(crate) fn done(&self) -> u64 {
        self.workers.iter().map(|worker| worker.tick.done).sum()
    }

    /// How it went over time.
    pub(crate) fn series(&self) -> &[Point] {
        &self.series
    }

    /// Has `total` connections made, each worker its share.
    ///
    /// # Errors
    /// As [`Fleet::order`].
    pub(crate) async fn connect(&mut self, total: u32, rate: Option<f64>) -> Result<Counts> {
        let all: u32 = self.workers.iter().map(|worker| worker.connections).sum();
        let share = f64::from(total) / f64::from(all.max(1));
        let count = self.workers.len() as f64;
        self.each(|worker| Order::Connect {
            count: if total >= all {
                worker.connections
            } else {
                (f64::from(worker.connections) * share).round() as u32
            },
            rate: rate.map(|rate| rate / count),
        })
        .await
    }

    /// Gives all workers an order and waits until it has come true for all; their counts together.
    ///
    /// # Errors
    /// A worker's end, and Ctrl-C while an order other than [`Order::Quiet`] or [`Order::Leave`] is under way.
    pub(crate) async fn order(&mut self, order: Order) -> Result<Counts> {
        self.each(|_| order.clone()).await
    }

    /// As [`Fleet::order`], each worker with an order of its own.
    ///
    /// # Errors
    /// As [`Fleet::order`].
    async fn each(&mut self, order: impl Fn(&Worker) -> Order) -> Result<Counts> {
        let mut may_be_interrupted = false;
        for worker in &mut self.workers {
            let order = order(worker);
            may_be_interrupted = matches!(order, Order::Connect { .. } | Order::Storm { .. });
            worker.tell(&order).await?;
        }
        let (mut counts, mut waiting) = (Counts::default(), self.workers.len());
        while waiting > 0 {
            match self.wait(None).await? {
                Woken::Told(_, Tidings::Done(theirs)) => {
                    counts.add(&theirs);
                    waiting -= 1;
                }
                Woken::Told(from, Tidings::Tick(tick)) => self.ticked(from, tick),
                Woken::Interrupted if may_be_interrupted => bail!("stopped before all were connected"),
                Woken::Interrupted | Woken::TimeOver => {}
            }
        }
        Ok(counts)
    }

    /// Lets time pass; less of it after Ctrl-C.
    ///
    /// # Errors
    /// A worker's end.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while !self.interrupted {
            match self.wait(Some(until)).await? {
                Woken::Told(from, Tidings::Tick(tick)) => self.ticked(from, tick),
                Woken::Told(_, Tidings::Done(_)) | Woken::Interrupted => {}
                Woken::TimeOver => break,
            }
        }
        Ok(())
    }

    /// Ends all workers, by force where they do not by themselves.
    pub(crate) async fn end(mut self) {
        self.line.finish_and_clear();
        let until = Instant::now() + END_WITHIN;
        for worker in &mut self.workers {
            // Its end of input is its order to end.
            let _ = worker.stdin.shutdown().await;
        }
        for mut worker in self.workers.drain(..) {
            drop(worker.stdin);
            if timeout_at(until, worker.child.wait()).await.is_err() {
                let _ = worker.child.kill().await;
            }
        }
        self.readers.shutdown().await;
    }

    async fn wait(&mut self, until: Option<Instant>) -> Result<Woken> {
        let far = Instant::now() + Duration::from_secs(3_600);
        tokio::select! {
            told = self.tidings.recv() => {
                let (from, tidings) = told.context("all workers have ended")?;
                Ok(Woken::Told(from, tidings))
            }
            signal = tokio::signal::ctrl_c(), if !self.interrupted => {
                signal.context("listening for Ctrl-C")?;
                self.interrupted = true;
                eprintln!("stopping early; the report covers what was done");
                Ok(Woken::Interrupted)
            }
            () = sleep_until(until.unwrap_or(far)) => Ok(Woken::TimeOver),
            Some(ended) = self.readers.join_next() => {
                ended?;
                bail!("a worker has ended")
            }
        }
    }

    fn ticked(&mut self, from: usize, tick: Tick) {
        self.interval.add(&tick.latencies);
        if let Some(worker) = self.workers.get_mut(from) {
            worker.tick = tick;
        }
        let now = Instant::now();
        if now < self.next_point {
            return;
        }
        let seconds = POINT_EVERY.as_secs_f64() + (now - self.next_point).as_secs_f64();
        self.next_point = now + POINT_EVERY;
        let (done, figures) = (self.done(), self.interval.figures());
        let point = Point {
            seconds: (now - self.start).as_secs_f64(),
            open: self.workers.iter().map(|worker| worker.tick.open).sum(),
            rate: (done.saturating_sub(self.done_before)) as f64 / seconds,
            p50: figures.p50,
            p99: figures.p99,
            errors: self.workers.iter().map(|worker| worker.tick.errors).sum(),
        };
        self.done_before = done;
        self.interval.clear();
        self.line.set_message(format!(
            "{:.0} s · {} open · {:.0}/s · p50 {:.2} ms · p99 {:.2} ms · {} errors",
            point.seconds, point.open, point.rate, point.p50, point.p99, point.errors
        ));
        self.line.tick();
        self.series.push(point);
    }
}

impl Worker {
    async fn start(plan: &Plan, connections: u32) -> Result<(Self, ChildStdout)> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the fleet, which then ends its workers in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting a worker")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            bail!("a worker without pipes");
        };
        let mut worker = Self {
            child,
            stdin,
            connections,
            tick: Tick::default(),
        };
        worker.tell(plan).await?;
        Ok((worker, stdout))
    }

    async fn tell(&mut self, what: &impl serde::Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.stdin
            .write_all(&line)
            .await
            .context("a worker does not listen")?;
        self.stdin.flush().await?;
        Ok(())
    }
}

/// Passes on what a worker says until it says no more.
async fn read(from: usize, stdout: ChildStdout, sender: Sender<(usize, Tidings)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(tidings) = serde_json::from_str(&line) else {
            return;
        };
        if sender.send((from, tidings)).await.is_err() {
            return;
        }
    }
}

/// Whether this machine lets one process open that many sockets.
///
/// # Errors
/// Says what the limit is.
pub(crate) fn check_limit(connections: u32, processes: u32) -> Result<()> {
    let sockets = crate::limits::raise_file_limit().context("reading the file limit")?;
    let each = connections.div_ceil(processes.max(connections.div_ceil(PER_WORKER)).max(1));
    ensure!(
        each <= sockets,
        "a process may open {sockets} sockets here, which is less than {each}: raise it (ulimit -n) or use --processes"
    );
    Ok(())
}
