//! A back end whose lanes do what a test tells them, without sockets.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use gateway_codec::proto::backend::{CommandReply, CommandRequest};
use gateway_config::ServiceName;
use prost::Message;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, EndpointId, Lane, Outcome, Outgoing, Rejected};
use crate::error::RouterError;
use crate::flow::call::{Call, RepeatPace};
use crate::flow::{CallLimits, Flow, Parcel};
use crate::service::Service;
use crate::telemetry::Telemetry;

pub(super) type Pending = Pin<Box<dyn Future<Output = Result<Box<CommandReply>, RouterError>> + Send>>;

/// What a lane saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Submitted { seq: u32, lane: u32 },
    Ended { seq: u32 },
}

pub(super) struct Script {
    /// The current lane to each endpoint.
    lanes: Mutex<Vec<Arc<ScriptLane>>>,
    /// Those whose successors took their place.
    drained: Mutex<Vec<Arc<ScriptLane>>>,
    turn: AtomicUsize,
    log: Arc<Mutex<Vec<Event>>>,
}

struct ScriptLane {
    /// Differs from the endpoint's for the successor of a drained lane.
    id: u32,
    endpoint: u32,
    draining: AtomicBool,
    next: AtomicU64,
    held: Mutex<BTreeMap<u64, (u32, Outgoing)>>,
    log: Arc<Mutex<Vec<Event>>>,
}

impl Script {
    pub(super) fn new(lanes: u32) -> Arc<Self> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lanes = (0..lanes).map(|id| ScriptLane::new(id, id, &log)).collect();
        Arc::new(Self {
            lanes: Mutex::new(lanes),
            drained: Mutex::default(),
            turn: AtomicUsize::new(0),
            log,
        })
    }

    /// All lanes, the drained ones first.
    fn all(&self) -> Vec<Arc<ScriptLane>> {
        let mut all = self.drained.lock().unwrap().clone();
        all.extend(self.lanes.lock().unwrap().iter().cloned());
        all
    }

    /// Every submission so far: sequence number and lane.
    pub(super) fn submitted(&self) -> Vec<(u32, u32)> {
        let submitted = |event: &Event| match *event {
            Event::Submitted { seq, lane } => Some((seq, lane)),
            Event::Ended { .. } => None,
        };
        self.log.lock().unwrap().iter().filter_map(submitted).collect()
    }

    pub(super) fn log(&self) -> Vec<Event> {
        self.log.lock().unwrap().clone()
    }

    /// The sequence numbers that lanes hold, by lane and order of submission.
    pub(super) fn held_seqs(&self) -> Vec<u32> {
        let seqs = |lane: &Arc<ScriptLane>| {
            lane.held
                .lock()
                .unwrap()
                .values()
                .map(|(seq, _)| *seq)
                .collect::<Vec<_>>()
        };
        self.all().iter().flat_map(seqs).collect()
    }

    pub(super) fn held(&self) -> usize {
        self.held_seqs().len()
    }

    pub(super) fn take(&self, seq: u32) -> Option<Outgoing> {
        for lane in &self.all() {
            let mut held = lane.held.lock().unwrap();
            let number = held
                .iter()
                .find(|(_, (held, _))| *held == seq)
                .map(|(number, _)| *number);
            if let Some((seq, outgoing)) = number.and_then(|number| held.remove(&number)) {
                self.log.lock().unwrap().push(Event::Ended { seq });
                return Some(outgoing);
            }
        }
        None
    }

    pub(super) fn finish(&self, seq: u32, outcome: Outcome) {
        self.take(seq).expect("submitted").done.finish(outcome);
    }

    /// Fails all that a lane holds, in order.
    pub(super) fn break_lane(&self, lane: u32, written: bool) {
        let lane = self.lanes.lock().unwrap()[lane as usize].clone();
        let all = std::mem::take(&mut *lane.held.lock().unwrap());
        for seq in all.values().map(|(seq, _)| *seq) {
            self.log.lock().unwrap().push(Event::Ended { seq });
        }
        for (_, (_, outgoing)) in all {
            let error = RouterError::Disconnected;
            outgoing.done.finish(if written {
                Outcome::Lost(error)
            } else {
                Outcome::NeverLeft(error)
            });
        }
    }

    /// The server of the current lane to this endpoint closes the connection: all but the first `written` commands are
    /// given back, in order. Its successor gets a number of its own.
    pub(super) fn drain_lane(&self, endpoint: u32, written: usize) {
        let (lane, id) = {
            let mut lanes = self.lanes.lock().unwrap();
            let mut drained = self.drained.lock().unwrap();
            let id = u32::try_from(lanes.len() + drained.len()).unwrap();
            let successor = ScriptLane::new(id, endpoint, &self.log);
            let lane = std::mem::replace(&mut lanes[endpoint as usize], successor);
            drained.push(lane.clone());
            (lane, id)
        };
        assert_ne!(lane.id, id);
        lane.draining.store(true, Ordering::Relaxed);
        let unsent = {
            let mut held = lane.held.lock().unwrap();
            match held.keys().nth(written).copied() {
                Some(first) => held.split_off(&first),
                None => BTreeMap::new(),
            }
        };
        for (seq, _) in unsent.values() {
            self.log.lock().unwrap().push(Event::Ended { seq: *seq });
        }
        for (_, (_, outgoing)) in unsent {
            outgoing
                .done
                .finish(Outcome::Unprocessed(RouterError::Disconnected));
        }
    }
}

