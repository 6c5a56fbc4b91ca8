//! The order of one session's commands.
//!
//! A back end runs one session's commands in the order in which it gets them, so the gateway must hand them over in
//! the order in which the client sent them: commands of one session to one service take a place in a queue when they
//! are called; while one is in flight the next goes to the same lane, hence over the same stream; one that waits to
//! be repeated holds back those behind it that have not left. Commands to different services do not wait for each
//! other.
//!
//! An idle [`Flow`] is one pointer and, once used, one small allocation; the queues exist only while something is in
//! them. The rules themselves are in [`order`], without clock or I/O; [`call`] drives them.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::backend::{Outcome, Outgoing};
use crate::flow::order::{Next, Order};

pub(crate) mod call;
mod order;
pub(crate) mod submit;

/// How long a call may take, and whether and how often it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// From `call` to its result, waiting and repeats included.
    pub timeout: Duration,
    /// How often the command may be sent again, always with the same request id.
    pub retry_count: u32,
    /// Whether it may be sent again although it may have been done.
    pub idempotent: bool,
}

/// The order of one session's commands, per service. Keep one per session; make one per request for callers that
/// promise no order.
#[derive(Default)]
pub struct Flow {
    shared: OnceLock<Arc<Shared>>,
}

impl Flow {
    /// A flow with nothing in it. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commands have been called and are not finished, over all services.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared
            .get()
            .map_or(0, |shared| shared.state().orders.iter().map(Order::len).sum())
    }

    fn shared(&self) -> &Arc<Shared> {
        self.shared.get_or_init(Arc::default)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

/// What a flow shares with its calls and with the lanes that carry them.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers are never used again within a flow, so a late completion cannot meet a newer call.
    next: u64,
    /// One per service with something in flight: one or two, so a list.
    orders: Vec<Order>,
}

impl State {
    /// Frees an order that is empty: an idle flow keeps nothing.
    fn free(&mut self, at: usize) {
        if self.orders[at].is_empty() {
            self.orders.swap_remove(at);
            if self.orders.is_empty() {
                self.orders = Vec::new();
            }
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic under this lock leaves a queue that is still a queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next number and works on the order of `service`, which is made where there is none.
    fn place(&self, service: u32, work: impl FnOnce(&mut Order, u64) -> Next) -> (u64, Next) {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let at = state
            .orders
            .iter()
            .position(|order| order.service() == service)
            .unwrap_or_else(|| {
                state.orders.push(Order::new(service));
                state.orders.len() - 1
            });
        let next = work(&mut state.orders[at], id);
        state.free(at);
        (id, next)
    }

    /// Works on one service's order, frees it if that emptied it, and then wakes whom it gives, outside the lock.
    fn with<T>(&self, service: u32, work: impl FnOnce(&mut Order) -> (T, Option<Waker>)) -> Option<T> {
        let (value, waker) = {
            let mut state = self.state();
            let at = state.orders.iter().position(|order| order.service() == service)?;
            let done = work(&mut state.orders[at]);
            state.free(at);
            done
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(value)
    }
}

/// The end of one submitted command, held by the lane that carries it.
///
/// Dropped unfinished, its caller waits until its deadline.
#[must_use = "a caller waits for this"]
pub struct Completion {
    shared: Arc<Shared>,
    service: u32,
    id: u64,
    attempt: u32,
}

impl Completion {
    /// Tells how the command ended. If several fail together, finish them in the order in which they were submitted,
    /// so that they are repeated in that order.
    ///
    /// Takes the flow's lock: call it without holding a lock of the lane.
    pub fn finish(self, outcome: Outcome) {
        let next = self
            .shared
            .with(self.service, |order| order.finish(self.id, self.attempt, outcome));
        if let Some(next) = next {
            submit::go_on(&self.shared, self.service, self.id, next);
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// A command as a call keeps it for its repeats.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) request: bytes::Bytes,
    pub(crate) deadline: tokio::time::Instant,
}

impl Parcel {
    fn outgoing(&self, shared: &Arc<Shared>, service: u32, id: u64, attempt: u32) -> Outgoing {
        Outgoing {
            request: self.request.clone(),
            deadline: self.deadline,
            done: Completion {
                shared: shared.clone(),
                service,
                id,
                attempt,
            },
        }
    }
}

#[cfg(test)]
mod tests;
