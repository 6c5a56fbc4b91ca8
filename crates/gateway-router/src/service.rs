//! One service as the router sees it: its back end, its limits, its count of what is in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gateway_codec::proto::backend::CommandReply;
use gateway_config::ServiceName;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::backend::Backend;
use crate::error::RouterError;
use crate::flow::call::{Call, RepeatPace};
use crate::flow::submit::{Done, Submission};
use crate::flow::{CallLimits, Flow, Parcel};
use crate::telemetry::{CallResult, Telemetry};

/// Encoded bytes of the commands in flight to one service; past it the service counts as overloaded.
const BYTES_IN_FLIGHT: usize = 256 * 1024 * 1024;

/// One service.
pub(crate) struct Service {
    /// Its number in the router, by which flows know it.
    id: u32,
    name: ServiceName,
    backend: Arc<dyn Backend>,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    bytes: AtomicUsize,
    telemetry: Arc<Telemetry>,
    /// Commands that need a future of their own.
    tasks: TaskTracker,
}

impl Service {
    pub(crate) fn new(
        id: u32,
        name: ServiceName,
        backend: Arc<dyn Backend>,
        max_in_flight: usize,
        telemetry: Arc<Telemetry>,
        tasks: TaskTracker,
    ) -> Self {
        let (in_flight, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self {
            id,
            name,
            backend,
            max_in_flight,
            in_flight,
            bytes,
            telemetry,
            tasks,
        }
    }

    pub(crate) fn name(&self) -> &ServiceName {
        &self.name
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a place in the flow's order and gives what waits for the result.
    pub(crate) fn call(
        self: &Arc<Self>,
        flow: &Flow,
        request: Bytes,
        limits: CallLimits,
    ) -> Result<Running, RouterError> {
        let permit = Permit::take(self, request.len())?;
        let deadline = permit.started + limits.timeout;
        let parcel = Parcel { request, deadline };
        let call = Call::place(
            flow,
            self.id,
            self.backend.clone(),
            parcel,
            limits,
            RepeatPace::DEFAULT,
        );
        Ok(Running { permit, call })
    }

    /// Takes a place in the flow's order; `done` is told how it ended.
    pub(crate) fn submit(self: &Arc<Self>, flow: &Flow, request: Bytes, limits: CallLimits, done: Done) {
        let permit = match Permit::take(self, request.len()) {
            Ok(permit) => permit,
            Err(error) => return done(Err(error)),
        };
        let deadline = permit.started + limits.timeout;
        let parcel = Parcel { request, deadline };
        Submission::new(self.backend.clone(), parcel, permit, done).place(flow, self.id, limits);
    }

    /// Counts a call that ended before it began.
    fn refused(&self, error: RouterError) -> RouterError {
        self.telemetry.ended(CallResult::from(&error));
        error
    }
}

/// A call under way. Dropped, it is cancelled and its slot is free.
pub(crate) struct Running {
    // Before the permit, so that the command is off its lane before its slot is free.
    call: Call,
    permit: Permit,
}

impl Running {
    pub(crate) async fn result(self) -> Result<CommandReply, RouterError> {
        let Self { permit, call } = self;
        let result = call.run(|| permit.repeated()).await;
        permit.end(&result);
        result.map(|reply| *reply)
    }
}

/// A slot among the service's commands in flight; says how the call ended when it is dropped.
pub(crate) struct Permit {
    service: Arc<Service>,
    bytes: usize,
    started: Instant,
    result: CallResult,
}

impl Permit {
    fn take(service: &Arc<Service>, bytes: usize) -> Result<Self, RouterError> {
        if service.in_flight.fetch_add(1, Ordering::Relaxed) >= service.max_in_flight {
            service.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(service.refused(RouterError::Overloaded));
        }
        let before = service.bytes.fetch_add(bytes, Ordering::Relaxed);
        service.telemetry.in_flight.increment(1.0);
        let permit = Self {
            service: service.clone(),
            bytes,
            started: Instant::now(),
            result: CallResult::Cancelled,
        };
        if before > 0 && before.saturating_add(bytes) > BYTES_IN_FLIGHT {
            let mut permit = permit;
            permit.result = CallResult::Overloaded;
            return Err(RouterError::Overloaded);
        }
        Ok(permit)
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.service.tasks
    }

    /// The command is being repeated.
    pub(crate) fn repeated(&self) {
        self.service.telemetry.retries.increment(1);
    }

    /// Frees the slot of a command that was not cancelled.
    pub(crate) fn end(mut self, result: &Result<Box<CommandReply>, RouterError>) {
        self.result = match result {
            Ok(reply) if reply.code == 200 => CallResult::Success,
            Ok(_) => CallResult::Refused,
            Err(error) => CallResult::from(error),
        };
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let service = &self.service;
        service.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        service.in_flight.fetch_sub(1, Ordering::Relaxed);
        service.telemetry.in_flight.decrement(1.0);
        service
            .telemetry
            .latency
            .record(self.started.elapsed().as_secs_f64());
        service.telemetry.ended(self.result);
    }
}
