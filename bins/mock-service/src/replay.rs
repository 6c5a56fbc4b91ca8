//! Answering a repeated request id with the same reply, also while the first is still being worked on.
//!
//! A window of 32,768 replies or 64 MiB, whichever is less; older ones are forgotten. Replies of 500 and
//! above are not kept: whoever repeats such a command wants it tried again. Commands that only read do not come
//! here: run again, they do no harm.
//!
//! Nearly no reply is ever asked for again, so keeping one is cheap and giving it again is not: a reply is
//! kept as its bytes, and who has to wait for one brings the channel to be told by.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use gateway_codec::{Code, proto::backend::CommandReply};
use prost::Message as _;
use tokio::sync::watch;

use crate::store::held;

const MOST_REPLIES: usize = 32_768;
const MOST_BYTES: usize = 64 << 20;
/// What an entry costs beside its reply.
const ENTRY_BYTES: usize = 256;

/// A reply, encoded; `None` while there is none.
type Outcome = Option<Bytes>;

enum Slot {
    /// With whom to tell, where anybody waits.
    Running(Option<watch::Sender<Outcome>>),
    Done(Bytes),
}

#[derive(Default)]
struct Window {
    slots: HashMap<Arc<str>, Slot>,
    /// Finished ids, oldest first, with what they cost.
    finished: VecDeque<(Arc<str>, usize)>,
    bytes: usize,
}

/// The request ids of one service.
pub(crate) struct Replays {
    window: Mutex<Window>,
    most: usize,
}

/// What to do with a request.
pub(crate) enum Seen<'a> {
    /// Run it and hand the reply to the ticket.
    First(Ticket<'a>),
    Before(Box<CommandReply>),
}

/// The right and duty to answer a request id. Dropped unanswered, whoever waits runs the command instead.
pub(crate) struct Ticket<'a> {
    replays: &'a Replays,
    id: Arc<str>,
    finished: bool,
}

impl Default for Replays {
    fn default() -> Self {
        Self::bounded(MOST_REPLIES)
    }
}

impl Replays {
    fn bounded(most: usize) -> Self {
        Self {
            window: Mutex::default(),
            most,
        }
    }

    /// Looks a request id up; waits where the same id is being worked on.
    pub(crate) async fn begin(&self, id: &str) -> Seen<'_> {
        loop {
            if let Some(seen) = self.begin_now(id) {
                return seen;
            }
            if let Some(mut running) = self.follow(id)
                && let Ok(outcome) = running.wait_for(Option::is_some).await
                && let Some(reply) = outcome.as_ref()
            {
                return Seen::Before(unpacked(reply));
            }
        }
    }

    /// Looks a request id up; `None` where the same id is being worked on.
    pub(crate) fn begin_now(&self, id: &str) -> Option<Seen<'_>> {
        let mut window = held(&self.window);
        match window.slots.get(id) {
            Some(Slot::Done(reply)) => Some(Seen::Before(unpacked(reply))),
            Some(Slot::Running(_)) => None,
            None => {
                let id: Arc<str> = id.into();
                window.slots.insert(Arc::clone(&id), Slot::Running(None));
                Some(Seen::First(Ticket {
                    replays: self,
                    id,
                    finished: false,
                }))
            }
        }
    }

    /// Where to be told of an id that is being worked on; `None` where it no longer is.
    fn follow(&self, id: &str) -> Option<watch::Receiver<Outcome>> {
        match held(&self.window).slots.get_mut(id) {
            Some(Slot::Running(tell)) => {
                let tell = tell.get_or_insert_with(|| watch::channel(None).0);
                Some(tell.subscribe())
            }
            _ => None,
        }
    }
}

impl Ticket<'_> {
    /// Tells everybody who waits, and keeps the reply for who comes later.
    pub(crate) fn finish(mut self, reply: &CommandReply) {
        self.finished = true;
        let packed = Bytes::from(reply.encode_to_vec());
        let mut window = held(&self.replays.window);
        let Some(slot) = window.slots.get_mut(&self.id) else {
            return; // Only a ticket's own end takes its slot away.
        };
        let waiting = match slot {
            Slot::Running(tell) => tell.take().map(|tell| (tell, packed.clone())),
            Slot::Done(_) => None,
        };
        if reply.code < 500 {
            let cost = packed.len() + ENTRY_BYTES;
            *slot = Slot::Done(packed);
            window.finished.push_back((Arc::clone(&self.id), cost));
            window.bytes += cost;
            window.shrink(self.replays.most);
        } else {
            window.slots.remove(&self.id);
        }
        drop(window);
        if let Some((tell, reply)) = waiting {
            tell.send_replace(Some(reply));
        }
    }
}

/// The reply that was kept as these bytes.
fn unpacked(kept: &Bytes) -> Box<CommandReply> {
    // They were written here, so they can be read.
    let reply = CommandReply::decode(kept.clone()).unwrap_or_else(|_| CommandReply {
        code: Code::Internal.json().into(),
        ..CommandReply::default()
    });
    Box::new(reply)
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.finished {
            held(&self.replays.window).slots.remove(&self.id);
        }
    }
}

impl Window {
    fn shrink(&mut self, most: usize) {
        while (self.finished.len() > most || self.bytes > MOST_BYTES)
            && let Some((id, cost)) = self.finished.pop_front()
        {
            self.slots.remove(&id);
            self.bytes = self.bytes.saturating_sub(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u32) -> CommandReply {
        CommandReply {
            code,
            ..CommandReply::default()
        }
    }

    async fn run(replays: &Replays, id: &str, code: u32) -> u32 {
        match replays.begin(id).await {
            Seen::Before(reply) => reply.code,
            Seen::First(ticket) => {
                ticket.finish(&reply(code));
                code
            }
        }
    }

    #[tokio::test]
    async fn the_first_reply_is_given_again_unless_it_was_a_failure() {
        let replays = Replays::default();
        assert_eq!(run(&replays, "a", 200).await, 200);
        assert_eq!(run(&replays, "a", 404).await, 200);
        assert_eq!(run(&replays, "b", 503).await, 503);
        assert_eq!(run(&replays, "b", 200).await, 200);
    }

    #[tokio::test]
    async fn who_comes_while_the_first_runs_waits_for_its_reply() {
        let replays = Replays::default();
        let Seen::First(ticket) = replays.begin("a").await else {
            panic!("seen before")
        };
        assert!(replays.begin_now("a").is_none());
        let finish = async {
            tokio::task::yield_now().await;
            ticket.finish(&reply(201));
        };
        let (code, ()) = tokio::join!(run(&replays, "a", 200), finish);
        assert_eq!(code, 201);
    }

    #[tokio::test]
    async fn who_waits_runs_the_command_where_the_first_gives_up() {
        let replays = Replays::default();
        let Seen::First(ticket) = replays.begin("a").await else {
            panic!("seen before")
        };
        let give_up = async {
            tokio::task::yield_now().await;
            drop(ticket);
        };
        let (code, ()) = tokio::join!(run(&replays, "a", 202), give_up);
        assert_eq!(code, 202);
    }

    #[tokio::test]
    async fn the_window_forgets_the_oldest() {
        let replays = Replays::bounded(2);
        for id in ["a", "b", "c"] {
            run(&replays, id, 200).await;
        }
        assert_eq!(run(&replays, "c", 404).await, 200);
        assert_eq!(run(&replays, "a", 404).await, 404);
        assert_eq!(held(&replays.window).slots.len(), 2);
    }
}
