//! What a connection's task and the holders of its [`Outbound`](super::Outbound) share.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::time::Instant;

use super::{Frame, FrameKind, Later, SendError};
use crate::connection::Batch;
use crate::protocol::{OpCode, close_payload, encode_header, header_len};
use crate::websocket::WorkerState;
use crate::wheel::Tick;

/// Queue and signals of one connection, and the place of its entry in the timing wheel.
pub(crate) struct Shared {
    /// Address and port apart: a `SocketAddr` is 32 bytes.
    peer: (IpAddr, u16),
    worker: Arc<WorkerState>,
    /// Where the wheel's valid entry is; 0 while there is none.
    scheduled: AtomicU32,
    /// When the connection really wants to be woken; the entry may come up earlier.
    due: AtomicU32,
    /// A close was asked for or has happened.
    closing: AtomicBool,
    /// More than half of the bound has gathered since the queue was last empty.
    filling: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: Option<Box<Queue>>,
    waker: Option<Waker>,
    /// Accepted and not yet written. Half a word, as every connection has one: nothing of 4 GiB is accepted.
    bytes: u32,
    /// Tickets given out.
    tickets: u64,
    wake_at: Tick,
    signals: Signals,
    /// The task runs or was woken: no need to wake it.
    awake: bool,
    /// The task waits for the socket to take more: what is appended waits with it.
    blocked: bool,
    /// It is in the worker's list of those to be flushed.
    dirty: bool,
    /// The queue has been drained before.
    spoken: bool,
}

impl State {
    fn is_queued(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.frames() > 0)
    }

    /// The queue, made if there is none.
    fn queue(&mut self) -> &mut Queue {
        let taken = self.tickets;
        self.queue.get_or_insert_with(|| {
            Box::new(Queue {
                taken,
                ..Queue::default()
            })
        })
    }
}

/// What waits to be written. A connection at rest has none.
#[derive(Default)]
struct Queue {
    control: VecDeque<Frame>,
    pushes: VecDeque<Frame>,
    close: Option<Box<CloseFrame>>,
    /// The ticket of the last push that left its lane.
    taken: u64,
}

impl Queue {
    fn frames(&self) -> usize {
        self.control.len() + self.pushes.len()
    }
}

struct CloseFrame {
    code: u16,
    body: Vec<u8>,
}

/// Why the task was woken, other than by its socket.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signals {
    /// The wheel's entry has come up.
    pub(crate) timer: bool,
    /// Reading may go on.
    pub(crate) resume: bool,
    /// A close was asked for.
    pub(crate) close: bool,
    /// The wished wake-up lies before the wheel's entry.
    pub(crate) rescheduled: bool,
}

/// What [`Shared::fill`] has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// The queue is empty, and the Close frame, if there is to be one, is in the batch.
    Drained { close: bool },
    /// There is more than fits one batch.
    More,
}

/// A lane for replies may pass the bound by this fraction.
const CONTROL_HEADROOM: usize = 8;
/// Capacity of a lane that is kept after a burst.
const KEPT_FRAMES: usize = 64;

