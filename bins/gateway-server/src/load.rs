//! How busy the gateway is: commands, errors and time over the last seconds, memory and CPU of the process.
//!
//! Counters are summed as commands end; they are noted once a second, and a figure is the difference
//! between now and the oldest note.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Notes kept, one a second: figures are of the last ten seconds.
const WINDOW: usize = 10;

/// Counters and their recent past.
pub struct Load {
    commands: AtomicU64,
    errors: AtomicU64,
    answers: AtomicU64,
    micros: AtomicU64,
    notes: Mutex<VecDeque<Note>>,
}

#[derive(Clone, Copy)]
struct Note {
    at: Instant,
    commands: u64,
    errors: u64,
    answers: u64,
    micros: u64,
    cpu: Duration,
}

/// Figures of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Performance {
    /// Commands a second.
    pub per_second: f64,
    /// Mean time that back ends and handlers took; what is answered here at once does not count.
    pub average_ms: f64,
    /// Commands that were answered with an error, as a share of all.
    pub error_rate: f64,
    /// What the figures cover.
    pub window: Duration,
}

/// Figures of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Resources {
    /// Resident memory, in MiB.
    pub memory_mb: f64,
    /// CPU over the window; 100 is one core.
    pub cpu_percent: f64,
    /// Open file descriptors.
    pub open_files: usize,
}

impl Default for Load {
    /// Counters at zero.
    fn default() -> Self {
        let load = Self {
            commands: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            notes: Mutex::new(VecDeque::with_capacity(WINDOW + 1)),
        };
        load.note();
        load
    }
}

impl Load {
    /// A command came.
    pub fn received(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    /// A command was answered with an error.
    pub fn refused(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// A back end or a handler answered a command, well or not.
    pub fn answered(&self, took: Duration) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Commands, time and errors of the window.
    pub fn performance(&self) -> Performance {
        let (from, to) = self.ends();
        let window = to.at - from.at;
        let commands = (to.commands - from.commands) as f64;
        let answers = (to.answers - from.answers) as f64;
        if commands == 0.0 || window.is_zero() {
            return Performance {
                window,
                ..Performance::default()
            };
        }
        Performance {
            per_second: commands / window.as_secs_f64(),
            average_ms: (to.micros - from.micros) as f64 / 1_000.0 / answers.max(1.0),
            error_rate: (to.errors - from.errors) as f64 / commands,
            window,
        }
    }

    /// Memory, CPU and files of this process.
    pub fn resources(&self) -> Resources {
        let (from, to) = self.ends();
        let window = (to.at - from.at).as_secs_f64();
        let busy = to.cpu.saturating_sub(from.cpu).as_secs_f64();
        let process = procfs::process::Process::myself().ok();
        let pages = process
            .as_ref()
            .and_then(|process| process.statm().ok())
            .map_or(0, |statm| statm.resident);
        Resources {
            memory_mb: (pages * procfs::page_size()) as f64 / 1_048_576.0,
            cpu_percent: if window > 0.0 { busy / window * 100.0 } else { 0.0 },
            open_files: process
                .and_then(|process| process.fd_count().ok())
                .unwrap_or_default(),
        }
    }

    fn ends(&self) -> (Note, Note) {
        let now = self.current();
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        (notes.front().copied().unwrap_or(now), now)
    }

    /// Notes where the counters stand; to be called once a second.
    pub fn note(&self) {
        let note = self.current();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push_back(note);
        if notes.len() > WINDOW {
            notes.pop_front();
        }
    }

    fn current(&self) -> Note {
        Note {
            at: Instant::now(),
            commands: self.commands.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
            micros: self.micros.load(Ordering::Relaxed),
            cpu: cpu_time(),
        }
    }
}

/// CPU time of this process so far; zero where the kernel does not say.
fn cpu_time() -> Duration {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    let ticks = stat.map_or(0, |stat| stat.utime + stat.stime);
    Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_what_was_counted() {
        let load = Load::default();
        for millis in [10, 30] {
            load.received();
            load.answered(Duration::from_millis(millis));
        }
        load.refused();
        let performance = load.performance();
        assert!((performance.average_ms - 20.0).abs() < 0.01);
        assert!((performance.error_rate - 0.5).abs() < 0.01);
        assert!(performance.per_second > 0.0);
    }

    #[test]
    fn an_idle_gateway_has_figures_too() {
        assert_eq!(Load::default().performance().per_second, 0.0);
        assert!(Load::default().resources().memory_mb > 0.0);
    }
}
