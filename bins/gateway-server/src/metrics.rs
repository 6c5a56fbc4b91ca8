//! Figures of the pipeline, through handles that are looked up once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_codec::Code;
use metrics::{Counter, Gauge};

/// Codes that a client can be refused with.
const REFUSALS: [Code; 11] = [
    Code::BadRequest,
    Code::Unauthorized,
    Code::Forbidden,
    Code::NotFound,
    Code::AuthTimeout,
    Code::Conflict,
    Code::TooLarge,
    Code::TooManyRequests,
    Code::Internal,
    Code::Unavailable,
    Code::GatewayTimeout,
];

/// Handles of the pipeline's figures.
#[derive(Clone)]
pub struct PipelineMetrics {
    /// Messages received, whatever became of them.
    pub messages: Counter,
    refused: Arc<[Counter]>,
    open: Arc<Open>,
}

/// Open WebSockets: for the operator, and for this node itself.
struct Open {
    gauge: Gauge,
    count: AtomicU64,
}

impl Default for PipelineMetrics {
    /// Registers the figures with the process's recorder.
    fn default() -> Self {
        let refused = REFUSALS
            .iter()
            .map(|code| metrics::counter!("gateway_refused_total", "code" => code.json().to_string()))
            .collect();
        Self {
            messages: metrics::counter!("gateway_messages_total"),
            refused,
            open: Arc::new(Open {
                gauge: metrics::gauge!("gateway_connections"),
                count: AtomicU64::new(0),
            }),
        }
    }
}

impl PipelineMetrics {
    /// A command was answered with an error.
    pub fn refused(&self, code: Code) {
        if let Some(index) = REFUSALS.iter().position(|refusal| *refusal == code) {
            self.refused[index].increment(1);
        }
    }

    /// WebSockets that are open on this node.
    pub fn open_connections(&self) -> u64 {
        self.open.count.load(Ordering::Relaxed)
    }

    /// One more WebSocket, until the guard is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.open.count.fetch_add(1, Ordering::Relaxed);
        self.open.gauge.increment(1.0);
        OpenConnection(self.open.clone())
    }
}

/// Counts a WebSocket while it is open.
pub struct OpenConnection(Arc<Open>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.decrement(1.0);
    }
}
