//! The signals that end a foreground program. Whoever has started children must hear them: the children are in
//! process groups of their own, and nobody else would stop them.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The three signals that ask a foreground program to end.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl StopSignals {
    /// From here on they no longer end this process by themselves, for as long as it lives.
    pub(crate) fn listen() -> Result<Self> {
        let of = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
            hang_up: of(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn heard(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
