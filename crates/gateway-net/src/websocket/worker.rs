//! One worker: a thread, its runtime, its listener, its wheel, its buffers.
//!
//! A connection lives and dies on the worker that accepted it, so the locks in here are never waited
//! for; they are there because handles to connections go everywhere.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::Handshaker;
use crate::accept::Listener;
use crate::connection::Buffers;
use crate::handler::Acceptor;
use crate::metrics::{Refused, WsMetrics};
use crate::outbound::{Dirty, Shared};
use crate::refuse;
use crate::settings::WsSettings;
use crate::tls::ServerTls;
use crate::wheel::{Tick, TickClock, Wheel};

/// Refusals that are being said at once by one worker; further ones are hung up on.
const REFUSALS: usize = 64;

/// The number of sockets, over all workers.
pub(crate) struct Admission {
    current: AtomicUsize,
    limit: usize,
    gauge: metrics::Gauge,
}

impl Admission {
    pub(super) fn new(limit: usize, gauge: metrics::Gauge) -> Self {
        Self {
            current: AtomicUsize::new(0),
            limit,
            gauge,
        }
    }

    pub(super) fn current(&self) -> usize {
        self.current.load(Relaxed)
    }

    pub(super) fn admit(self: &Arc<Self>) -> Option<Permit> {
        if self.current.fetch_add(1, Relaxed) >= self.limit {
            self.current.fetch_sub(1, Relaxed);
            return None;
        }
        self.gauge.increment(1.0);
        Some(Permit {
            admission: Arc::clone(self),
        })
    }
}

/// The place of one socket, given back when it is dropped.
pub(crate) struct Permit {
    admission: Arc<Admission>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.current.fetch_sub(1, Relaxed);
        self.admission.gauge.decrement(1.0);
    }
}

/// Bounds of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) message_bytes: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_frames: usize,
}

/// Deadlines of one connection, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    pub(crate) ping: Tick,
    pub(crate) dead: Tick,
    pub(crate) close: Tick,
    pub(crate) drain: Tick,
}

/// What the connections of one worker have in common.
pub(crate) struct WorkerState {
    limits: Limits,
    ticks: Ticks,
    clock: TickClock,
    now: AtomicU32,
    stopping: AtomicBool,
    /// Spreads the pings of connections that came together.
    jitter: AtomicU32,
    wheel: Mutex<Wheel<Arc<Shared>>>,
    buffers: Mutex<Buffers>,
    dirty: Dirty,
    metrics: WsMetrics,
}

