//! One command from request to reply: place in the session's order, faults, deadline, request id, rules.
//!
//! A command that has its place is run to its end even if whoever asked has gone, so that a repeat of it
//! finds its reply. How commands arrive is `backend`'s concern.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use gateway_codec::{
    Code,
    proto::backend::{CommandReply, CommandRequest, backend_server::BackendServer},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    backend::BackendService,
    clock,
    error::ServiceError,
    faults::{Fate, FaultChange, Faults},
    lanes::Lanes,
    options::ServiceKind,
    replay::{Replays, Seen},
    services::{self, Action, Answer, Caller, Effect, Shared},
    wire,
};

/// Longer request ids are refused: they are kept.
const LONGEST_REQUEST_ID: usize = 128;

/// What the health check calls the Backend service.
const SERVICE_NAME: &str = <BackendServer<BackendService> as tonic::server::NamedService>::NAME;

/// One running service.
pub(crate) struct Engine {
    pub(crate) kind: ServiceKind,
    pub(crate) shared: Arc<Shared>,
    pub(crate) faults: Faults,
    /// Cancelled when the service ends.
    pub(crate) ending: CancellationToken,
    pub(crate) tasks: TaskTracker,
    health: HealthReporter,
    lanes: Lanes,
    replays: Replays,
}

impl Engine {
    pub(crate) fn new(
        kind: ServiceKind,
        shared: Arc<Shared>,
        faults: Faults,
        health: HealthReporter,
        ending: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let lanes = Lanes::new(tasks.clone());
        Self {
            kind,
            shared,
            faults,
            ending,
            tasks,
            health,
            lanes,
            replays: Replays::default(),
        }
    }

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
            let failed = || Some(wire::refusal(&ServiceError::new(Code::Internal, "")));
            answer.give(run.unwrap_or_else(|_| failed()));
        };
        // Where the lanes refuse the job, it is dropped unrun, and `Answering` says that we are busy.
        let _ = self.lanes.submit(&session, Box::pin(job));
    }

    /// What the health check says, from now on.
    pub(crate) async fn say_serving(&self, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.health.set_service_status("", status).await;
        self.health.set_service_status(SERVICE_NAME, status).await;
    }

    /// Ends the streams of those who watch the health, which would keep their connections open.
    pub(crate) async fn end_health(&self) {
        self.say_serving(false).await;
        let mut health = self.health.clone();
        health.clear_service_status("").await;
        health.clear_service_status(SERVICE_NAME).await;
    }

    async fn answer(&self, request: CommandRequest, deadline: Option<Instant>) -> Option<CommandReply> {
        if request.cmd_id == self.kind.control_command() {
            return Some(self.run(&request).await);
        }
        match self.faults.fate() {
            Fate::Hang => return None,
            Fate::Fail(code) => return Some(wire::refusal(&ServiceError::new(code, "made-up fault"))),
            Fate::Run(latency) => self.take_time(latency).await,
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            // Whoever asked has had this answer from the gateway already; nothing has been done.
            return Some(wire::refusal(&ServiceError::new(Code::GatewayTimeout, "")));
        }
        if request.request_id.is_empty() {
            return Some(self.run(&request).await);
        }
        if request.request_id.len() > LONGEST_REQUEST_ID {
            return Some(wire::refusal(&ServiceError::bad("request_id is over 128 bytes")));
        }
        Some(match self.replays.begin(&request.request_id).await {
            Seen::Before(reply) => CommandReply::clone(&reply),
            Seen::First(ticket) => {
                let reply = Arc::new(self.run(&request).await);
                ticket.finish(&reply);
                Arc::unwrap_or_clone(reply)
            }
        })
    }

    /// Waits as long as a command is meant to take, or until the service ends.
    pub(crate) async fn take_time(&self, latency: Duration) {
        if !latency.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(latency) => {}
                () = self.ending.cancelled() => {}
            }
        }
    }

    async fn run(&self, request: &CommandRequest) -> CommandReply {
        let caller = Caller {
            user_id: &request.user_id,
            now: clock::now_ms(),
        };
        let outcome = match wire::read(self.kind, request) {
            Ok((action, encoding)) => self.apply(caller, action).await.map(|effect| (effect, encoding)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((effect, encoding)) => wire::write(encoding, effect),
            Err(error) => {
                tracing::debug!(service = %self.kind, cmd_id = request.cmd_id, %error, "refused");
                wire::refusal(&error)
            }
        }
    }

    async fn apply(&self, caller: Caller<'_>, action: Action) -> Result<Effect, ServiceError> {
        let shared = &self.shared;
        match action {
            Action::User(action) => services::user::run(shared, caller, action).await,
            Action::Message(action) => services::message::run(shared, caller, action),
            Action::Friend(action) => services::friend::run(shared, caller, action),
            Action::Group(action) => services::group::run(shared, caller, action),
            Action::Push(action) => services::push::run(shared, caller, action).await,
            Action::Faults(change) => self.change_faults(change).await,
        }
    }

    async fn change_faults(&self, change: FaultChange) -> Result<Effect, ServiceError> {
        let settings = self.faults.change(change)?;
        self.say_serving(settings.serving).await;
        tracing::info!(service = %self.kind, ?settings, "faults changed");
        Ok(Answer::Faults(settings).into())
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
