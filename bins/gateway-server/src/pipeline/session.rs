//! One client's session: what is known of it, and what it may do next.
//!
//! The worker that owns the socket and the tasks that finish its commands share it; its state stands behind a
//! short lock that is never held across an await. Who the session speaks for is kept here and nowhere else:
//! gateway-conn and gateway-router are given ids.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gateway_auth::Identity;
use gateway_codec::{
    CloseCode, DeviceId, Encoded, EncodedPush, Encoding, Notice, Platform, SessionId, Timestamp,
};
use gateway_conn::{LinkError, SessionLink, SessionRecord};
use gateway_net::{Frame, FrameKind, Outbound, SendError};
use gateway_router::Flow;
use tokio::time::Instant;

use super::life::Life;

/// A client's session on this node.
pub struct Session {
    /// Its name, unguessable and unique.
    pub id: SessionId,
    /// The order of its commands at the back ends.
    pub flow: Flow,
    outbound: Outbound,
    /// What pushes and notices are written in: 0 undecided (JSON), 1 JSON, 2 protobuf.
    encoding: AtomicU8,
    acknowledges: AtomicBool,
    /// Commands at the back ends.
    pub in_flight: AtomicU32,
    /// Unreadable messages in a row.
    pub unreadable: AtomicU32,
    /// No further command is begun: the client is sent elsewhere, with the farewell of [`Aside`].
    draining: AtomicBool,
    /// Its key is to be looked at.
    doubted: AtomicBool,
    state: Mutex<State>,
}

/// What changes in a session's life.
pub struct State {
    /// Its stage and its deadlines.
    pub life: Life,
    /// Whom it speaks for, once bound.
    pub bound: Option<Bound>,
    /// Commands that wait for a bind or a check under way, oldest first; `None` where nothing is under way.
    pub held: Option<Box<VecDeque<HeldMessage>>>,
    /// What most sessions never have, or not for long.
    aside: Option<Box<Aside>>,
}

#[derive(Default)]
struct Aside {
    /// What the handshake said, until the session is bound and goes on from there.
    claimed: ClaimedDevice,
    /// What the client is told when it is sent elsewhere.
    farewell: Option<Box<str>>,
}

impl State {
    /// What the handshake said of the device.
    pub fn claimed(&self) -> ClaimedDevice {
        let aside = self.aside.as_deref();
        aside.map(|aside| aside.claimed.clone()).unwrap_or_default()
    }
}

/// What a handshake said of the device: believed only of one that logs in.
#[derive(Default, Clone)]
pub struct ClaimedDevice {
    pub device_id: Option<DeviceId>,
    pub platform: Option<Platform>,
    /// The last push that it has.
    pub last_push_id: Option<Box<str>>,
}

/// A message kept until it is its turn.
pub struct HeldMessage {
    /// Text or binary, as it came.
    pub encoding: Encoding,
    /// The whole message.
    pub bytes: Bytes,
}

/// Whom a bound session speaks for. Cheap to clone.
#[derive(Clone)]
pub struct Bound {
    /// As gateway-auth established it.
    pub identity: Identity,
    /// As gateway-conn holds it.
    pub record: Arc<SessionRecord>,
    /// Keyed hash of the token last accepted, so that a client that sends it with every message costs nothing.
    pub token_hash: u64,
}

impl Session {
    /// A session that nobody has bound yet.
    pub fn new(
        id: SessionId,
        outbound: Outbound,
        encoding: Option<Encoding>,
        acknowledges: bool,
        now: Instant,
    ) -> Self {
        Self {
            id,
            flow: Flow::default(),
            outbound,
            encoding: AtomicU8::new(encoding.map_or(0, number)),
            acknowledges: AtomicBool::new(acknowledges),
            in_flight: AtomicU32::new(0),
            unreadable: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            state: Mutex::new(State {
                life: Life::new(now),
                bound: None,
                held: None,
                aside: None,
            }),
        }
    }

    /// Where the client comes from.
    pub fn address(&self) -> IpAddr {
        self.outbound.peer().ip()
    }

    /// Its state. Keep the guard for a moment only.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom it speaks for now.
    pub fn bound(&self) -> Option<Bound> {
        self.state().bound.clone()
    }

    /// Remembers what the handshake said of the device.
    pub fn set_claimed_device(&self, claimed: ClaimedDevice) {
        if claimed.device_id.is_some() || claimed.platform.is_some() || claimed.last_push_id.is_some() {
            self.state().aside.get_or_insert_default().claimed = claimed;
        }
    }

    /// The last push that its device has, as the handshake said; once.
    pub fn take_last_push_id(&self) -> Option<Box<str>> {
        let mut state = self.state();
        let aside = state.aside.as_mut()?;
        let claimed = std::mem::take(&mut aside.claimed);
        if aside.farewell.is_none() {
            state.aside = None;
        }
        claimed.last_push_id
    }

    /// Puts a message before those that wait; lost only where the connection has ended.
    pub fn hold_first(&self, message: HeldMessage) {
        if let Some(held) = &mut self.state().held {
            held.push_front(message);
        }
    }