impl WorkerState {
    pub(super) fn new(settings: &WsSettings, metrics: WsMetrics) -> Self {
        let clock = TickClock::new(settings.tick);
        let ping = settings.ping_interval;
        let ticks = Ticks {
            ping: if ping.is_zero() { 0 } else { clock.ticks(ping) },
            // One more: `last_seen` lies somewhere in its tick.
            dead: clock.ticks(ping * 5 / 2) + 1,
            close: clock.ticks(settings.close_timeout) + 1,
            drain: clock.ticks(settings.drain_timeout),
        };
        let limits = Limits {
            message_bytes: settings.max_message_bytes,
            queue_bytes: settings.outbound_queue_bytes,
            queue_frames: settings.outbound_queue_frames,
        };
        let now = clock.at(Instant::now());
        Self {
            limits,
            ticks,
            clock,
            now: AtomicU32::new(now),
            stopping: AtomicBool::new(false),
            jitter: AtomicU32::new(0),
            wheel: Mutex::new(Wheel::new(now)),
            buffers: Mutex::new(Buffers::new()),
            dirty: Dirty::default(),
            metrics,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    pub(crate) fn clock(&self) -> &TickClock {
        &self.clock
    }

    pub(crate) fn metrics(&self) -> &WsMetrics {
        &self.metrics
    }

    /// The coarse clock: as of the wheel's last turn.
    pub(crate) fn now(&self) -> Tick {
        self.now.load(Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Whether peers are pinged and found dead.
    pub(crate) fn pings(&self) -> bool {
        self.ticks.ping > 0
    }

    /// When the next ping of a connection is due: after 75 to 100 % of the interval.
    pub(crate) fn next_ping(&self, now: Tick) -> Tick {
        // A low-discrepancy sequence (multiples of the golden ratio) spreads better than chance.
        let step = self.jitter.fetch_add(0x9E37_79B9, Relaxed);
        let early = (u64::from(self.ticks.ping / 4) * u64::from(step)) >> 32;
        now + (self.ticks.ping - early as Tick).max(1)
    }

    pub(crate) fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dirty(&self) -> &Dirty {
        &self.dirty
    }

    pub(crate) fn wheel(&self) -> MutexGuard<'_, Wheel<Arc<Shared>>> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns the wheel and flushes what others have pushed, for ever.
    async fn keep_going(&self) {
        tokio::join!(self.keep_time(), self.dirty.keep_flushing());
    }

    /// Turns the wheel, for ever.
    async fn keep_time(&self) {
        let mut interval = tokio::time::interval(self.clock.tick());
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut entries = Vec::new();
        loop {
            interval.tick().await;
            let now = self.clock.at(Instant::now());
            self.now.store(now, Relaxed);
            loop {
                let Some(tick) = self.wheel().advance(now, &mut entries) else {
                    break;
                };
                for entry in entries.drain(..) {
                    if let Some(due) = entry.come_up(tick) {
                        let at = self.wheel().insert(Arc::clone(&entry), due);
                        entry.rescheduled(at);
                    }
                }
            }
            entries.shrink_to(1024);
        }
    }

    /// Tells every connection to close. One that has no entry in the wheel has a turn before it and
    /// sees it there.
    fn stop(&self) {
        self.stopping.store(true, Relaxed);
        let all: Vec<_> = self.wheel().iter().map(Arc::clone).collect();
        for shared in all {
            shared.close(1001, "going away");
        }
    }

    /// Cuts the circle of connections that are in the wheel, which is in here.
    pub(super) fn clear(&self) {
        let empty = Wheel::new(self.now());
        let full = std::mem::replace(&mut *self.wheel(), empty);
        drop(full);
    }
}

/// All that a worker's thread starts with.
pub(super) struct Start<A> {
    pub(super) index: usize,
    pub(super) listener: std::net::TcpListener,
    pub(super) acceptor: Arc<A>,
    pub(super) settings: Arc<WsSettings>,
    pub(super) admission: Arc<Admission>,
    pub(super) metrics: WsMetrics,
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) stop: CancellationToken,
}

impl<A: Acceptor> Start<A> {
    /// Runs the worker on this thread until it is stopped.
    pub(super) fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let state = {
            let _context = runtime.enter();
            Arc::new(WorkerState::new(&self.settings, self.metrics.clone()))
        };
        let result = runtime.block_on(self.work(&state));
        // Ends what the shutdown's patience has left over; each tells its handler.
        drop(runtime);
        state.clear();
        result
    }

    async fn work(self, state: &Arc<WorkerState>) -> io::Result<()> {
        let mut listener = Listener::new(self.listener)?;
        let tasks = TaskTracker::new();
        let handshaker = Arc::new(Handshaker::new(
            self.acceptor,
            Arc::clone(&self.settings),
            Arc::clone(state),
            tasks.clone(),
        ));
        let refusals = Arc::new(tokio::sync::Semaphore::new(REFUSALS));
        tracing::debug!(worker = self.index, "worker serves");
        let accepting = async {
            loop {
                let (stream, peer) = listener
                    .accept(|_| state.metrics.accept_errors.increment(1))
                    .await;
                let Some(permit) = self.admission.admit() else {
                    state.metrics.refused(Refused::Full);
                    // Who expects TLS would not understand it, and is hung up on.
                    if self.tls.is_none() {
                        refuse_full(stream, &refusals, &tasks, &self.settings);
                    }
                    continue;
                };
                let (handshaker, stop) = (Arc::clone(&handshaker), self.stop.clone());
                // A handshake under way is not waited for at a shutdown.
                match self.tls.clone() {
                    None => tasks.spawn(async move {
                        stop.run_until_cancelled_owned(handshaker.run(stream, peer, permit))
                            .await;
                    }),
                    Some(tls) => tasks.spawn(async move {
                        stop.run_until_cancelled_owned(handshaker.run_tls(&tls, stream, peer, permit))
                            .await;
                    }),
                };
            }
        };
        tokio::select! {
            () = accepting => {}
            () = state.keep_going() => {}
            () = self.stop.cancelled() => {}
        }
        drop(listener);
        state.stop();
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = state.keep_going() => {}
            () = tokio::time::sleep(self.settings.shutdown_timeout) => {
                tracing::warn!(worker = self.index, left = tasks.len(), "connections are dropped at shutdown");
            }
        }
        Ok(())
    }
}

fn refuse_full(
    stream: TcpStream,
    refusals: &Arc<tokio::sync::Semaphore>,
    tasks: &TaskTracker,
    settings: &WsSettings,
) {
    let Ok(turn) = Arc::clone(refusals).try_acquire_owned() else {
        return;
    };
    let answer = refuse::unavailable(settings.retry_after);
    tasks.spawn(async move {
        refuse::refuse(stream, answer).await;
        drop(turn);
    });
}
