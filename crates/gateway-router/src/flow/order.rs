//! The rules of order and repetition for one session and one service: events in, decisions out; no clock, no I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gateway_codec::Code;
use gateway_codec::proto::backend::CommandReply;

use crate::backend::{Backend, EndpointId, Lane, Outcome, Outgoing, Rejected};
use crate::error::RouterError;
use crate::flow::CallLimits;
use crate::flow::submit::Submission;

/// How often a command that never left is placed anew before that counts as a repeat.
const FREE_MOVES: u32 = 2;
/// Room for so many commands is made at once.
const FEW: usize = 4;

/// A lane, and the number of a command on it.
pub(super) type Submitted = (Arc<dyn Lane>, u64);

/// The commands of one session to one service, in order.
pub(super) struct Order {
    service: u32,
    /// The lane of what is in flight; `None` while nothing is.
    lane: Option<Arc<dyn Lane>>,
    in_flight: usize,
    /// Entries that have not left, or have to leave again.
    waiting: usize,
    /// By ascending id.
    entries: VecDeque<Entry>,
}

struct Entry {
    id: u64,
    phase: Phase,
    /// Submissions so far; tells a current completion from an outdated one.
    attempt: u32,
    retries_left: u32,
    moves_left: u32,
    /// Back-offs so far.
    repeats: u32,
    idempotent: bool,
    /// Where it failed last.
    avoid: Option<EndpointId>,
    waiter: Option<Waiter>,
}

/// Who wants to know how a command ends.
enum Waiter {
    /// A future that polls.
    Caller(Waker),
    /// Nobody waits: a function is called.
    Submission(Box<Submission>),
}

/// What has to be done after a change, once the flow's lock is free.
#[must_use = "somebody waits for this"]
pub(super) enum Next {
    Nothing,
    Wake(Waker),
    /// The command has ended and its place is free.
    Ended(Box<Submission>, Result<Box<CommandReply>, RouterError>),
    /// The command has not ended and nothing will come for it by itself: it needs a future that polls.
    Drive(Box<Submission>),
}

enum Phase {
    /// Leaves as soon as nothing before it waits.
    Held,
    /// Failed, and its caller lets a moment pass before it is `Held` again.
    BackingOff,
    /// Submitted under this number.
    InFlight(u64),
    /// Ended; `None` once the caller took the result.
    Ended(Option<Result<Box<CommandReply>, RouterError>>),
}

impl Phase {
    fn waits(&self) -> bool {
        matches!(self, Self::Held | Self::BackingOff)
    }
}

/// What the caller has to do next.
pub(super) enum Step {
    /// The call is over and its place is free.
    Done(Result<Box<CommandReply>, RouterError>),
    /// Wait a moment, the n-th time (from 0), then `resume`.
    BackOff(u32),
}

impl Order {
    pub(super) fn new(service: u32) -> Self {
        Self {
            service,
            lane: None,
            in_flight: 0,
            waiting: 0,
            entries: VecDeque::with_capacity(FEW),
        }
    }

