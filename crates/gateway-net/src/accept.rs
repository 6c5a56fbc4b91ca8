//! An accept loop's care for itself: no error ends it, and running out of files does not stall it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// First and longest pause after an error that another accept would meet again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// A listener with a file descriptor in reserve.
///
/// Without one, a process at its file limit can not even accept a connection to refuse it: the queue
/// of the kernel fills, and clients wait for minutes instead of trying elsewhere.
pub(crate) struct Listener {
    inner: TcpListener,
    reserve: Option<File>,
    pause: Duration,
}

impl Listener {
    pub(crate) fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self {
            inner: TcpListener::from_std(listener)?,
            reserve: reserve(),
            pause: BACK_OFF.0,
        })
    }

    /// The next connection. Errors are handled here, each told to `on_error` first. Cancel-safe.
    pub(crate) async fn accept(&mut self, on_error: impl Fn(&io::Error)) -> (TcpStream, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok(accepted) => {
                    self.pause = BACK_OFF.0;
                    return accepted;
                }
                Err(error) => {
                    on_error(&error);
                    self.recover(&error).await;
                }
            }
        }
    }

    async fn recover(&mut self, error: &io::Error) {
        match error.kind() {
            // That one connection is gone; the next is another matter.
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted => {
                return;
            }
            _ if is_out_of_files(error) => self.shed(),
            _ => {}
        }
        tracing::warn!(%error, pause = ?self.pause, "accepting failed");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(BACK_OFF.1);
    }

    /// Accepts with the reserve and hangs up at once, so that clients learn of it.
    fn shed(&mut self) {
        for _ in 0..64 {
            self.reserve = None;
            let accepted = self.accept_now();
            let taken = accepted.is_some();
            drop(accepted);
            self.reserve = reserve();
            if !taken {
                break;
            }
        }
    }

    fn accept_now(&self) -> Option<socket2::Socket> {
        let accepted = socket2::SockRef::from(&self.inner).accept().ok()?;
        Some(accepted.0)
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// EMFILE or ENFILE.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}
