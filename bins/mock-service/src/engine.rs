//! One command from request to reply: place in the session's order, faults, deadline, request id, rules.
//!
//! There are two ways. `inline` runs a command on the spot, which most can be; `queued` gives it a place in the
//! lane of its session and a task. How commands arrive is the concern of `backend` and `stream`.

mod inline;
mod queued;

use std::{sync::Arc, time::Duration};

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
    faults::Faults,
    lanes::Lanes,
    options::ServiceKind,
    replay::Replays,
    services::{Caller, Effect, Shared},
    wire::{self, Encoding},
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
        Self {
            kind,
            shared,
            faults,
            ending,
            health,
            lanes: Lanes::new(tasks),
            replays: Replays::default(),
        }
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

    /// Waits as long as a command is meant to take, or until the service ends.
    pub(crate) async fn take_time(&self, latency: Duration) {
        if !latency.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(latency) => {}
                () = self.ending.cancelled() => {}
            }
        }
    }

    /// What is wrong with a command before anybody looks at what it asks for.
    fn check(request: &CommandRequest, late: bool) -> Result<(), ServiceError> {
        if late {
            // Whoever asked has had this answer from the gateway already; nothing has been done.
            return Err(ServiceError::new(Code::GatewayTimeout, ""));
        }
        if request.request_id.len() > LONGEST_REQUEST_ID {
            return Err(ServiceError::bad("request_id is over 128 bytes"));
        }
        Ok(())
    }

    fn reply(
        &self,
        request: &CommandRequest,
        encoding: Encoding,
        outcome: Result<Effect, ServiceError>,
    ) -> CommandReply {
        match outcome {
            Ok(effect) => wire::write(encoding, effect),
            Err(error) => self.refuse(request, &error),
        }
    }

    fn refuse(&self, request: &CommandRequest, error: &ServiceError) -> CommandReply {
        tracing::debug!(service = %self.kind, cmd_id = request.cmd_id, %error, "refused");
        wire::refusal(error)
    }
}

fn caller(request: &CommandRequest) -> Caller<'_> {
    Caller {
        user_id: &request.user_id,
        now: clock::now_ms(),
    }
}

/// What is answered where a rule panics.
fn broken() -> CommandReply {
    wire::refusal(&ServiceError::new(Code::Internal, ""))
}