    pub(super) fn service(&self) -> u32 {
        self.service
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the last place and, if nothing waits before it, sends.
    pub(super) fn place(
        &mut self,
        id: u64,
        limits: CallLimits,
        backend: &dyn Backend,
        submission: Option<Box<Submission>>,
        outgoing: impl FnOnce(u32) -> Outgoing,
    ) -> Next {
        self.entries.push_back(Entry {
            id,
            phase: Phase::Held,
            attempt: 0,
            retries_left: limits.retry_count,
            moves_left: FREE_MOVES,
            repeats: 0,
            idempotent: limits.idempotent,
            avoid: None,
            waiter: None,
        });
        self.waiting += 1;
        let at = self.entries.len() - 1;
        if self.waiting == 1 {
            self.send(at, backend, outgoing);
        }
        self.next(at, submission.map(Waiter::Submission))
    }

    /// What an entry's new phase means for who waits for it.
    fn next(&mut self, at: usize, waiter: Option<Waiter>) -> Next {
        let submission = match waiter {
            None => return Next::Nothing,
            Some(Waiter::Caller(waker)) => return Next::Wake(waker),
            Some(Waiter::Submission(submission)) => submission,
        };
        match &mut self.entries[at].phase {
            Phase::InFlight(_) => {
                self.entries[at].waiter = Some(Waiter::Submission(submission));
                Next::Nothing
            }
            Phase::Held | Phase::BackingOff => Next::Drive(submission),
            Phase::Ended(result) => match result.take() {
                Some(result) => {
                    self.entries.remove(at);
                    Next::Ended(submission, result)
                }
                None => Next::Nothing,
            },
        }
    }

    /// The caller asks how its call stands; sends if its turn has come. Also gives whom to wake: the next in line.
    pub(super) fn poll(
        &mut self,
        id: u64,
        cx: &mut Context<'_>,
        backend: &dyn Backend,
        outgoing: impl FnOnce(u32) -> Outgoing,
    ) -> (Poll<Step>, Option<Waker>) {
        let Some(at) = self.find(id) else {
            return (Poll::Pending, None);
        };
        let mut next = None;
        if matches!(self.entries[at].phase, Phase::Held) && self.is_turn(at) {
            self.send(at, backend, outgoing);
            // Still held where its lane drains: then it is itself the next in line.
            if !matches!(self.entries[at].phase, Phase::Held) {
                next = self.next_in_line();
            }
        }
        let entry = &mut self.entries[at];
        let step = match &mut entry.phase {
            Phase::Ended(result) => match result.take() {
                Some(result) => {
                    self.entries.remove(at);
                    Step::Done(result)
                }
                None => return (Poll::Pending, next),
            },
            Phase::BackingOff => {
                let past = entry.repeats;
                entry.repeats += 1;
                Step::BackOff(past)
            }
            Phase::Held | Phase::InFlight(_) => {
                match &mut entry.waiter {
                    Some(Waiter::Caller(waker)) => waker.clone_from(cx.waker()),
                    _ => entry.waiter = Some(Waiter::Caller(cx.waker().clone())),
                }
                return (Poll::Pending, next);
            }
        };
        (Poll::Ready(step), next)
    }

    /// The moment after a failure is over.
    pub(super) fn resume(&mut self, id: u64) {
        if let Some(at) = self.find(id)
            && matches!(self.entries[at].phase, Phase::BackingOff)
        {
            self.enter(at, Phase::Held);
        }
    }

    /// A lane says how a submission ended; outdated ones change nothing. Its own caller has to know; so has the next in
    /// line if it waits for a lane that drains and this was the last command on it.
    pub(super) fn finish(&mut self, id: u64, attempt: u32, outcome: Outcome) -> (Next, Option<Waker>) {
        let Some(at) = self.find(id) else {
            return (Next::Nothing, None);
        };
        let entry = &mut self.entries[at];
        if entry.attempt != attempt || !matches!(entry.phase, Phase::InFlight(_)) {
            return (Next::Nothing, None);
        }
        entry.avoid = self.lane.as_ref().map(|lane| lane.endpoint());
        let own = entry.waiter.take();
        match outcome {
            Outcome::Reply(reply) => match u16::try_from(reply.code).ok().and_then(Code::from_json) {
                None => self.end(at, Err(RouterError::BadReply)),
                // 503 is the back end's word that it has not done it.
                Some(Code::Unavailable) if self.may_repeat(at) => self.enter(at, Phase::BackingOff),
                Some(_) => self.end(at, Ok(reply)),
            },
            Outcome::NeverLeft(error) => self.never_left(at, error),
            Outcome::Unprocessed(_) => self.unprocessed(at),
            Outcome::Lost(error) => {
                if self.entries[at].idempotent && self.may_repeat(at) {
                    self.enter(at, Phase::BackingOff);
                } else {
                    self.end(at, Err(error));
                }
            }
            Outcome::Failed(error) => self.end(at, Err(error)),
        }
        let next = self.next(at, own);
        let waker = if self.in_flight == 0 {
            self.next_in_line()
        } else {
            None
        };
        (next, waker)
    }

    /// The caller is gone. Gives the submission to be cancelled, if there is one, and whom to wake.
    pub(super) fn remove(&mut self, id: u64) -> (Option<Submitted>, Option<Waker>) {
        let Some(at) = self.find(id) else {
            return (None, None);
        };
        let submitted = match self.entries[at].phase {
            Phase::InFlight(number) => self.lane.clone().map(|lane| (lane, number)),
            Phase::Held | Phase::BackingOff | Phase::Ended(_) => None,
        };
        self.enter(at, Phase::Ended(None));
        self.entries.remove(at);
        (submitted, self.next_in_line())
    }

    fn send(&mut self, at: usize, backend: &dyn Backend, outgoing: impl FnOnce(u32) -> Outgoing) {
        let lane = match &self.lane {
            Some(lane) => lane.clone(),
            None => match backend.lane(self.entries[at].avoid) {
                Ok(lane) => lane,
                // At once for a new command; one that is being repeated may find an endpoint a moment later.
                Err(_) if self.entries[at].attempt > 0 && self.may_repeat(at) => {
                    return self.enter(at, Phase::BackingOff);
                }
                Err(error) => return self.end(at, Err(error)),
            },
        };
        let entry = &mut self.entries[at];
        entry.attempt += 1;
        match lane.submit(outgoing(entry.attempt)) {
            Ok(number) => {
                self.lane = Some(lane);
                self.enter(at, Phase::InFlight(number));
            }
            Err(Rejected::Full) => self.end(at, Err(RouterError::Overloaded)),
            Err(Rejected::NotReady) => {
                entry.avoid = Some(lane.endpoint());
                self.never_left(at, RouterError::Disconnected);
            }
            // Those before it are still to be answered there, and another stream would not keep the order.
            Err(Rejected::Draining) if self.in_flight > 0 => {}
            // It began to drain since it was picked.
            Err(Rejected::Draining) => self.enter(at, Phase::BackingOff),
        }
    }

    fn never_left(&mut self, at: usize, error: RouterError) {
        let entry = &mut self.entries[at];
        if entry.moves_left > 0 {
            entry.moves_left -= 1;
            self.enter(at, Phase::BackingOff);
        } else if self.may_repeat(at) {
            self.enter(at, Phase::BackingOff);
        } else {
            self.end(at, Err(error));
        }
    }

    /// It is sent again, at once or after a moment, and fails by its deadline only: its service is well.
    fn unprocessed(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        let free = entry.moves_left > 0;
        entry.moves_left = entry.moves_left.saturating_sub(1);
        self.enter(at, if free { Phase::Held } else { Phase::BackingOff });
    }

    /// Takes one repeat, if there is one left.
    fn may_repeat(&mut self, at: usize) -> bool {
        let left = &mut self.entries[at].retries_left;
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }

    fn end(&mut self, at: usize, result: Result<Box<CommandReply>, RouterError>) {
        self.enter(at, Phase::Ended(Some(result)));
    }

    /// The one place where phases change, so that the counts stay right.
    fn enter(&mut self, at: usize, phase: Phase) {
        let entry = &mut self.entries[at];
        self.waiting -= usize::from(entry.phase.waits());
        self.in_flight -= usize::from(matches!(entry.phase, Phase::InFlight(_)));
        self.waiting += usize::from(phase.waits());
        self.in_flight += usize::from(matches!(phase, Phase::InFlight(_)));
        entry.phase = phase;
        if self.in_flight == 0 {
            self.lane = None;
        }
    }

    fn is_turn(&self, at: usize) -> bool {
        self.waiting == 1 || !self.entries.iter().take(at).any(|entry| entry.phase.waits())
    }

    /// The waker of the first that waits, if its turn has come.
    fn next_in_line(&mut self) -> Option<Waker> {
        if self.waiting == 0 {
            return None;
        }
        let next = self.entries.iter_mut().find(|entry| entry.phase.waits())?;
        match (&next.phase, next.waiter.take()) {
            (Phase::Held, Some(Waiter::Caller(waker))) => Some(waker),
            (_, waiter) => {
                next.waiter = waiter;
                None
            }
        }
    }

    fn find(&self, id: u64) -> Option<usize> {
        // A back end answers in order, mostly.
        if self.entries.front()?.id == id {
            return Some(0);
        }
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }
}
