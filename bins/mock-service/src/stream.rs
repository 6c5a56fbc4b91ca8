//! One stream of commands, and of the replies to them.
//!
//! Whoever writes the replies out reads the commands: asked for the next batch of replies, a [`CommandStream`]
//! reads a batch of commands, runs what can be run at once and hands the replies over together. No task stands
//! between the two, and a peer that takes no replies is not read, which HTTP/2 flow control passes on to it.
//!
//! What has to wait goes to the lanes of the engine, at most 4,096 commands of a stream at a time.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
    vec,
};

use gateway_codec::{
    Code,
    proto::backend::{Command, CommandBatch, Reply},
};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::{engine::Engine, error::ServiceError, wire};

const MOST_IN_LANES: usize = 4_096;
const MOST_IN_BATCH: usize = 256;
/// A batch that has this much in its bodies is sent as it is: the gateway takes one of 16 MiB at most, and a
/// reply can be some hundred KiB.
const LARGEST_BATCH: usize = 1 << 20;

/// The commands of one stream and what has become of them.
pub(crate) struct CommandStream {
    engine: Arc<Engine>,
    /// `None` once nothing more is read: the peer has said all, or the service ends.
    commands: Option<Streaming<CommandBatch>>,
    /// Read and not yet looked at.
    unread: vec::IntoIter<Command>,
    received: Instant,
    /// Replies to go out next.
    batch: Vec<Reply>,
    batch_bytes: usize,
    /// From the lanes: one answer to each command, with no reply where it is left hanging.
    answers: mpsc::Receiver<Answer>,
    answering: mpsc::Sender<Answer>,
    in_lanes: usize,
}

/// What came of a command that had to wait.
type Answer = Option<Reply>;

impl CommandStream {
    pub(crate) fn new(engine: Arc<Engine>, commands: Streaming<CommandBatch>) -> Self {
        let (answering, answers) = mpsc::channel(MOST_IN_LANES);
        Self {
            engine,
            commands: Some(commands),
            unread: Vec::new().into_iter(),
            received: Instant::now(),
            batch: Vec::new(),
            batch_bytes: 0,
            answers,
            answering,
            in_lanes: 0,
        }
    }

    /// Replies, as soon as there are any; `None` after the last. What has been begun is answered also where
    /// the service ends.
    pub(crate) async fn next_batch(&mut self) -> Option<Vec<Reply>> {
        loop {
            if self.engine.ending.is_cancelled() {
                self.stop_reading();
            }
            self.take_answers();
            self.run_commands();
            if !self.batch.is_empty() {
                self.batch_bytes = 0;
                return Some(mem::take(&mut self.batch));
            }
            if self.commands.is_none() && self.in_lanes == 0 {
                return None;
            }
            self.wait().await;
        }
    }

    /// Runs or queues what has been read, until the batch or the lanes are full.
    fn run_commands(&mut self) {
        self.batch.reserve(self.unread.len().min(MOST_IN_BATCH));
        // Asked once: a batch of commands is done long before the clock has moved by a millisecond.
        let waited = self.received.elapsed();
        while !self.is_full()
            && self.in_lanes < MOST_IN_LANES
            && let Some(next) = self.unread.as_slice().first()
        {
            let session = next.request.as_ref().map(|request| request.session_id.as_str());
            let free = session.is_none_or(|session| self.engine.has_no_queue(session));
            if free && self.in_lanes > 0 {
                // Replies of one session leave in order: its lane, empty now, may have answered meanwhile.
                self.take_answers();
                if self.is_full() {
                    return;
                }
            }
            if let Some(command) = self.unread.next() {
                self.run(command, free, waited);
            }
        }
    }

    fn run(&mut self, command: Command, free: bool, waited: Duration) {
        let Command {
            correlation_id,
            timeout_ms,
            request,
        } = command;
        let reply_with = move |reply| Reply {
            correlation_id,
            reply: Some(reply),
        };
        let Some(request) = request else {
            let error = ServiceError::new(Code::BadRequest, "no request");
            return self.push(reply_with(wire::refusal(&error)));
        };
        let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()));
        if free {
            let late = timeout.is_some_and(|timeout| waited >= timeout);
            if let Some(reply) = self.engine.run_now(&request, late) {
                return self.push(reply_with(reply));
            }
        }
        self.in_lanes += 1;
        let answering = self.answering.clone();
        let deadline = timeout.map(|timeout| self.received + timeout);
        self.engine.submit(request, deadline, move |reply| {
            // Never full: it has as many slots as a stream has places in the lanes. Closed: the peer has gone.
            let _ = answering.try_send(reply.map(reply_with));
        });
    }

    /// Moves what the lanes have answered to the batch.
    fn take_answers(&mut self) {
        while self.in_lanes > 0
            && !self.is_full()
            && let Ok(answer) = self.answers.try_recv()
        {
            self.take(answer);
        }
    }

    fn take(&mut self, answer: Answer) {
        self.in_lanes -= 1;
        if let Some(reply) = answer {
            self.push(reply);
        }
    }

    fn push(&mut self, reply: Reply) {
        self.batch_bytes += reply.reply.as_ref().map_or(0, |reply| reply.body.len());
        self.batch.push(reply);
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= MOST_IN_BATCH || self.batch_bytes >= LARGEST_BATCH
    }

    /// Waits for an answer from the lanes or, where all commands have been looked at, for more commands.
    async fn wait(&mut self) {
        let Some(commands) = self.commands.as_mut() else {
            if let Some(answer) = self.answers.recv().await {
                self.take(answer);
            }
            return;
        };
        let all_looked_at = self.unread.as_slice().is_empty();
        tokio::select! {
            biased;
            () = self.engine.ending.cancelled() => self.stop_reading(),
            Some(answer) = self.answers.recv(), if self.in_lanes > 0 => self.take(answer),
            read = commands.message(), if all_looked_at && self.in_lanes < MOST_IN_LANES => match read {
                Ok(Some(batch)) => {
                    self.unread = batch.commands.into_iter();
                    self.received = Instant::now();
                }
                Ok(None) | Err(_) => self.commands = None,
            },
        }
    }

    fn stop_reading(&mut self) {
        self.commands = None;
        self.unread = Vec::new().into_iter();
    }
}
