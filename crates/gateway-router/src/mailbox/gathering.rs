//! Binds that come at nearly the same time are told to the message service in one call.
//!
//! A unary call costs gateway and service 20 µs and more, most of it per call and not per bind: when 10,000 devices
//! come back at once that is a third of the whole handshake. So the first that asks begins a task, which lets
//! everything run that can run now and then takes all that has gathered: whoever has many to tell of tells of them
//! together. Nothing waits here, and a call that hangs holds up only those in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use gateway_codec::proto::backend::backend_client::BackendClient;
use gateway_codec::proto::backend::{SessionBoundReply, SessionBoundRequest, SessionsBoundRequest};
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::Mailbox;
use crate::error::RouterError;

/// Binds told in one call; others that wait make another one.
const AT_ONCE: usize = 256;

struct Question {
    request: SessionBoundRequest,
    limit: Duration,
    answer: oneshot::Sender<Result<SessionBoundReply, RouterError>>,
}

/// See the module. What waits is bounded by the callers, each of whom waits for its answer.
#[derive(Default)]
pub(super) struct Gathering {
    waiting: Mutex<Waiting>,
    /// The service does not know calls for several.
    one_by_one: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    questions: Vec<Question>,
    /// A task is about to take them.
    begun: bool,
}

impl Gathering {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a question to the others; `true` where a task has to be begun that takes them.
    fn put(&self, question: Question) -> bool {
        let mut waiting = self.waiting();
        waiting.questions.push(question);
        !std::mem::replace(&mut waiting.begun, true)
    }

    /// Takes what has gathered, oldest first; `true` where there is more, for another task.
    fn take(&self) -> (Vec<Question>, bool) {
        let mut waiting = self.waiting();
        let some = waiting.questions.len().min(AT_ONCE);
        let taken: Vec<_> = waiting.questions.drain(..some).collect();
        waiting.begun = !waiting.questions.is_empty();
        (taken, waiting.begun)
    }
}

impl Mailbox {
    pub(super) async fn session_bound(
        self: &Arc<Self>,
        request: SessionBoundRequest,
        limit: Duration,
    ) -> Result<SessionBoundReply, RouterError> {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            request,
            limit,
            answer,
        };
        if self.gathering.put(question) {
            self.begin();
        }
        answered.await.unwrap_or(Err(RouterError::ShuttingDown))
    }

    fn begin(self: &Arc<Self>) {
        let mailbox = self.clone();
        self.tasks.spawn(async move {
            tokio::task::yield_now().await;
            let (questions, more) = mailbox.gathering.take();
            if more {
                mailbox.begin();
            }
            mailbox.ask(questions).await;
        });
    }

    async fn ask(&self, mut questions: Vec<Question>) {
        // Whoever has given up waiting needs no answer.
        questions.retain(|question| !question.answer.is_closed());
        while questions.len() > 1 && !self.gathering.one_by_one.load(Ordering::Relaxed) {
            match self.ask_for_all(&questions).await {
                Ok(Some(replies)) => {
                    for (question, reply) in questions.drain(..replies.len()).zip(replies) {
                        // It may have given up meanwhile; so below.
                        let _ = question.answer.send(Ok(reply));
                    }
                }
                Ok(None) => self.gathering.one_by_one.store(true, Ordering::Relaxed),
                Err(error) => {
                    for question in questions.drain(..) {
                        let _ = question.answer.send(Err(error.clone()));
                    }
                }
            }
        }
        let each = questions.into_iter().map(|question| async move {
            let send = |mut client: BackendClient<Channel>, request| async move {
                client.session_bound(request).await
            };
            let reply = self.call(question.request, question.limit, send).await;
            let _ = question.answer.send(reply);
        });
        join_all(each).await;
    }

    /// Replies to the first of them, to one at least; `None` where the service does not know such calls.
    async fn ask_for_all(
        &self,
        questions: &[Question],
    ) -> Result<Option<Vec<SessionBoundReply>>, RouterError> {
        let sessions = questions.iter().map(|question| question.request.clone());
        let request = SessionsBoundRequest {
            sessions: sessions.collect(),
        };
        let limit = questions.iter().map(|question| question.limit).min();
        let send = |mut client: BackendClient<Channel>, request| async move {
            match client.sessions_bound(request).await {
                Ok(reply) => Ok(reply.map(Some)),
                Err(status) if status.code() == Code::Unimplemented => Ok(Response::new(None)),
                Err(status) => Err::<_, Status>(status),
            }
        };
        let reply = self.call(request, limit.unwrap_or_default(), send).await?;
        match reply.map(|reply| reply.replies) {
            Some(replies) if replies.is_empty() || replies.len() > questions.len() => {
                Err(RouterError::BadReply)
            }
            replies => Ok(replies),
        }
    }
}
