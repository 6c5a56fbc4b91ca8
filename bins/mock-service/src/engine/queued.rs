//! The way of commands that wait: for a made-up latency, for something outside, or for others of their session.
//!
//! A command that has its place is run to its end even if whoever asked has gone, so that a repeat of it finds
//! its reply.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures_util::FutureExt as _;
use gateway_codec::proto::backend::{CommandReply, CommandRequest};

use crate::{
    engine::{Engine, broken, caller},
    error::ServiceError,
    faults::{Fate, FaultChange},
    replay::Seen,
    services::{self, Action, Answer, Caller, Effect, Slow},
    wire::{self, Encoding},
};

impl Engine {
    /// Gives a command its place in the session's order; `answer` is called once, with `None` where the
    /// command is left hanging.
    pub(crate) fn submit(
        self: &Arc<Self>,
        request: CommandRequest,
        deadline: Option<Instant>,
        answer: impl FnOnce(Option<CommandReply>) + Send + 'static,
    ) {
        let answer = Answering(Some(Box::new(answer)));
        let engine = Arc::clone(self);
        let session = request.session_id.clone();
        let job = async move {
            // A panic in a rule must not stop the lane.
            let run = AssertUnwindSafe(engine.answer(request, deadline))
                .catch_unwind()
                .await;
            answer.give(run.unwrap_or_else(|_| Some(broken())));
        };
        // Where the lanes refuse the job, it is dropped unrun, and `Answering` says that we are busy.
        let _ = self.lanes.submit(&session, Box::pin(job));
    }

    async fn answer(&self, request: CommandRequest, deadline: Option<Instant>) -> Option<CommandReply> {
        let control = request.cmd_id == self.kind.control_command();
        if !control {
            match self.faults.fate() {
                Fate::Hang => return None,
                Fate::Fail(code) => return Some(wire::refusal(&ServiceError::new(code, "made-up fault"))),
                Fate::Run(latency) => self.take_time(latency).await,
            }
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if let Err(error) = Self::check(&request, late) {
                return Some(self.refuse(&request, &error));
            }
        }
        let (action, encoding) = match wire::read(self.kind, &request) {
            Ok(read) => read,
            Err(error) => return Some(self.refuse(&request, &error)),
        };
        if control || request.request_id.is_empty() || !is_remembered(&action) {
            return Some(self.run(&request, action, encoding).await);
        }
        Some(match self.replays.begin(&request.request_id).await {
            Seen::Before(reply) => *reply,
            Seen::First(ticket) => {
                let reply = self.run(&request, action, encoding).await;
                ticket.finish(&reply);
                reply
            }
        })
    }

    async fn run(&self, request: &CommandRequest, action: Action, encoding: Encoding) -> CommandReply {
        let caller = caller(request);
        let outcome = match action {
            Action::Quick(action) => action.run(&self.shared, caller),
            Action::Slow(action) => self.run_slow(caller, action).await,
        };
        self.reply(request, encoding, outcome)
    }

    async fn run_slow(&self, caller: Caller<'_>, action: Slow) -> Result<Effect, ServiceError> {
        let shared = &self.shared;
        match action {
            Slow::SignIn(action) => services::sign_in::run(shared, caller, action).await,
            Slow::Push(action) => services::push::run(shared, caller, action).await,
            Slow::Faults(change) => self.change_faults(change).await,
        }
    }

    async fn change_faults(&self, change: FaultChange) -> Result<Effect, ServiceError> {
        let settings = self.faults.change(change)?;
        self.say_serving(settings.serving).await;
        tracing::info!(service = %self.kind, ?settings, "faults changed");
        Ok(Answer::Faults(settings).into())
    }
}

/// Whether a repeat gets the reply that the first one got.
fn is_remembered(action: &Action) -> bool {
    match action {
        Action::Quick(action) => !action.only_reads(),
        Action::Slow(_) => true,
    }
}

type AnswerFn = Box<dyn FnOnce(Option<CommandReply>) + Send>;

/// Somebody to be answered, once: a job dropped unrun answers 503.
struct Answering(Option<AnswerFn>);

impl Answering {
    fn give(mut self, reply: Option<CommandReply>) {
        if let Some(answer) = self.0.take() {
            answer(reply);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Some(wire::refusal(&ServiceError::unavailable(
                "the service is busy",
            ))));
        }
    }
}