impl Shared {
    pub(crate) fn new(peer: SocketAddr, worker: Arc<WorkerState>) -> Self {
        let state = State {
            awake: true,
            ..State::default()
        };
        Self {
            peer: (peer.ip(), peer.port()),
            worker,
            scheduled: AtomicU32::new(0),
            due: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            filling: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn worker(&self) -> &Arc<WorkerState> {
        &self.worker
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.into()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Whether the task had better write before it makes more to be written.
    pub(crate) fn is_filling(&self) -> bool {
        self.filling.load(Relaxed)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.state().bytes as usize
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves the state half changed, so a poisoned lock is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, frame: Frame) -> Result<(), SendError> {
        let waker = {
            let mut state = self.state();
            let limits = self.worker.limits();
            let bytes = limits.queue_bytes + limits.queue_bytes / CONTROL_HEADROOM;
            let frames = limits.queue_frames + limits.queue_frames / CONTROL_HEADROOM;
            self.admit(&mut state, &frame, bytes, frames)?
                .control
                .push_back(frame);
            wake_to_write(&mut state)
        };
        wake(waker);
        Ok(())
    }

    pub(super) fn push(&self, frame: Frame) -> Result<u64, SendError> {
        let (waker, ticket) = {
            let mut state = self.state();
            let ticket = self.append(&mut state, frame)?;
            (wake_to_write(&mut state), ticket)
        };
        wake(waker);
        Ok(ticket)
    }

    pub(super) fn push_later(self: &Arc<Self>, frame: Frame) -> Result<Later, SendError> {
        let (new, ticket) = {
            let mut state = self.state();
            let ticket = self.append(&mut state, frame)?;
            // A task that runs, or waits for its socket, comes to it by itself.
            let new = !(state.awake || state.blocked || state.dirty);
            state.dirty |= new;
            (new, ticket)
        };
        Ok(Later {
            ticket,
            first: new && self.worker.dirty().add(Arc::clone(self)),
        })
    }

    fn append(&self, state: &mut State, frame: Frame) -> Result<u64, SendError> {
        let limits = self.worker.limits();
        self.admit(state, &frame, limits.queue_bytes, limits.queue_frames)?
            .pushes
            .push_back(frame);
        state.tickets += 1;
        Ok(state.tickets)
    }

    /// Wakes the task for what was pushed later, unless it has been written meanwhile.
    pub(super) fn flush(&self) {
        let waker = {
            let mut state = self.state();
            state.dirty = false;
            if state.is_queued() {
                wake_to_write(&mut state)
            } else {
                None
            }
        };
        wake(waker);
    }

    fn admit<'s>(
        &self,
        state: &'s mut State,
        frame: &Frame,
        max_bytes: usize,
        max_frames: usize,
    ) -> Result<&'s mut Queue, SendError> {
        if self.is_closing() {
            return Err(SendError::Closed);
        }
        let wire = wire_len(frame);
        let frames = state.queue.as_ref().map_or(0, |queue| queue.frames());
        let bytes = state.bytes as usize + wire;
        let full = state.bytes > 0 && (bytes > max_bytes || frames >= max_frames);
        state.bytes = match u32::try_from(bytes) {
            Ok(bytes) if !full => bytes,
            _ => {
                self.worker.metrics().queue_full.increment(1);
                return Err(SendError::Full);
            }
        };
        if bytes > max_bytes / 2 || frames >= max_frames / 2 {
            self.filling.store(true, Relaxed);
        }
        Ok(state.queue())
    }

    /// False when a close was asked for before.
    pub(crate) fn close(&self, code: u16, reason: &str) -> bool {
        let waker = {
            let mut state = self.state();
            if self.closing.swap(true, Relaxed) {
                return false;
            }
            state.queue().close = Some(Box::new(CloseFrame {
                code,
                body: close_payload(code, reason),
            }));
            state.signals.close = true;
            wake_task(&mut state)
        };
        wake(waker);
        true
    }

    /// The code of the Close frame to be sent.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let state = self.state();
        Some(state.queue.as_ref()?.close.as_ref()?.code)
    }

