//! One call from its place in the order to its result: waiting, back-off, the deadline, and giving up.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gateway_codec::proto::backend::CommandReply;
use tokio::time::{sleep, sleep_until};

use crate::backend::Backend;
use crate::backoff::jittered;
use crate::error::RouterError;
use crate::flow::order::Step;
use crate::flow::{CallLimits, Flow, Parcel, Shared};

/// The waits between repeats of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RepeatPace {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

impl RepeatPace {
    pub(crate) const DEFAULT: Self = Self {
        base: Duration::from_millis(20),
        cap: Duration::from_millis(500),
    };
}

/// A call that has taken its place; dropping it cancels the command.
pub(crate) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) service: u32,
    pub(super) id: u64,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) parcel: Parcel,
    pub(super) pace: RepeatPace,
}

impl Call {
    /// Takes the next place in the flow's order for this service, and sends if nothing waits before it.
    pub(crate) fn place(
        flow: &Flow,
        service: u32,
        backend: Arc<dyn Backend>,
        parcel: Parcel,
        limits: CallLimits,
        pace: RepeatPace,
    ) -> Self {
        let shared = flow.shared().clone();
        let (id, _nobody_waits_yet) = shared.place(service, |order, id| {
            order.place(id, limits, &*backend, None, |attempt| {
                parcel.outgoing(&shared, service, id, attempt)
            })
        });
        Self {
            shared,
            service,
            id,
            backend,
            parcel,
            pace,
        }
    }

    /// Waits for the result; `repeated` is called for each repeat.
    pub(crate) async fn run(self, mut repeated: impl FnMut()) -> Result<Box<CommandReply>, RouterError> {
        let mut deadline = pin!(sleep_until(self.parcel.deadline));
        loop {
            let step = tokio::select! {
                biased;
                step = poll_fn(|cx| self.poll(cx)) => step,
                () = &mut deadline => return Err(RouterError::Timeout),
            };
            match step {
                Step::Done(result) => return result,
                Step::BackOff(past) => {
                    repeated();
                    let wait = jittered(self.pace.base, self.pace.cap, past);
                    if !wait.is_zero() {
                        tokio::select! {
                            () = sleep(wait) => {}
                            () = &mut deadline => return Err(RouterError::Timeout),
                        }
                    }
                    self.shared
                        .with(self.service, |order| (order.resume(self.id), None));
                }
            }
        }
    }

    fn poll(&self, cx: &mut std::task::Context<'_>) -> Poll<Step> {
        self.shared
            .with(self.service, |order| {
                order.poll(self.id, cx, &*self.backend, |attempt| {
                    self.parcel.outgoing(&self.shared, self.service, self.id, attempt)
                })
            })
            .unwrap_or(Poll::Pending)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(Some((lane, number))) = self.shared.with(self.service, |order| order.remove(self.id)) {
            lane.cancel(number);
        }
    }
}
