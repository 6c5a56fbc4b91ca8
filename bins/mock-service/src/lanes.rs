//! The order of commands: those of one session one after the other, different sessions side by side.
//!
//! A session has a lane, and a task that runs it, only while it has commands. At most 10,000 commands of a
//! service wait or run at once; further ones are answered 503. The lanes do not know what a command is. Only
//! commands that wait for something come here, and those behind them: the others are run as they are read.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::store::held;

const MOST_AT_ONCE: usize = 10_000;

/// One command to run; must not panic, or its lane would stand still.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// As many commands wait or run as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

type Queue = VecDeque<(Job, OwnedSemaphorePermit)>;

#[derive(Default)]
struct Queues {
    by_session: Mutex<HashMap<String, Queue>>,
    /// How many there are: most of the time none, and who asks then needs no lock.
    open: AtomicUsize,
}

/// The lanes of one service.
pub(crate) struct Lanes {
    queues: Arc<Queues>,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Lanes {
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self {
            queues: Arc::default(),
            room: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            tasks,
        }
    }

    /// Whether nothing of this session waits or runs. Whatever it had in its lane has been answered then, as
    /// far as who asks can see: a lane is closed after its last job.
    pub(crate) fn is_idle(&self, session: &str) -> bool {
        // Acquire: seen empty, the answers of what ran before are seen too.
        session.is_empty()
            || self.queues.open.load(Ordering::Acquire) == 0
            || !held(&self.queues.by_session).contains_key(session)
    }

    /// Takes the next place in the session's lane; the place is taken when this returns. Commands without a
    /// session (they came by HTTP) have no order among them.
    pub(crate) fn submit(&self, session: &str, job: Job) -> Result<(), Busy> {
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        if session.is_empty() {
            self.tasks.spawn(async move {
                let _permit = permit;
                job.await;
            });
            return Ok(());
        }
        let mut queues = held(&self.queues.by_session);
        match queues.entry(session.to_owned()) {
            Entry::Occupied(mut lane) => lane.get_mut().push_back((job, permit)),
            Entry::Vacant(lane) => {
                lane.insert(Queue::new());
                self.queues.open.store(queues.len(), Ordering::Release);
                drop(queues);
                self.tasks
                    .spawn(run(Arc::clone(&self.queues), session.to_owned(), (job, permit)));
            }
        }
        Ok(())
    }
}

async fn run(queues: Arc<Queues>, session: String, first: (Job, OwnedSemaphorePermit)) {
    let mut next = Some(first);
    while let Some((job, permit)) = next {
        job.await;
        drop(permit);
        let mut by_session = held(&queues.by_session);
        next = by_session.get_mut(&session).and_then(VecDeque::pop_front);
        if next.is_none() {
            by_session.remove(&session);
            queues.open.store(by_session.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_session_is_in_order_and_others_do_not_wait_for_it() {
        let tasks = TaskTracker::new();
        let lanes = Lanes::new(tasks.clone());
        let log = Arc::new(Mutex::new(Vec::new()));
        let job = |name: &'static str, wait: u64| -> Job {
            let log = Arc::clone(&log);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                held(&log).push(name);
            })
        };
        lanes.submit("slow", job("first", 80)).unwrap();
        lanes.submit("slow", job("second", 0)).unwrap();
        lanes.submit("quick", job("other", 0)).unwrap();
        lanes.submit("", job("loose", 0)).unwrap();
        assert!(!lanes.is_idle("slow") && lanes.is_idle("idle") && lanes.is_idle(""));
        tasks.close();
        tasks.wait().await;
        let log = held(&log);
        assert_eq!(log[2..], ["first", "second"]);
        assert!(held(&lanes.queues.by_session).is_empty() && lanes.is_idle("slow"));
    }

    #[tokio::test]
    async fn too_many_commands_are_refused() {
        let lanes = Lanes::new(TaskTracker::new());
        for _ in 0..MOST_AT_ONCE {
            lanes.submit("s", Box::pin(std::future::pending())).unwrap();
        }
        assert_eq!(lanes.submit("t", Box::pin(async {})), Err(Busy));
    }
}