    /// Nothing is written any more: nothing can be queued, what is queued is dropped.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        self.closing.store(true, Relaxed);
        state.queue = None;
        state.bytes = 0;
    }

    /// The task is gone: it is not woken, and its entry in the wheel is dropped when it comes up.
    pub(crate) fn forget(&self) {
        self.end();
        self.due.store(0, Relaxed);
        self.state().waker = None;
    }

    /// Drops the pushes that still wait: their peer has said that it reads no more.
    pub(crate) fn drop_pushes(&self) {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(queue) = &mut state.queue {
            let dropped: usize = queue.pushes.drain(..).map(|frame| wire_len(&frame)).sum();
            state.bytes = less(state.bytes, dropped);
        }
    }

    pub(super) fn wake_at(&self, at: Option<Instant>) {
        let tick = at.map_or(0, |at| self.worker.clock().due(at));
        let waker = {
            let mut state = self.state();
            state.wake_at = tick;
            if tick != 0 {
                self.due.fetch_min(tick, Relaxed);
            }
            let scheduled = self.scheduled.load(Relaxed);
            if tick == 0 || (scheduled != 0 && scheduled <= tick) {
                return;
            }
            state.signals.rescheduled = true;
            wake_task(&mut state)
        };
        wake(waker);
    }

    pub(super) fn resume(&self) {
        let waker = {
            let mut state = self.state();
            state.signals.resume = true;
            wake_task(&mut state)
        };
        wake(waker);
    }

    /// The task runs: takes the signals and the wished wake-up.
    pub(crate) fn begin_turn(&self) -> Signals {
        let mut state = self.state();
        state.awake = true;
        state.blocked = false;
        std::mem::take(&mut state.signals)
    }

    /// The wished wake-up if it has come; it is taken.
    pub(crate) fn take_wake(&self, now: Tick) -> bool {
        let mut state = self.state();
        let come = state.wake_at != 0 && state.wake_at <= now;
        if come {
            state.wake_at = 0;
        }
        come
    }

    /// The task is about to wait, with `due` as its next deadline; `blocked` says that its socket takes
    /// no more. False when there is more to do at once.
    pub(crate) fn park(self: &Arc<Self>, waker: &Waker, blocked: bool, due: Tick) -> bool {
        let due = {
            let mut state = self.state();
            // What was pushed later and is to be flushed yet may as well go now.
            let queued = state.is_queued();
            if state.signals.any_but_rescheduled() || (queued && !blocked) {
                return false;
            }
            state.signals.rescheduled = false;
            if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                state.waker = Some(waker.clone());
            }
            state.awake = false;
            state.blocked = blocked;
            let due = if state.wake_at == 0 {
                due
            } else {
                due.min(state.wake_at)
            };
            // Under the lock, so that a wish from elsewhere is not overwritten.
            self.due.store(due, Relaxed);
            due
        };
        self.schedule(due);
        true
    }

    fn schedule(self: &Arc<Self>, due: Tick) {
        let scheduled = self.scheduled.load(Relaxed);
        if scheduled == 0 || due < scheduled {
            let at = self.worker.wheel().insert(Arc::clone(self), due);
            self.scheduled.store(at, Relaxed);
        }
    }

    /// The wheel's entry at `tick` has come up. True: put it back at the due tick.
    pub(crate) fn come_up(&self, tick: Tick) -> Option<Tick> {
        if self.scheduled.load(Relaxed) != tick {
            return None;
        }
        let due = self.due.load(Relaxed);
        if due > tick {
            return Some(due);
        }
        self.scheduled.store(0, Relaxed);
        let waker = {
            let mut state = self.state();
            state.signals.timer = true;
            wake_task(&mut state)
        };
        wake(waker);
        None
    }

    /// The wheel has put the entry at this tick.
    pub(crate) fn rescheduled(&self, at: Tick) {
        self.scheduled.store(at, Relaxed);
    }

    /// Moves frames into `batch`: replies, then pushes, then the Close frame if one is due. What the
    /// task itself has put in before counts as queued from here on.
    pub(crate) fn fill(&self, batch: &mut Batch) -> Feed {
        let mut state = self.state();
        let state = &mut *state;
        let before = batch.own_bytes();
        state.bytes = more(state.bytes, before);
        let mut close = false;
        if let Some(queue) = &mut state.queue {
            while let Some(frame) = queue.control.pop_front() {
                batch.frame(opcode(frame.kind), frame.payload, None);
                if batch.is_full() {
                    return Feed::More;
                }
            }
            while let Some(frame) = queue.pushes.pop_front() {
                queue.taken += 1;
                batch.frame(opcode(frame.kind), frame.payload, Some(queue.taken));
                if batch.is_full() {
                    return Feed::More;
                }
            }
            if let Some(frame) = &queue.close {
                batch.own(|out| {
                    encode_header(out, OpCode::Close, frame.body.len());
                    out.extend_from_slice(&frame.body);
                });
                state.bytes = more(state.bytes, batch.own_bytes() - before);
                close = true;
            }
            queue.control.shrink_to(KEPT_FRAMES);
            queue.pushes.shrink_to(KEPT_FRAMES);
            // After the welcome a connection is mostly silent: 240 bytes less until its first ping.
            if !close && !std::mem::replace(&mut state.spoken, true) {
                state.queue = None;
            }
        }
        self.filling.store(false, Relaxed);
        Feed::Drained { close }
    }

    /// This much of what was queued is in the socket's hands.
    pub(crate) fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = less(state.bytes, bytes);
    }

    /// Gives back the memory of an empty queue; called now and then, not after each write.
    pub(crate) fn trim(&self) {
        let mut state = self.state();
        let idle = |queue: &Queue| queue.frames() == 0 && queue.close.is_none();
        if state.queue.as_deref().is_some_and(idle) {
            state.queue = None;
        }
    }
}

impl Signals {
    fn any_but_rescheduled(self) -> bool {
        self.timer || self.resume || self.close
    }
}

/// Bytes of a frame on its way, head included.
fn wire_len(frame: &Frame) -> usize {
    header_len(frame.payload.len()) + frame.payload.len()
}

fn more(bytes: u32, added: usize) -> u32 {
    bytes.saturating_add(u32::try_from(added).unwrap_or(u32::MAX))
}

fn less(bytes: u32, gone: usize) -> u32 {
    bytes.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
}

fn opcode(kind: FrameKind) -> OpCode {
    match kind {
        FrameKind::Text => OpCode::Text,
        FrameKind::Binary => OpCode::Binary,
    }
}

/// Marks the task as awake; gives the waker to call once the lock is free.
fn wake_task(state: &mut State) -> Option<Waker> {
    if state.awake {
        return None;
    }
    state.awake = true;
    state.waker.take()
}

fn wake_to_write(state: &mut State) -> Option<Waker> {
    if state.blocked { None } else { wake_task(state) }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
