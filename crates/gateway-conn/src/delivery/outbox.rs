//! What is to be said to the offline box, in order per user.
//!
//! A user with something to say has a queue and one worker; both go when the queue is empty. So the calls for one user
//! never overtake each other: a box is asked only after what was delivered before has been taken out of it, and
//! recordings arrive in the order of the pushes. All queues together are bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway_codec::{EncodedPush, Timestamp, UserId};

use super::flight::Flight;
use crate::registry::Live;
use crate::sharded::Sharded;

/// Most jobs waiting, over all users.
const MOST: usize = 65_536;
/// Most jobs waiting for one user: what a session may have under way by default, and some.
const MOST_PER_USER: usize = 4_096;
/// Most jobs put into one call.
const BATCH: usize = 256;

/// One thing to say.
pub(crate) enum Job {
    /// Keep this.
    Record(Arc<Flight>, Arc<EncodedPush>),
    /// These are delivered.
    Delivered(Vec<String>),
    /// What waits for this session? The time is written into what comes back; the number counts failed tries.
    Ask(Arc<Live>, Timestamp, u32),
}

/// What a worker does in one call.
pub(crate) enum Call {
    Record(Vec<(Arc<Flight>, Arc<EncodedPush>)>),
    Delivered(Vec<String>),
    Ask(Arc<Live>, Timestamp, u32),
}

/// See the module.
pub(crate) struct Outbox {
    users: Sharded<HashMap<UserId, VecDeque<Job>>>,
    waiting: AtomicUsize,
}

/// There is no room for the job.
pub(crate) struct NoRoom;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            users: Sharded::new(HashMap::new),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Puts a job behind the user's others. Says whether a worker has to be started for the user.
    pub(crate) fn put(&self, user: &UserId, job: Job) -> Result<bool, NoRoom> {
        let mut users = self.users.of(user);
        if let Some(queue) = users.get_mut(user) {
            if queue.len() >= MOST_PER_USER {
                return Err(NoRoom);
            }
            self.count()?;
            queue.push_back(job);
            return Ok(false);
        }
        self.count()?;
        users.insert(user.clone(), VecDeque::from([job]));
        Ok(true)
    }

    fn count(&self) -> Result<(), NoRoom> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(NoRoom);
        }
        Ok(())
    }

    /// What the user's worker does next; `None` ends the worker.
    pub(crate) fn next(&self, user: &UserId) -> Option<Call> {
        let mut users = self.users.of(user);
        let queue = users.get_mut(user)?;
        let before = queue.len();
        let call = match queue.pop_front() {
            Some(Job::Ask(live, at, tries)) => Some(Call::Ask(live, at, tries)),
            Some(Job::Delivered(mut ids)) => {
                while ids.len() < BATCH
                    && let Some(Job::Delivered(more)) = queue.front_mut()
                {
                    ids.append(more);
                    queue.pop_front();
                }
                Some(Call::Delivered(ids))
            }
            Some(Job::Record(flight, push)) => {
                let mut batch = vec![(flight, push)];
                while batch.len() < BATCH
                    && let Some(Job::Record(..)) = queue.front()
                    && let Some(Job::Record(flight, push)) = queue.pop_front()
                {
                    batch.push((flight, push));
                }
                Some(Call::Record(batch))
            }
            None => None,
        };
        self.waiting.fetch_sub(before - queue.len(), Ordering::Relaxed);
        if call.is_none() {
            users.remove(user);
        }
        call
    }
}
