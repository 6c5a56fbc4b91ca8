//! What the connections of a worker share: what is to be done when, and what has been counted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use anyhow::Result;
use gateway_client::ReconnectPolicy;
use jsonwebtoken::EncodingKey;

use super::connection::Over;
use super::message::Template;
use super::token;
use crate::clock::{Clock, Moment};
use crate::measure::{Counts, Latencies};
use crate::orders::{Load, Login, Message, Plan, Tick};

/// Something to be done at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Connect, after this many attempts in vain.
    Dial(usize, u32),
    /// A client has thought enough.
    Act(usize),
}

pub(super) struct Desk {
    pub(super) plan: Plan,
    pub(super) clock: Clock,
    /// Frames of the connection whose turn it is.
    pub(super) out: Vec<u8>,
    pub(super) counts: Counts,
    /// Connections whose turn to dial has come.
    pub(super) waiting: VecDeque<(usize, u32)>,
    /// Handshakes under way.
    pub(super) under_way: u32,
    /// Messages under way.
    pub(super) in_flight: u64,
    /// Connections neither bound nor refused yet.
    unbound: u64,
    /// Replies and deliveries since the start.
    done: u64,
    interval: Latencies,
    timers: BinaryHeap<Reverse<(Moment, Due)>>,
    load: Option<Loaded>,
    key: Option<EncodingKey>,
}

/// The load of the moment, ready to be sent.
struct Loaded {
    load: Load,
    template: Option<Template>,
    start: Moment,
    /// Of an open loop: messages so far.
    number: u64,
}

impl Desk {
    pub(super) fn new(plan: Plan, clock: Clock) -> Result<Self> {
        let key = match &plan.login {
            Login::Key(secret) => Some(EncodingKey::from_secret(secret.as_bytes())),
            Login::Password(_) | Login::Anonymous | Login::Baseline => None,
        };
        Ok(Self {
            plan,
            clock,
            out: Vec::new(),
            counts: Counts::default(),
            waiting: VecDeque::new(),
            under_way: 0,
            in_flight: 0,
            unbound: 0,
            done: 0,
            interval: Latencies::default(),
            timers: BinaryHeap::new(),
            load: None,
            key,
        })
    }

    /// The user of a connection.
    pub(super) fn user(&self, number: u32) -> String {
        format!("user{}", number % self.plan.users + 1)
    }

    /// Any user.
    pub(super) fn somebody(&self) -> String {
        format!("user{}", fastrand::u32(0..self.plan.users) + 1)
    }

    /// The token that a connection shows at its handshake, if it shows one.
    pub(super) fn token(&self, user: &str, device: &str) -> Option<String> {
        let key = self.key.as_ref()?;
        token::mint(key, user, device, &self.plan.platform, self.clock.now()).ok()
    }

    pub(super) fn at(&mut self, moment: Moment, due: Due) {
        self.timers.push(Reverse((moment, due)));
    }

    /// What is due; the earliest first.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<(Moment, Due)> {
        let Reverse((moment, _)) = self.timers.peek()?;
        if *moment > now {
            return None;
        }
        self.timers.pop().map(|Reverse(due)| due)
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Moment> {
        let timer = self.timers.peek().map(|Reverse((moment, _))| *moment);
        let open = self.load.as_ref().and_then(Loaded::next);
        timer.into_iter().chain(open).min()
    }

    /// The number of what has to be sent, or to come, now, and the moment this was meant for.
    pub(super) fn open_loop(&mut self, now: Moment) -> Option<(usize, Moment)> {
        let loaded = self.load.as_mut()?;
        let intended = loaded.next().filter(|next| *next <= now)?;
        let number = usize::try_from(loaded.number).ok()?;
        loaded.number += 1;
        Some((number, intended))
    }

    /// Whether those who come do so to go again.
    pub(super) fn has_visitors(&self) -> bool {
        matches!(self.loaded(), Some(Load::Visits { .. }))
    }

    /// When a client comes back after so many attempts in vain, as gateway-client does.
    pub(super) fn back_off(&self, attempts: u32) -> Moment {
        let wait = ReconnectPolicy::default().delay(attempts, fastrand::u64(..));
        self.clock.now().plus(wait)
    }

