//! The seam to the wire between nodes.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use gateway_codec::NodeId;
use gateway_codec::proto::cluster::{Answers, Batch};
use tokio::sync::mpsc;

/// Why another node cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("the node cannot be reached: {0}")]
pub struct TransportError(pub String);

/// What comes back over a link; it ends where the link does.
pub type AnswerStream = BoxStream<'static, Result<Answers, TransportError>>;

/// Opens ordered streams to other nodes.
#[async_trait]
pub trait PeerTransport: Send + Sync + 'static {
    /// A stream to the node at `address` (`host:port`), which is told who calls. It ends when `frames` does.
    ///
    /// # Errors
    /// [`TransportError`]. The caller bounds the wait.
    async fn open(
        &self,
        address: &str,
        frames: mpsc::Receiver<Batch>,
    ) -> Result<AnswerStream, TransportError>;
}

/// Who has opened a stream to this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Its name.
    pub node: NodeId,
    /// Its process.
    pub boot: Arc<str>,
}
