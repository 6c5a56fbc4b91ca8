//! One client: connects, becomes bound, sends what the load says, and counts what comes.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::json;

use super::desk::{Desk, Due};
use super::message::{self, FIRST_SEQ};
use super::stream::Stream;
use crate::clock::Moment;
use crate::frame;
use crate::intake::{self, Intake, Peer};
use crate::orders::{Load, Login};

const LOGIN: u32 = 1001;
const HEARTBEAT: u32 = 1;
const SEND: u32 = 2001;
const HISTORY: u32 = 2002;
const NOTICE: u32 = 2;
const PUSH: u32 = 5001;
const ACKNOWLEDGE: u32 = 5006;
/// Messages of one connection without a reply; more are counted as failed and not sent.
const MOST_IN_FLIGHT: usize = 4_096;
/// Bytes of the text that a chatting client sends.
const CHAT_TEXT: usize = 64;

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum Over {
    Failed(io::Error),
    /// The other end has gone, after this close code if it gave one.
    Ended(Option<u16>),
    /// The handshake was answered by this status.
    Refused(u16),
    /// The login was answered by this code.
    NotBound(u16),
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{}", error.kind()),
            Self::Ended(Some(code)) => write!(f, "close {code}"),
            Self::Ended(None) => f.write_str("lost"),
            Self::Refused(status) => write!(f, "HTTP {status}"),
            Self::NotBound(code) => write!(f, "code {code}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialing,
    Upgrading,
    /// Before the welcome.
    Greeting,
    LoggingIn,
    Bound,
    /// It has said good-bye.
    Leaving,
}

/// A socket and what is kept for it; idle, nothing on the heap.
pub(super) struct Connection {
    stream: Stream,
    rest: Vec<u8>,
    pending: Vec<u8>,
    life: Life,
}

/// All of it but the bytes.
struct Life {
    stage: Stage,
    number: u32,
    attempt: u32,
    dialed: Moment,
    seq: u32,
    /// Messages under way: number, and when they were meant to be sent.
    flight: VecDeque<(u32, Moment)>,
    close: Option<u16>,
}

impl Connection {
    pub(super) fn new(stream: Stream, number: u32, attempt: u32, now: Moment) -> Self {
        Self {
            stream,
            rest: Vec::new(),
            pending: Vec::new(),
            life: Life {
                stage: Stage::Dialing,
                number,
                attempt,
                dialed: now,
                seq: FIRST_SEQ,
                flight: VecDeque::new(),
                close: None,
            },
        }
    }

    /// Its socket is ready: reads all, handles all, writes once.
    pub(super) fn ready(&mut self, intake: &mut Intake, desk: &mut Desk, writable: bool) -> Result<(), Over> {
        if self.life.stage == Stage::Dialing {
            if !writable {
                return Ok(());
            }
            self.stream.connected()?;
            self.life.stage = Stage::Upgrading;
            self.life.put_handshake(desk)?;
            self.flush(desk)?;
        } else if writable && !self.pending.is_empty() {
            self.flush(desk)?;
        }
        let (life, now) = (&mut self.life, desk.clock.now());
        let mut over = None;
        let short_means_empty = self.stream.short_means_empty();
        let peer = intake.read(&mut self.stream, &mut self.rest, short_means_empty, |bytes| {
            let mut used = 0;
            if life.stage == Stage::Upgrading {
                match upgraded(bytes) {
                    None => return Ok(0),
                    Some((101, head)) => used = head,
                    Some((status, _)) => {
                        over = Some(Over::Refused(status));
                        return Ok(bytes.len());
                    }
                }
                life.upgraded(desk, now);
            }
            let framed = intake::frames(&mut bytes[used..], |head, payload| {
                if let Err(why) = life.frame(desk, head.opcode, payload, now) {
                    over = Some(why);
                }
            })?;
            Ok(used + framed)
        })?;
        if let Some(over) = over {
            return Err(over);
        }
        if peer == Peer::Ended {
            return Err(Over::Ended(self.life.close));
        }
        self.flush(desk)
    }

    fn flush(&mut self, desk: &mut Desk) -> Result<(), Over> {
        if desk.out.is_empty() && self.pending.is_empty() {
            return Ok(self.stream.flush_tls()?);
        }
        intake::write(&mut self.stream, &mut self.pending, &desk.out)?;
        desk.out.clear();
        Ok(self.stream.flush_tls()?)
    }

    /// Begins what the load asks of it.
    pub(super) fn start(&mut self, desk: &mut Desk) -> Result<(), Over> {
        self.life.start(desk, desk.clock.now());
        self.flush(desk)
    }

    /// Sends the load's message, meant for that moment.
    pub(super) fn send(&mut self, desk: &mut Desk, intended: Moment) -> Result<(), Over> {
        self.life.send(desk, intended);
        self.flush(desk)
    }

    /// Does what people do, and thinks of when to do the next.
    pub(super) fn act(&mut self, desk: &mut Desk, intended: Moment) -> Result<(), Over> {
        if self.life.stage == Stage::Bound {
            self.life.chat(desk, intended);
            self.life.think(desk, intended);
        }
        self.flush(desk)
    }

    /// A visitor goes as soon as it is bound.
    pub(super) fn go_if_visitor(&mut self, desk: &mut Desk) -> Result<(), Over> {
        if self.life.stage == Stage::Bound && desk.has_visitors() {
            return self.leave(desk);
        }
        Ok(())
    }

    /// Says good-bye; a baseline would not answer.
    pub(super) fn leave(&mut self, desk: &mut Desk) -> Result<(), Over> {
        let was_bound = self.life.stage == Stage::Bound;
        if was_bound {
            self.life.stage = Stage::Leaving;
        }
        if !was_bound || !super::is_greeted(&desk.plan) {
            self.stream.cut();
            return Err(Over::Ended(None));
        }
        message::put_control(&mut desk.out, frame::CLOSE, &1000u16.to_be_bytes());
        self.flush(desk)
    }

    /// Ends it as a broken network would.
    pub(super) fn cut(mut self, desk: &mut Desk) {
        self.stream.cut();
        desk.lost(self.life.flight.len());
        match self.life.stage {
            Stage::Bound | Stage::Leaving => desk.counts.open = desk.counts.open.saturating_sub(1),
            _ => desk.under_way -= 1,
        }
    }

    /// It is over. The number of the next attempt, where it had not been bound.
    pub(super) fn end(self, desk: &mut Desk, over: &Over, leaving: bool) -> Option<u32> {
        desk.out.clear();
        desk.lost(self.life.flight.len());
        if !matches!(self.life.stage, Stage::Bound | Stage::Leaving) {
            desk.under_way -= 1;
            return Some(self.life.attempt + 1);
        }
        desk.counts.open = desk.counts.open.saturating_sub(1);
        if !leaving && self.life.stage != Stage::Leaving {
            *desk.counts.ended.entry(over.to_string()).or_default() += 1;
        }
        None
    }
}

impl Life {
    fn device(&self) -> String {
        format!("loadgen-{}", self.number)
    }

    fn put_handshake(&self, desk: &mut Desk) -> io::Result<()> {
        let (user, device) = (desk.user(self.number), self.device());
        let token = desk.token(&user, &device);
        let target = &desk.plan.target;
        let ask = if target.path.contains('?') { '&' } else { '?' };
        write!(
            desk.out,
            "GET {}{ask}device_id={device}&platform={} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            target.path, desk.plan.platform, target.host,
        )?;
        if desk.plan.acknowledge {
            write!(desk.out, "Sec-WebSocket-Protocol: mychat.v1\r\n")?;
        }
        if let Some(token) = token {
            write!(desk.out, "Authorization: Bearer {token}\r\n")?;
        }
        desk.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn upgraded(&mut self, desk: &mut Desk, now: Moment) {
        if super::is_greeted(&desk.plan) {
            self.stage = Stage::Greeting;
        } else {
            self.bound(desk, now);
        }
    }

    fn bound(&mut self, desk: &mut Desk, now: Moment) {
        self.stage = Stage::Bound;
        desk.bound(now.since(self.dialed));
        // After a storm the load goes on.
        self.start(desk, now);
    }

    fn frame(&mut self, desk: &mut Desk, opcode: u8, payload: &[u8], now: Moment) -> Result<(), Over> {
        match opcode {
            frame::TEXT | frame::BINARY => self.message(desk, opcode, payload, now),
            frame::PING => {
                message::put_control(&mut desk.out, frame::PONG, payload);
                Ok(())
            }
            frame::CLOSE => {
                self.close = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn message(&mut self, desk: &mut Desk, opcode: u8, payload: &[u8], now: Moment) -> Result<(), Over> {
        match self.stage {
            Stage::Dialing | Stage::Upgrading | Stage::Leaving => Ok(()),
            Stage::Greeting => self.greeted(desk, opcode, payload, now),
            Stage::LoggingIn => {
                let Some(head) = message::head(opcode, payload).filter(|head| head.cmd_id == LOGIN) else {
                    return Ok(());
                };
                if head.code != 200 {
                    return Err(Over::NotBound(head.code));
                }
                self.bound(desk, now);
                Ok(())
            }
            Stage::Bound => {
                self.received(desk, opcode, payload, now);
                Ok(())
            }
        }
    }

    fn greeted(&mut self, desk: &mut Desk, opcode: u8, payload: &[u8], now: Moment) -> Result<(), Over> {
        let Some(welcome) = message::whole(opcode, payload).filter(|message| message.cmd_id == NOTICE) else {
            return Ok(());
        };
        if welcome.code != 200 {
            return Err(Over::NotBound(welcome.code));
        }
        match &desk.plan.login {
            Login::Key(_) if !welcome.data.contains(r#""authenticated":true"#) => Err(Over::NotBound(401)),
            Login::Key(_) | Login::Anonymous | Login::Baseline => {
                self.bound(desk, now);
                Ok(())
            }
            Login::Password(password) => {
                let data = json!({ "username": desk.user(self.number), "password": password });
                message::put(
                    &mut desk.out,
                    desk.plan.encoding,
                    LOGIN,
                    self.seq,
                    &data.to_string(),
                );
                self.stage = Stage::LoggingIn;
                Ok(())
            }
        }
    }

    /// A message on a bound connection.
    fn received(&mut self, desk: &mut Desk, opcode: u8, payload: &[u8], now: Moment) {
        let Some(head) = message::head(opcode, payload) else {
            return desk.counts.fail("a message that cannot be read");
        };
        match head.cmd_id {
            NOTICE => {}
            PUSH => {
                desk.delivered(message::stamp(payload).map(|intended| now.since(intended)));
                if desk.plan.acknowledge {
                    self.acknowledge(desk, opcode, payload);
                }
            }
            _ => {
                // Replies of one session come in order, so it is the first nearly always.
                let Some(at) = self.flight.iter().position(|(seq, _)| *seq == head.seq) else {
                    return desk.counts.fail("a reply to nothing");
                };
                let Some((_, intended)) = self.flight.remove(at) else {
                    return;
                };
                desk.answered(now.since(intended), head.code);
                if let Some(Load::Closed { .. }) = desk.loaded() {
                    self.send(desk, now);
                }
            }
        }
    }

    fn acknowledge(&mut self, desk: &mut Desk, opcode: u8, payload: &[u8]) {
        let push = message::whole(opcode, payload)
            .and_then(|push| serde_json::from_str::<serde_json::Value>(&push.data).ok());
        if let Some(push_id) = push.as_ref().and_then(|push| push.get("push_id")) {
            let data = json!({ "push_id": push_id }).to_string();
            message::put(
                &mut desk.out,
                desk.plan.encoding,
                ACKNOWLEDGE,
                self.next_seq(),
                &data,
            );
        }
    }

    fn next_seq(&mut self) -> u32 {
        self.seq += 1;
        self.seq
    }

    fn start(&mut self, desk: &mut Desk, now: Moment) {
        if self.stage != Stage::Bound {
            return;
        }
        match desk.loaded() {
            Some(Load::Closed { active, depth, .. }) if self.number - desk.plan.first < active => {
                while self.flight.len() < depth as usize {
                    self.send(desk, now);
                }
            }
            Some(Load::Chat { .. }) => self.think(desk, now),
            Some(Load::Closed { .. } | Load::Open { .. } | Load::Visits { .. }) | None => {}
        }
    }

    /// Puts out the load's message.
    fn send(&mut self, desk: &mut Desk, intended: Moment) {
        if self.stage != Stage::Bound {
            return desk.counts.fail("nobody to send it: not connected");
        }
        if self.flight.len() >= MOST_IN_FLIGHT {
            return desk.counts.fail("too many under way on one connection");
        }
        let seq = self.next_seq();
        self.flight.push_back((seq, intended));
        desk.put(seq);
    }

    /// Of twenty, thirteen write to somebody, four say that they are there, three read what was written.
    fn chat(&mut self, desk: &mut Desk, intended: Moment) {
        if self.flight.len() >= MOST_IN_FLIGHT {
            return desk.counts.fail("too many under way on one connection");
        }
        let (cmd_id, data) = match fastrand::u8(0..20) {
            0..13 => {
                let content = message::stamped(intended, CHAT_TEXT);
                (SEND, json!({ "to_user": desk.somebody(), "content": content }))
            }
            13..17 => (HEARTBEAT, json!({})),
            _ => (HISTORY, json!({ "chat_id": desk.somebody(), "limit": 20 })),
        };
        let seq = self.next_seq();
        self.flight.push_back((seq, intended));
        desk.counts.sent += 1;
        desk.in_flight += 1;
        message::put(&mut desk.out, desk.plan.encoding, cmd_id, seq, &data.to_string());
    }

    /// The next moment of action: exponentially distributed, as independent people are.
    fn think(&mut self, desk: &mut Desk, from: Moment) {
        let Some(Load::Chat { think_ms }) = desk.loaded() else {
            return;
        };
        let wait = -fastrand::f64().max(1e-9).ln() * think_ms / 1_000.0;
        let index = (self.number - desk.plan.first) as usize;
        desk.at(from.plus(Duration::from_secs_f64(wait)), Due::Act(index));
    }
}

/// The status of an HTTP response and the length of its head; `None` while that is not complete.
fn upgraded(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(bytes.get(9..12)?)
        .ok()
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Some((status, end))
}
