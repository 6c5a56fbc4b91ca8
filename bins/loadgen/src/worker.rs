//! A worker: one process, one thread, up to 18,000 sockets.
//!
//! It does what the fleet orders, one order after the other, and tells how it goes. epoll through mio and no task
//! per connection: measuring must cost less than what is measured.

mod connection;
mod desk;
mod message;
mod stream;
mod token;

use std::io::{self, BufRead as _, ErrorKind, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mio::{Events, Poll, Token, Waker};

use self::connection::{Connection, Over};
use self::desk::{Desk, Due};
use self::stream::Dialer;
use crate::clock::{Clock, Moment};
use crate::intake::Intake;
use crate::orders::{Load, Login, Order, Plan, Tidings};

pub(crate) use self::message::stamped;

const WAKER: Token = Token(usize::MAX);
const TICK: Duration = Duration::from_millis(500);
/// How long answers may take after the last message, and closes after the order to leave.
const GRACE: Duration = Duration::from_secs(5);

/// Serves the fleet behind stdin and stdout until stdin ends.
///
/// # Errors
/// For a plan that cannot be carried out, and where epoll fails.
pub(crate) fn run() -> Result<()> {
    crate::limits::raise_file_limit().context("raising the file limit")?;
    let mut first = String::new();
    io::stdin().lock().read_line(&mut first)?;
    let plan: Plan = serde_json::from_str(&first).context("reading the plan")?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, orders) = mpsc::channel();
    // Ends with stdin, as the process does.
    std::thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                let Ok(order) = serde_json::from_str::<Order>(&line) else {
                    break;
                };
                if sender.send(order).is_err() || waker.wake().is_err() {
                    return;
                }
            }
            drop(sender);
            // Without it the loop would notice a little later.
            let _ = waker.wake();
        })?;
    Worker::new(plan, poll)?.work(&orders)
}

struct Worker {
    poll: Poll,
    dialer: Dialer,
    intake: Intake,
    desk: Desk,
    connections: Vec<Option<Connection>>,
    /// The order under way, and until when it may take.
    order: Option<(Order, Option<Moment>)>,
    next_tick: Moment,
}

impl Worker {
    fn new(plan: Plan, poll: Poll) -> Result<Self> {
        let clock = Clock::start();
        Ok(Self {
            dialer: Dialer::new(&plan.target)?,
            intake: Intake::new(),
            connections: Vec::new(),
            order: None,
            next_tick: clock.now().plus(TICK),
            desk: Desk::new(plan, clock)?,
            poll,
        })
    }

