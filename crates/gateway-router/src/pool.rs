//! The endpoints of one service, and the lanes to them: round robin over what is healthy.
//!
//! Lanes are made when first asked for, per runtime: a worker's commands leave by a connection that this worker
//! drives. Lanes of runtimes that are gone are swept when a new lane is made. A lane that its server drains takes no
//! more commands: its successor takes its place with the next command, while it still waits for its replies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Handle, Id};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, EndpointId, Lane};
use crate::endpoint::{Endpoint, EndpointState};
use crate::error::RouterError;
use crate::lane::GrpcLane;
use crate::lane::pace::Pace;
use crate::lane::task::{self, Served};
use crate::telemetry::Telemetry;

/// Runtime, endpoint, and which of the lanes between them.
type LaneKey = (Id, EndpointId, usize);

/// One service's endpoints and lanes.
pub(crate) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
    lanes: papaya::HashMap<LaneKey, Arc<GrpcLane>>,
    /// Lanes that are drained and wait for replies; each ends with the deadlines of its commands. Locked while a lane
    /// is made, so that there is one per key.
    drained: Mutex<Vec<Arc<GrpcLane>>>,
    lanes_per_worker: usize,
    telemetry: Arc<Telemetry>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Pool {
    pub(crate) fn new(
        endpoints: Vec<Arc<Endpoint>>,
        lanes_per_worker: usize,
        telemetry: Arc<Telemetry>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            endpoints,
            next: AtomicUsize::new(0),
            lanes: papaya::HashMap::new(),
            drained: Mutex::default(),
            lanes_per_worker: lanes_per_worker.max(1),
            telemetry,
            tasks,
            stop,
        }
    }

    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The next endpoint in turn: healthy before unknown, another than `avoid` before that one; never an unhealthy one.
    pub(crate) fn pick(&self, avoid: Option<EndpointId>) -> Option<(&Arc<Endpoint>, usize)> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        for wanted in [EndpointState::Healthy, EndpointState::Unknown] {
            for avoid in [avoid, None] {
                let fits =
                    |endpoint: &&Arc<Endpoint>| endpoint.state() == wanted && Some(endpoint.id) != avoid;
                let count = self.endpoints.iter().filter(fits).count();
                if count > 0
                    && let Some(endpoint) = self.endpoints.iter().filter(fits).nth(turn % count)
                {
                    return Some((endpoint, turn / count));
                }
            }
        }
        None
    }

    /// Commands that lanes wait for, over all of them.
    pub(crate) fn pending(&self) -> usize {
        let current: usize = self.lanes.pin().values().map(|lane| lane.pending()).sum();
        current + self.drained().iter().map(|lane| lane.pending()).sum::<usize>()
    }

    fn drained(&self) -> MutexGuard<'_, Vec<Arc<GrpcLane>>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, handle: &Handle, key: LaneKey, endpoint: &Arc<Endpoint>) -> Arc<GrpcLane> {
        let mut drained = self.drained();
        let lanes = self.lanes.pin();
        let before = lanes.get(&key);
        if let Some(lane) = before.filter(|lane| lane.takes_commands()) {
            return lane.clone();
        }
        drained.retain(|lane| !lane.is_closed());
        let pace = match before {
            Some(before) => {
                drained.push(before.clone());
                before.pace()
            }
            None => Arc::new(Pace::new()),
        };
        lanes.retain(|_, lane| !lane.is_closed());
        let lane = Arc::new(GrpcLane::new(endpoint.clone(), self.telemetry.clone(), pace));
        self.tasks
            .spawn_on(task::run(Served::new(lane.clone()), self.stop.clone()), handle);
        lanes.insert(key, lane.clone());
        lane
    }
}

impl Backend for Pool {
    fn lane(&self, avoid: Option<EndpointId>) -> Result<Arc<dyn Lane>, RouterError> {
        if self.stop.is_cancelled() {
            return Err(RouterError::ShuttingDown);
        }
        let (endpoint, turn) = self.pick(avoid).ok_or(RouterError::NoEndpoint)?;
        let handle = Handle::try_current().map_err(|_| RouterError::NoEndpoint)?;
        let key = (handle.id(), endpoint.id, turn % self.lanes_per_worker);
        if let Some(lane) = self.lanes.pin().get(&key).filter(|lane| lane.takes_commands()) {
            return Ok(lane.clone());
        }
        Ok(self.make(&handle, key, endpoint))
    }
}

#[cfg(test)]
mod tests;
