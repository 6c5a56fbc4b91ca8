//! A router over a back end in memory, whose commands are answered when the benchmark says so.
//!
//! Everything runs on the calling thread, so that the same instructions are executed each time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gateway_codec::proto::backend::{CommandReply, CommandRequest};
use gateway_config::{Routing, ServiceName};
use gateway_router::{
    Backend, CallLimits, EndpointId, Flow, Lane, Outcome, Outgoing, Rejected, Router, RouterError,
};
use tokio::runtime::{Builder, EnterGuard};

/// How one call ended.
pub(crate) type Answer = Result<CommandReply, RouterError>;
type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

const LIMITS: CallLimits = CallLimits {
    timeout: Duration::from_secs(5),
    retry_count: 2,
    idempotent: true,
};

/// A lane that keeps what it is given.
#[derive(Default)]
struct Tray {
    commands: Mutex<VecDeque<Outgoing>>,
}

impl Tray {
    fn commands(&self) -> MutexGuard<'_, VecDeque<Outgoing>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane for Tray {
    fn endpoint(&self) -> EndpointId {
        EndpointId(0)
    }

    fn submit(&self, command: Outgoing) -> Result<u64, Rejected> {
        let mut commands = self.commands();
        commands.push_back(command);
        Ok(commands.len() as u64)
    }

    fn cancel(&self, _: u64) {}
}

struct OneLane(Arc<Tray>);

impl Backend for OneLane {
    fn lane(&self, _: Option<EndpointId>) -> Result<Arc<dyn Lane>, RouterError> {
        Ok(Arc::clone(&self.0) as Arc<dyn Lane>)
    }
}

/// See the module.
pub(crate) struct Desk {
    router: Router,
    service: ServiceName,
    flow: Flow,
    tray: Arc<Tray>,
    requests: Vec<CommandRequest>,
    /// As a lane hands them over.
    replies: Vec<Outcome>,
    _context: EnterGuard<'static>,
}

impl Desk {
    /// With this many commands of one session to be called; as many were called and answered before.
    ///
    /// # Panics
    /// Where the system gives no runtime.
    #[expect(clippy::expect_used, reason = "there is nobody to hand the error to")]
    pub(crate) fn with(commands: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        // Lives as long as the benchmark's process: deadlines are its timers.
        let runtime = Box::leak(Box::new(runtime));
        let tray = Arc::new(Tray::default());
        let service = ServiceName::user();
        let backend: Arc<dyn Backend> = Arc::new(OneLane(Arc::clone(&tray)));
        let mut desk = Self {
            router: Router::with_backends(&Routing::default(), [(service.clone(), backend)], 1024),
            service,
            flow: Flow::new(),
            tray,
            requests: Vec::new(),
            replies: Vec::new(),
            _context: runtime.enter(),
        };
        desk.fill(commands);
        desk.work();
        desk.fill(commands);
        desk
    }

    fn fill(&mut self, commands: usize) {
        self.requests = (1..).map(request).take(commands).collect();
        self.replies = (0..commands).map(|_| Outcome::Reply(Box::new(reply()))).collect();
    }

    /// Calls all commands, waits for each until it is on its lane, answers them in their order, takes the results.
    pub(crate) fn work(&mut self) -> Vec<Answer> {
        let requests = std::mem::take(&mut self.requests).into_iter();
        let mut calls: Vec<Call> = requests
            .map(|request| Box::pin(self.router.call(&self.flow, &self.service, request, LIMITS)) as Call)
            .collect();
        let waiting = calls.iter_mut().filter_map(poll).count();
        assert_eq!(waiting, 0, "nothing is answered yet");
        for reply in self.replies.drain(..) {
            // Apart, because a lane must not be locked when a command is finished.
            let command = self.tray.commands().pop_front();
            if let Some(command) = command {
                command.done.finish(reply);
            }
        }
        calls.iter_mut().filter_map(poll).collect()
    }
}

fn poll(call: &mut Call) -> Option<Answer> {
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn request(seq: u32) -> CommandRequest {
    CommandRequest {
        request_id: "0190d9a47a8c7cc1b2a452c2f8a3a001".to_owned(),
        cmd_id: 2001,
        seq: seq.into(),
        user_id: "alice".to_owned(),
        session_id: "0190d9a47a8c7cc1b2a452c2f8a3a002".to_owned(),
        device_id: "phone".to_owned(),
        platform: "android".to_owned(),
        client_address: "203.0.113.7".to_owned(),
        body: vec![b'x'; 60].into(),
        ..CommandRequest::default()
    }
}

fn reply() -> CommandReply {
    CommandReply {
        code: 200,
        body: vec![b'x'; 60].into(),
        ..CommandReply::default()
    }
}
