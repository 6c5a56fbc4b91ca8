//! Where the gateway stands between starting and stopped, for everybody who has to know.

/// The phases, in their order. Nothing goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Built and bound; nobody is served yet.
    Starting,
    /// Clients are taken.
    Serving,
    /// No new client is taken; those here are sent to other nodes, a few at a time.
    Draining,
    /// Those that are left are being closed and what they had not taken is handed over.
    Stopping,
    /// Nothing is left.
    Stopped,
}

impl Phase {
    /// The phase in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}
