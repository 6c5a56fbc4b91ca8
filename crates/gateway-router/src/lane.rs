//! The gRPC lane: one bidirectional stream from one worker to one endpoint.
//!
//! Commands wait in a queue; when the connection wants data, what has gathered leaves as one batch, without any
//! delay timer. Correlation numbers tie replies to commands. A broken stream fails everything on it in the order in
//! which it was submitted: what was never written is safe to repeat, what was written is lost. The lane then waits
//! for the next command and connects again, with jittered back-off.
//!
//! A server that announces the end of the connection (GOAWAY) drains the lane: commands that have not left are given
//! back to be sent by a successor ([`Outcome::Unprocessed`]), new ones are rejected ([`Rejected::Draining`]), and the
//! lane ends when those that have left are answered or out of time. [`pool`](crate::pool) makes the successor;
//! [`flow`](crate::flow) keeps a session's later commands back until its earlier ones on the old lane have ended, for
//! two streams keep no order between them.
//!
//! A lane's task, and its connection, live on the runtime that its commands come from, so that a command never
//! changes threads on its way. The lane ends with that runtime.
//!
//! This module owns the queue and what is pending; [`task`] decides when to connect, carry and drain; [`link`] is one
//! connection; [`reply`] reads replies; [`wire`] writes batches; [`pace`] spaces connections.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::backend::{EndpointId, Lane, Outcome, Outgoing, Rejected};
use crate::endpoint::Endpoint;
use crate::error::RouterError;
use crate::flow::Completion;
use crate::lane::pace::Pace;
use crate::lane::reply::{Oversized, REPLY_BYTES, Replies};
use crate::lane::wire::{RawBatch, RawCommand};
use crate::telemetry::Telemetry;

mod link;
pub(crate) mod pace;
mod reply;
pub(crate) mod task;
mod wire;

/// Commands in one batch.
const BATCH_COMMANDS: usize = 256;
/// A batch ends before the command that would bring it over this; a larger command travels alone. Keeps batches far
/// below the 4 MiB that gRPC servers take by default.
const BATCH_BYTES: usize = 512 * 1024;
/// Bytes that may wait in one lane's queue before it refuses more.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// How often commands are looked through for those that are out of time, which spares each of them a timer of the
/// runtime that is nearly always set and cleared for nothing.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A lane to one endpoint.
pub(crate) struct GrpcLane {
    endpoint: Arc<Endpoint>,
    telemetry: Arc<Telemetry>,
    pace: Arc<Pace>,
    inner: Mutex<Inner>,
    /// There is something to connect for.
    work: Notify,
    /// There is something whose time may run out.
    busy: Notify,
}

struct Inner {
    state: State,
    /// Number of the stream that may take from the queue; an older one that is still polled gets nothing.
    stream: u64,
    next: u64,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    /// By our own numbers, which nobody can choose: a hash without a key does.
    pending: FxHashMap<u64, Pending>,
    /// The number of the next command when the last replies came: those before it were sent to a peer that answers.
    heard: u64,
    /// The stream's, while it waits for commands.
    waker: Option<Waker>,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// Its commands are being failed: a newer one must not overtake them.
    Failing,
    /// The server closes the connection; what has left is being answered.
    Draining,
    Closed,
}

/// What the end of a stream means for the commands that have left and are not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// They may have been done.
    Lost,
    /// The server has not looked at them.
    Unprocessed,
}

struct Queued {
    number: u64,
    deadline: Instant,
    request: bytes::Bytes,
}

struct Pending {
    done: Completion,
    deadline: Instant,
    written: bool,
}