impl ScriptLane {
    fn new(id: u32, endpoint: u32, log: &Arc<Mutex<Vec<Event>>>) -> Arc<Self> {
        Arc::new(Self {
            id,
            endpoint,
            draining: AtomicBool::new(false),
            next: AtomicU64::new(0),
            held: Mutex::default(),
            log: log.clone(),
        })
    }
}

impl Backend for Script {
    fn lane(&self, avoid: Option<EndpointId>) -> Result<Arc<dyn Lane>, RouterError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let lanes = self.lanes.lock().unwrap();
        let fits: Vec<_> = lanes
            .iter()
            .filter(|lane| Some(EndpointId(lane.endpoint)) != avoid)
            .collect();
        let fits = if fits.is_empty() {
            lanes.iter().collect()
        } else {
            fits
        };
        match fits.len() {
            0 => Err(RouterError::NoEndpoint),
            count => Ok(fits[turn % count].clone()),
        }
    }
}

impl Lane for ScriptLane {
    fn endpoint(&self) -> EndpointId {
        EndpointId(self.endpoint)
    }

    fn submit(&self, command: Outgoing) -> Result<u64, Rejected> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Rejected::Draining);
        }
        let seq = CommandRequest::decode(command.request.clone()).unwrap().seq;
        let seq = u32::try_from(seq).unwrap();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.log
            .lock()
            .unwrap()
            .push(Event::Submitted { seq, lane: self.id });
        self.held.lock().unwrap().insert(number, (seq, command));
        Ok(number)
    }

    fn cancel(&self, number: u64) {
        if let Some((seq, _)) = self.held.lock().unwrap().remove(&number) {
            self.log.lock().unwrap().push(Event::Ended { seq });
        }
    }
}

/// Calls with sequence number `seq`; repeats come without a pause.
pub(super) fn call(flow: &Flow, script: &Arc<Script>, service: u32, seq: u32, limits: CallLimits) -> Pending {
    let request = CommandRequest {
        seq: seq.into(),
        ..Default::default()
    }
    .encode_to_vec()
    .into();
    let parcel = Parcel {
        request,
        deadline: Instant::now() + limits.timeout,
    };
    let pace = RepeatPace {
        base: Duration::ZERO,
        cap: Duration::ZERO,
    };
    let call = Call::place(flow, service, script.clone(), parcel, limits, pace);
    Box::pin(call.run(|| {}))
}

pub(super) fn reply(code: u32) -> Box<CommandReply> {
    Box::new(CommandReply {
        code,
        ..Default::default()
    })
}

pub(super) fn with_waker<T>(work: impl FnOnce(&mut Context<'_>) -> T) -> T {
    work(&mut Context::from_waker(Waker::noop()))
}

/// What submitted commands came to: sequence number and code, in the order of being told.
pub(super) type Told = Arc<Mutex<Vec<(u32, Result<u32, RouterError>)>>>;

/// The service over `script`, as a router holds it.
pub(super) fn service(script: &Arc<Script>) -> Arc<Service> {
    let name: ServiceName = "message".parse().unwrap();
    let telemetry = Arc::new(Telemetry::new("message"));
    let tasks = TaskTracker::new();
    Arc::new(Service::new(0, name, script.clone(), 1_000, telemetry, tasks))
}

/// Submits a command with sequence number `seq`, whose end goes to `told`.
pub(super) fn submit(flow: &Flow, service: &Arc<Service>, seq: u32, limits: CallLimits, told: &Told) {
    let request = CommandRequest {
        seq: seq.into(),
        ..Default::default()
    };
    let told = told.clone();
    let done = Box::new(move |result: Result<CommandReply, RouterError>| {
        told.lock().unwrap().push((seq, result.map(|reply| reply.code)));
    });
    service.submit(flow, request.encode_to_vec().into(), limits, done);
}