    fn work(mut self, orders: &Receiver<Order>) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let wait = self.wait();
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                done => done?,
            }
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.ready(event.token().0, event.is_writable());
            }
            self.act_on_time();
            if self.order.is_none() {
                match orders.try_recv() {
                    Ok(order) => self.begin(order)?,
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.finish()?;
        }
    }

    /// Until the next thing to do. Fixed moments are met by looking again and again, since epoll counts in
    /// milliseconds.
    fn wait(&self) -> Duration {
        let now = self.desk.clock.now();
        match self.desk.next_due() {
            Some(due) if due.since(now) < Duration::from_millis(2) => Duration::ZERO,
            Some(due) => due.min(self.next_tick).since(now),
            None => self.next_tick.since(now),
        }
    }

    fn ready(&mut self, index: usize, writable: bool) {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return;
        };
        let ready = connection.ready(&mut self.intake, &mut self.desk, writable);
        if let Err(over) = ready.and_then(|()| connection.go_if_visitor(&mut self.desk)) {
            self.over(index, &over);
        }
    }

    /// A connection has ended.
    fn over(&mut self, index: usize, over: &Over) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::take) else {
            return;
        };
        let leaving = matches!(self.order, Some((Order::Leave, _)));
        let Some(attempt) = connection.end(&mut self.desk, over, leaving) else {
            return;
        };
        // It had not been bound yet: in a storm with back-off it tries again.
        if let Some((Order::Storm { back_off: true }, _)) = self.order {
            let at = self.desk.back_off(attempt);
            self.desk.at(at, Due::Dial(index, attempt));
        } else {
            self.desk.refused(over);
        }
    }

    fn act_on_time(&mut self) {
        let now = self.desk.clock.now();
        while let Some(due) = self.desk.take_due(now) {
            match due {
                (_, Due::Dial(index, attempt)) => self.desk.waiting.push_back((index, attempt)),
                (intended, Due::Act(index)) => {
                    self.with(index, |connection, desk| connection.act(desk, intended));
                }
            }
        }
        while let Some((number, intended)) = self.desk.open_loop(now) {
            if self.desk.has_visitors() {
                self.connections.push(None);
                self.desk.expect_visitor();
                self.dial(self.connections.len() - 1, 0, intended);
            } else {
                let index = number % self.connections.len().max(1);
                self.with(index, |connection, desk| connection.send(desk, intended));
            }
        }
        while self.desk.may_dial() {
            let Some((index, attempt)) = self.desk.waiting.pop_front() else {
                break;
            };
            self.dial(index, attempt, now);
        }
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut Connection, &mut Desk) -> Result<(), Over>) {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return;
        };
        if let Err(over) = act(connection, &mut self.desk) {
            self.over(index, &over);
        }
    }

    fn dial(&mut self, index: usize, attempt: u32, now: Moment) {
        let number = self.desk.plan.first + u32::try_from(index).unwrap_or(u32::MAX);
        let stream = self.dialer.dial(number).and_then(|mut stream| {
            stream.register(self.poll.registry(), Token(index))?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => {
                self.desk.under_way += 1;
                self.connections[index] = Some(Connection::new(stream, number, attempt, now));
            }
            Err(error) => self.desk.refused(&Over::Failed(error)),
        }
    }

    fn begin(&mut self, order: Order) -> Result<()> {
        let now = self.desk.clock.now();
        let until = match order {
            Order::Quiet | Order::Leave => Some(now.plus(GRACE)),
            _ => None,
        };
        self.order = Some((order.clone(), until));
        match &order {
            Order::Connect { count, rate } => {
                let (old, new) = (self.connections.len(), usize::try_from(*count)?);
                self.connections.resize_with(new.max(old), || None);
                for index in old..new {
                    self.desk.expect_bound();
                    let step = rate.map_or(0.0, |rate| (index - old) as f64 / rate);
                    self.desk
                        .at(now.plus(Duration::from_secs_f64(step)), Due::Dial(index, 0));
                }
            }
            Order::Load(load) => {
                self.desk.load(*load, now)?;
                let active = match load {
                    Load::Closed { active, .. } => usize::try_from(*active)?,
                    Load::Open { .. } | Load::Visits { .. } => 0,
                    Load::Chat { .. } => usize::MAX,
                };
                for index in 0..self.connections.len().min(active) {
                    self.with(index, Connection::start);
                }
            }
            Order::Mark => {}
            Order::Quiet => self.desk.quiet(),
            Order::Storm { back_off } => self.storm(*back_off, now),
            Order::Leave => {
                self.desk.quiet();
                for index in 0..self.connections.len() {
                    self.with(index, Connection::leave);
                }
            }
        }
        Ok(())
    }

    fn storm(&mut self, back_off: bool, now: Moment) {
        for index in 0..self.connections.len() {
            let Some(connection) = self.connections[index].take() else {
                continue;
            };
            connection.cut(&mut self.desk);
            self.desk.expect_bound();
            let at = if back_off { self.desk.back_off(0) } else { now };
            self.desk.at(at, Due::Dial(index, 0));
        }
    }

    /// Says so when an order has come true, and how it goes now and then.
    fn finish(&mut self) -> Result<()> {
        let now = self.desk.clock.now();
        if now >= self.next_tick {
            self.next_tick = now.plus(TICK);
            tell(&Tidings::Tick(self.desk.tick()))?;
        }
        let done = match &self.order {
            None => false,
            Some((_, Some(until))) if now >= *until => true,
            Some((order, _)) => match order {
                Order::Connect { .. } | Order::Storm { .. } => self.desk.all_bound(),
                Order::Load(_) | Order::Mark => true,
                Order::Quiet => self.desk.all_answered(),
                Order::Leave => self.connections.iter().all(Option::is_none),
            },
        };
        if done {
            let order = self.order.take().map(|(order, _)| order);
            if matches!(order, Some(Order::Leave)) {
                self.connections.clear();
                self.desk.nobody_left();
            }
            tell(&Tidings::Done(Box::new(self.desk.counts.clone())))?;
            if matches!(order, Some(Order::Mark)) {
                self.desk.mark();
            }
        }
        Ok(())
    }
}

fn tell(tidings: &Tidings) -> Result<()> {
    let mut line = serde_json::to_vec(tidings)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()?;
    Ok(())
}

/// Whether a connection of this plan hears a welcome before it may speak.
fn is_greeted(plan: &Plan) -> bool {
    !matches!(plan.login, Login::Baseline)
}