impl GrpcLane {
    /// A lane that connects when its first command comes, not before `pace` allows it.
    pub(crate) fn new(endpoint: Arc<Endpoint>, telemetry: Arc<Telemetry>, pace: Arc<Pace>) -> Self {
        let inner = Inner {
            state: State::Open,
            stream: 0,
            next: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            pending: FxHashMap::default(),
            heard: 0,
            waker: None,
        };
        Self {
            endpoint,
            telemetry,
            pace,
            inner: Mutex::new(inner),
            work: Notify::new(),
            busy: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner().state == State::Closed
    }

    /// Whether it takes commands, now or once those of a broken stream have failed.
    pub(crate) fn takes_commands(&self) -> bool {
        matches!(self.inner().state, State::Open | State::Failing)
    }

    /// What a successor keeps of this lane.
    pub(crate) fn pace(&self) -> Arc<Pace> {
        self.pace.clone()
    }

    /// Waits until a command is queued.
    async fn work(&self) {
        loop {
            let notified = self.work.notified();
            if !self.inner().queue.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Fails what is out of time, for ever. Sleeps while nothing is under way.
    async fn keep_deadlines(&self) -> Infallible {
        loop {
            let busy = self.busy.notified();
            if self.inner().pending.is_empty() {
                busy.await;
            }
            sleep(LOOK_EVERY).await;
            self.expire(Instant::now());
        }
    }

    /// Fails what is out of time at `now`. What has not left yet never does.
    fn expire(&self, now: Instant) {
        let mut silent = false;
        let late: Vec<_> = {
            let mut inner = self.inner();
            let heard = inner.heard;
            let late = inner.pending.extract_if(|_, pending| pending.deadline <= now);
            late.inspect(|(number, pending)| silent |= pending.written && *number >= heard)
                .collect()
        };
        if silent {
            self.endpoint.silent(now);
        }
        for (_, pending) in late {
            pending.done.finish(Outcome::Failed(RouterError::Timeout));
        }
    }

    /// Commands that were submitted and are neither answered nor cancelled.
    pub(crate) fn pending(&self) -> usize {
        self.inner().pending.len()
    }

    /// The next batch for stream number `stream`; `None` if that one is over.
    fn poll_batch(&self, stream: u64, cx: &mut Context<'_>) -> Poll<Option<RawBatch>> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        if inner.stream != stream || inner.state == State::Closed {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        let mut commands = Vec::new();
        let mut bytes = 0;
        while let Some(next) = inner.queue.front() {
            let size = next.request.len();
            if commands.len() == BATCH_COMMANDS || (bytes + size > BATCH_BYTES && !commands.is_empty()) {
                break;
            }
            let Some(next) = inner.queue.pop_front() else {
                break;
            };
            inner.queue_bytes -= size;
            // Cancelled, or out of time: its caller is about to say so.
            let Some(pending) = inner.pending.get_mut(&next.number) else {
                continue;
            };
            let left = next.deadline.saturating_duration_since(now);
            if left.is_zero() {
                continue;
            }
            pending.written = true;
            bytes += size;
            if commands.is_empty() {
                commands.reserve_exact(BATCH_COMMANDS.min(inner.queue.len() + 1));
            }
            commands.push(RawCommand {
                correlation_id: next.number,
                timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
                request: next.request,
            });
        }
        if commands.is_empty() {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(guard);
        self.telemetry.batch.record(commands.len() as f64);
        Poll::Ready(Some(RawBatch { commands }))
    }

    /// Finishes the commands that these replies belong to.
    fn answered(&self, replies: Replies) {
        let Replies { whole, oversized } = replies;
        let mut done = Vec::with_capacity(whole.len());
        {
            let mut inner = self.inner();
            inner.heard = inner.next;
            for reply in whole {
                match inner.pending.remove(&reply.correlation_id) {
                    Some(pending) => done.push((pending.done, reply.reply)),
                    None => self.telemetry.unclaimed.increment(1),
                }
            }
        }
        // After the lock: a completion takes its flow's lock, and a flow submits under its own.
        for (completion, reply) in done {
            completion.finish(match reply {
                Some(reply) => Outcome::Reply(Box::new(reply)),
                None => Outcome::Failed(RouterError::BadReply),
            });
        }
        for reply in oversized {
            self.refuse(reply);
        }
    }

    /// Fails the command whose reply is over the limit, and no other.
    fn refuse(&self, Oversized { correlation_id, size }: Oversized) {
        tracing::warn!(
            service = self.telemetry.service(),
            endpoint = %self.endpoint.uri,
            size,
            limit = REPLY_BYTES,
            "a reply of a back end is over the limit; its command fails"
        );
        let pending = self.inner().pending.remove(&correlation_id);
        match pending {
            Some(pending) => pending.done.finish(Outcome::Failed(RouterError::ReplyTooLarge)),
            None => self.telemetry.unclaimed.increment(1),
        }
    }

    /// The server closes the connection: gives back what has not left, and takes no more.
    fn drain(&self) {
        let unsent = {
            let mut inner = self.inner();
            inner.stream += 1;
            inner.state = State::Draining;
            inner.queue = VecDeque::new();
            inner.queue_bytes = 0;
            let unsent = inner.pending.extract_if(|_, pending| !pending.written);
            let mut unsent: Vec<_> = unsent.collect();
            unsent.sort_unstable_by_key(|(number, _)| *number);
            unsent
        };
        for (_, pending) in unsent {
            pending
                .done
                .finish(Outcome::Unprocessed(RouterError::Disconnected));
        }
    }

    /// The stream is over: fails all that is on the lane, in order, and then is in state `after`.
    fn fail_all(&self, unanswered: Unanswered, error: &RouterError, after: State) {
        let (mut failed, waker) = {
            let mut inner = self.inner();
            inner.stream += 1;
            inner.state = State::Failing;
            inner.queue = VecDeque::new();
            inner.queue_bytes = 0;
            let failed: Vec<_> = std::mem::take(&mut inner.pending).into_iter().collect();
            (failed, inner.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        failed.sort_unstable_by_key(|(number, _)| *number);
        for (_, pending) in failed {
            pending.done.finish(match unanswered {
                Unanswered::Unprocessed => Outcome::Unprocessed(error.clone()),
                Unanswered::Lost if pending.written => Outcome::Lost(error.clone()),
                Unanswered::Lost => Outcome::NeverLeft(error.clone()),
            });
        }
        self.inner().state = after;
    }
}

impl Lane for GrpcLane {
    fn endpoint(&self) -> EndpointId {
        self.endpoint.id
    }

    fn submit(&self, command: Outgoing) -> Result<u64, Rejected> {
        let mut inner = self.inner();
        match inner.state {
            State::Open => {}
            State::Draining => return Err(Rejected::Draining),
            State::Failing | State::Closed => return Err(Rejected::NotReady),
        }
        let size = command.request.len();
        if inner.queue_bytes + size > QUEUE_BYTES && !inner.queue.is_empty() {
            return Err(Rejected::Full);
        }
        let number = inner.next;
        inner.next += 1;
        inner.queue_bytes += size;
        inner.queue.push_back(Queued {
            number,
            deadline: command.deadline,
            request: command.request,
        });
        inner.pending.insert(
            number,
            Pending {
                done: command.done,
                deadline: command.deadline,
                written: false,
            },
        );
        let waker = inner.waker.take();
        let first = inner.queue.len() == 1;
        let alone = inner.pending.len() == 1;
        drop(inner);
        if alone {
            self.busy.notify_one();
        }
        match waker {
            Some(waker) => waker.wake(),
            None if first => self.work.notify_one(),
            None => {}
        }
        Ok(number)
    }

    fn cancel(&self, number: u64) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        // Its completion holds the flow, not the other way round: dropping it under this lock is safe.
        let Some(pending) = inner.pending.remove(&number) else {
            return;
        };
        if !pending.written
            && let Ok(at) = inner.queue.binary_search_by_key(&number, |queued| queued.number)
        {
            let request = std::mem::take(&mut inner.queue[at].request);
            inner.queue_bytes -= request.len();
        }
    }
}

#[cfg(test)]
mod tests;
