//! Answering a repeated request id with the same reply, also while the first is still being worked on.
//!
//! A window of 32,768 replies or 64 MiB, whichever is less; older ones are forgotten. Replies of 500 and
//! above are not kept: whoever repeats such a command wants it tried again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use gateway_codec::proto::backend::CommandReply;
use prost::Message as _;
use tokio::sync::watch;

use crate::store::held;

const MOST_REPLIES: usize = 32_768;
const MOST_BYTES: usize = 64 << 20;
/// What an entry costs beside its reply.
const ENTRY_BYTES: usize = 256;

type Outcome = Option<Arc<CommandReply>>;

enum Slot {
    Running(watch::Receiver<Outcome>),
    Done(Arc<CommandReply>),
}

#[derive(Default)]
struct Window {
    slots: HashMap<String, Slot>,
    /// Finished ids, oldest first, with what they cost.
    finished: VecDeque<(String, usize)>,
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
    Before(Arc<CommandReply>),
}

/// The right and duty to answer a request id. Dropped unanswered, whoever waits runs the command instead.
pub(crate) struct Ticket<'a> {
    replays: &'a Replays,
    id: String,
    tell: watch::Sender<Outcome>,
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
            let mut running = match self.claim(id) {
                Ok(seen) => return seen,
                Err(running) => running,
            };
            if let Ok(outcome) = running.wait_for(Option::is_some).await
                && let Some(reply) = outcome.as_ref()
            {
                return Seen::Before(Arc::clone(reply));
            }
        }
    }

    fn claim(&self, id: &str) -> Result<Seen<'_>, watch::Receiver<Outcome>> {
        let mut window = held(&self.window);
        match window.slots.get(id) {
            Some(Slot::Done(reply)) => Ok(Seen::Before(Arc::clone(reply))),
            Some(Slot::Running(running)) => Err(running.clone()),
            None => {
                let (tell, running) = watch::channel(None);
                window.slots.insert(id.to_owned(), Slot::Running(running));
                Ok(Seen::First(Ticket {
                    replays: self,
                    id: id.to_owned(),
                    tell,
                    finished: false,
                }))
            }
        }
    }
}

impl Ticket<'_> {
    /// Tells everybody who waits, and keeps the reply for who comes later.
    pub(crate) fn finish(mut self, reply: &Arc<CommandReply>) {
        self.finished = true;
        {
            let mut window = held(&self.replays.window);
            if reply.code < 500 {
                let cost = reply.encoded_len() + ENTRY_BYTES;
                window
                    .slots
                    .insert(self.id.clone(), Slot::Done(Arc::clone(reply)));
                window.finished.push_back((self.id.clone(), cost));
                window.bytes += cost;
                window.shrink(self.replays.most);
            } else {
                window.slots.remove(&self.id);
            }
        }
        self.tell.send_replace(Some(Arc::clone(reply)));
    }
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

    fn reply(code: u32) -> Arc<CommandReply> {
        Arc::new(CommandReply {
            code,
            ..CommandReply::default()
        })
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