    /// What pushes and notices are written in.
    pub fn encoding(&self) -> Encoding {
        match self.encoding.load(Ordering::Relaxed) {
            2 => Encoding::Protobuf,
            _ => Encoding::Json,
        }
    }

    /// The frame that binds decides the encoding, unless the sub-protocol has done so.
    pub fn prefer_encoding(&self, encoding: Encoding) {
        let _ = self
            .encoding
            .compare_exchange(0, number(encoding), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// From now on pushes to it are final only when it has acknowledged them.
    pub fn set_acknowledges(&self) {
        self.acknowledges.store(true, Ordering::Relaxed);
    }

    /// Sends a reply. A client that does not read its replies is closed (4413), never waited for.
    pub fn reply(&self, encoded: Encoded) {
        match self.outbound.send(frame(encoded.encoding, encoded.bytes)) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(SendError::Full) => self.close_with(CloseCode::TooSlow, "outbound queue is full"),
        }
    }

    /// Closes the connection; what is queued goes out first. The first call decides the code.
    pub fn close_with(&self, code: CloseCode, reason: &str) {
        self.outbound.close(code.as_u16(), reason);
    }

    /// Whether it is being sent elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether its worker has to look at it at once.
    pub fn is_urgent(&self) -> bool {
        self.is_draining() || self.doubted.load(Ordering::Acquire)
    }

    /// Whether it was asked to look at what it was bound by; told once.
    pub fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::AcqRel)
    }

    /// Closes it if it is being sent elsewhere and nothing is under way. On its own worker, where nothing new can begin
    /// in between.
    pub fn leave_if_done(&self) {
        if !self.is_draining() || self.in_flight.load(Ordering::Relaxed) > 0 {
            return;
        }
        let farewell = {
            let mut state = self.state();
            if state.held.is_some() {
                return;
            }
            state.aside.as_mut().and_then(|aside| aside.farewell.take())
        };
        if let Some(reason) = farewell {
            self.close_with(CloseCode::Restart, &reason);
        }
    }

    /// The worker's coarse clock: see [`Outbound::coarse_now`].
    pub fn coarse_now(&self) -> Instant {
        self.outbound.coarse_now()
    }

    /// Asks to be woken for the next deadline of its life.
    pub fn wake_at(&self, at: Option<Instant>) {
        self.outbound.wake_at(at);
    }

    /// Reads on after [`gateway_net::SessionHandler::backlog`] had said stop.
    pub fn resume_reading(&self) {
        self.outbound.resume_reading();
    }

    fn push_frame(&self, push: &EncodedPush) -> Frame {
        let encoding = self.encoding();
        frame(encoding, push.bytes(encoding).clone())
    }

    /// Sends a notice. One for which there is no room is lost and counted by the network: it may come right before a
    /// close, whose code must not become "too slow".
    pub fn notify(&self, notice: &Notice<'_>, now: Timestamp) {
        let encoding = self.encoding();
        let _ = self.outbound.send(frame(encoding, notice.encode(encoding, now)));
    }
}

fn link_error(error: SendError) -> LinkError {
    match error {
        SendError::Closed => LinkError::Closed,
        SendError::Full => LinkError::Full,
    }
}

fn number(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Json => 1,
        Encoding::Protobuf => 2,
    }
}

fn frame(encoding: Encoding, payload: Bytes) -> Frame {
    let kind = match encoding {
        Encoding::Json => FrameKind::Text,
        Encoding::Protobuf => FrameKind::Binary,
    };
    Frame { kind, payload }
}

/// How gateway-conn reaches this session.
impl SessionLink for Session {
    fn push(&self, push: &EncodedPush) -> Result<u64, LinkError> {
        self.outbound.push(self.push_frame(push)).map_err(link_error)
    }

    fn push_later(&self, push: &EncodedPush) -> Result<(u64, bool), LinkError> {
        match self.outbound.push_later(self.push_frame(push)) {
            Ok(later) => Ok((later.ticket, later.first)),
            Err(error) => Err(link_error(error)),
        }
    }

    fn flush(&self) {
        self.outbound.flush();
    }

    fn notice<'a>(&self, notice: &Notice<'a>, at: Timestamp) {
        self.notify(notice, at);
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.close_with(code, reason);
    }

    fn drain(&self, reason: &str) {
        self.state().aside.get_or_insert_default().farewell = Some(reason.into());
        self.draining.store(true, Ordering::Relaxed);
        self.wake_at(Some(Instant::now()));
    }

    fn recheck(&self) {
        self.doubted.store(true, Ordering::Release);
        self.wake_at(Some(Instant::now()));
    }

    fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        let busy = self.in_flight.load(Ordering::Relaxed) > 0 || state.held.is_some() || self.is_draining();
        if busy { None } else { state.life.last_message() }
    }

    fn acknowledges(&self) -> bool {
        self.acknowledges.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_stays_small() {
        // Behind its two counts it fills a size class of the allocator.
        assert!(size_of::<Session>() <= 144, "{}", size_of::<Session>());
    }
}