    pub(super) fn may_dial(&self) -> bool {
        self.under_way < self.plan.at_once && !self.waiting.is_empty()
    }

    pub(super) fn expect_bound(&mut self) {
        self.unbound += 1;
    }

    pub(super) fn expect_visitor(&mut self) {
        self.counts.sent += 1;
        self.expect_bound();
    }

    pub(super) fn all_bound(&self) -> bool {
        self.unbound == 0
    }

    pub(super) fn bound(&mut self, latency: Duration) {
        self.under_way -= 1;
        self.unbound = self.unbound.saturating_sub(1);
        self.counts.open += 1;
        self.counts.connected += 1;
        self.counts.connect.record(latency);
    }

    /// A connection will not be made.
    pub(super) fn refused(&mut self, over: &Over) {
        self.unbound = self.unbound.saturating_sub(1);
        *self.counts.refused.entry(over.to_string()).or_default() += 1;
    }

    /// Loads a load.
    pub(super) fn load(&mut self, load: Load, now: Moment) -> Result<()> {
        let message = match load {
            Load::Closed { message, .. } | Load::Open { message, .. } => Some(message),
            Load::Chat { .. } | Load::Visits { .. } => None,
        };
        let template = match message {
            None => None,
            Some(Message::Heartbeat) => Some(Template::new(self.plan.encoding, 1, "{}".to_owned())),
            Some(Message::Command { cmd_id, size }) => {
                let text = "x".repeat(usize::try_from(size)?.saturating_sub(r#"{"text":""}"#.len()));
                let data = format!(r#"{{"text":"{text}"}}"#);
                Some(Template::new(self.plan.encoding, cmd_id, data))
            }
        };
        self.load = Some(Loaded {
            load,
            template,
            start: now,
            number: 0,
        });
        Ok(())
    }

    pub(super) fn loaded(&self) -> Option<Load> {
        self.load.as_ref().map(|loaded| loaded.load)
    }

    /// Puts the load's message into `out`.
    pub(super) fn put(&mut self, seq: u32) {
        if let Some(Loaded {
            template: Some(template),
            ..
        }) = &mut self.load
        {
            template.put(&mut self.out, seq);
            self.counts.sent += 1;
            self.in_flight += 1;
        }
    }

    pub(super) fn answered(&mut self, latency: Duration, code: u16) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.done += 1;
        if code == 200 {
            self.counts.answered += 1;
            self.counts.reply.record(latency);
            self.interval.record(latency);
        } else {
            self.counts.fail(format!("code {code}"));
        }
    }

    pub(super) fn delivered(&mut self, latency: Option<Duration>) {
        self.done += 1;
        self.counts.delivered += 1;
        if let Some(latency) = latency {
            self.counts.delivery.record(latency);
            self.interval.record(latency);
        }
    }

    /// Messages that nobody will answer.
    pub(super) fn lost(&mut self, count: usize) {
        for _ in 0..count {
            self.counts.fail("connection lost before the reply");
        }
        self.in_flight = self.in_flight.saturating_sub(count as u64);
    }

    pub(super) fn mark(&mut self) {
        self.counts.mark();
    }

    pub(super) fn quiet(&mut self) {
        self.load = None;
        self.timers.clear();
    }

    /// Nothing is under way any more: no message, and no visitor.
    pub(super) fn all_answered(&self) -> bool {
        self.in_flight == 0 && self.under_way == 0
    }

    /// After everybody has left.
    pub(super) fn nobody_left(&mut self) {
        self.counts.open = 0;
        (self.in_flight, self.under_way) = (0, 0);
    }

    pub(super) fn tick(&mut self) -> Tick {
        let tick = Tick {
            open: self.counts.open,
            done: self.done,
            errors: self.counts.errors(),
            latencies: self.interval.clone(),
        };
        self.interval.clear();
        tick
    }
}

impl Loaded {
    /// The next moment of an open loop.
    fn next(&self) -> Option<Moment> {
        let (Load::Open { rate, .. } | Load::Visits { rate }) = self.load else {
            return None;
        };
        let offset = Duration::from_secs_f64(self.number as f64 / rate);
        Some(self.start.plus(offset))
    }
}
