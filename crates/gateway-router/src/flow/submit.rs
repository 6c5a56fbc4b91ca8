//! A command whose end is told to a function: what nearly every command is.
//!
//! A future for each command in flight costs a task, a timer and a kilobyte of moving it about. Without them, and with
//! the other changes that `docs/performance.md` lists, a command among 16 takes 2.7 µs of the gateway's CPU, where it took 5.
//! So while a command is where it should be, on a lane,
//! nothing but its entry in the order exists; the lane's reply calls the function. Only a command that has to wait or
//! to be repeated gets a future, [`Call`], and from then on is a call like any other.

use std::sync::Arc;

use gateway_codec::proto::backend::CommandReply;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::error::RouterError;
use crate::flow::call::{Call, RepeatPace};
use crate::flow::order::Next;
use crate::flow::{CallLimits, Flow, Parcel, Shared};
use crate::service::Permit;

/// Is told how a command ended. Called once, on the runtime that carries the command, without any lock. It takes the
/// place of a task and a timer for each command in flight.
pub type Done = Box<dyn FnOnce(Result<CommandReply, RouterError>) + Send>;

/// A submitted command, as its entry in the order keeps it.
pub(crate) struct Submission {
    backend: Arc<dyn Backend>,
    parcel: Parcel,
    permit: Permit,
    done: Done,
}

impl Submission {
    pub(crate) fn new(backend: Arc<dyn Backend>, parcel: Parcel, permit: Permit, done: Done) -> Self {
        Self {
            backend,
            parcel,
            permit,
            done,
        }
    }

    /// Takes the next place in the flow's order for this service, and sends if nothing waits before it.
    pub(crate) fn place(self, flow: &Flow, service: u32, limits: CallLimits) {
        let shared = flow.shared();
        let (backend, parcel) = (self.backend.clone(), self.parcel.clone());
        let (id, next) = shared.place(service, |order, id| {
            order.place(id, limits, &*backend, Some(Box::new(self)), |attempt| {
                parcel.outgoing(shared, service, id, attempt)
            })
        });
        go_on(shared, service, id, next);
    }

    fn end(self, result: Result<Box<CommandReply>, RouterError>) {
        let Self { permit, done, .. } = self;
        permit.end(&result);
        done(result.map(|reply| *reply));
    }

    /// Gives the command a future of its own, for its waits and repeats.
    fn drive(self, shared: &Arc<Shared>, service: u32, id: u64) {
        let call = Call {
            shared: shared.clone(),
            service,
            id,
            backend: self.backend.clone(),
            parcel: self.parcel.clone(),
            pace: RepeatPace::DEFAULT,
        };
        let Ok(runtime) = Handle::try_current() else {
            // Only where a runtime is torn down: there is nobody to wait, and nobody to be told later.
            drop(call);
            return self.end(Err(RouterError::ShuttingDown));
        };
        let tasks = self.permit.tasks().clone();
        tasks.spawn_on(
            async move {
                let result = call.run(|| self.permit.repeated()).await;
                self.end(result);
            },
            &runtime,
        );
    }
}

/// Does what a change of the order asks for. The flow's lock is free.
pub(super) fn go_on(shared: &Arc<Shared>, service: u32, id: u64, next: Next) {
    match next {
        Next::Nothing => {}
        Next::Wake(waker) => waker.wake(),
        Next::Ended(submission, result) => submission.end(result),
        Next::Drive(submission) => submission.drive(shared, service, id),
    }
}
