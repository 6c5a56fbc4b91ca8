//! A command that is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::Link;
use crate::{ClientError, Reply};

/// A command that has been sent, and its reply when it comes. Dropping it gives up the reply, not the command.
#[must_use = "the reply comes by awaiting this"]
pub struct PendingReply {
    link: Arc<Link>,
    seq: u32,
    reply: oneshot::Receiver<Reply>,
    deadline: Pin<Box<Sleep>>,
}

impl PendingReply {
    pub(crate) fn new(link: Arc<Link>, seq: u32, reply: oneshot::Receiver<Reply>, deadline: Instant) -> Self {
        Self {
            link,
            seq,
            reply,
            deadline: Box::pin(sleep_until(deadline)),
        }
    }
}

impl Future for PendingReply {
    type Output = Result<Reply, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(reply) = Pin::new(&mut self.reply).poll(cx) {
            return Poll::Ready(reply.map_err(|_| ClientError::Closed(self.link.end_or_lost())));
        }
        self.deadline
            .as_mut()
            .poll(cx)
            .map(|()| Err(ClientError::Timeout))
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.link.forget(self.seq);
    }
}
