//! Which pushes are known by their `push_id`, so that a second delivery is not a second message, and from which one
//! on the gateway is asked to go on.
//!
//! Bounded by itself: those that wait are as many as the event queue holds, those that were taken are forgotten
//! oldest first, and an id of absurd length is not remembered at all.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// How many taken pushes are remembered.
const TAKEN: usize = 4_096;
/// Longest id that is remembered, in bytes. The gateway's own are a tenth of that.
const LONGEST: usize = 256;

/// What is known of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    No,
    /// It waits for the application.
    Waiting,
    /// The application has it.
    Taken,
}

#[derive(Default)]
pub(crate) struct Seen {
    waiting: HashSet<String>,
    taken: HashSet<Arc<str>>,
    /// The taken ones, oldest first.
    order: VecDeque<Arc<str>>,
    last: Option<Arc<str>>,
}

impl Seen {
    /// As if this push had been taken last; an empty id stands for none.
    pub(crate) fn after(push_id: &str) -> Self {
        let mut seen = Self::default();
        seen.take(push_id);
        seen
    }

    pub(crate) fn look(&self, push_id: &str) -> Known {
        if self.taken.contains(push_id) {
            Known::Taken
        } else if self.waiting.contains(push_id) {
            Known::Waiting
        } else {
            Known::No
        }
    }

    /// The push waits from now on.
    pub(crate) fn wait(&mut self, push_id: &str) {
        if is_remembered(push_id) {
            self.waiting.insert(push_id.to_owned());
        }
    }

    /// The application has taken the push.
    pub(crate) fn take(&mut self, push_id: &str) {
        if !is_remembered(push_id) {
            return;
        }
        self.waiting.remove(push_id);
        let id: Arc<str> = push_id.into();
        if self.taken.insert(Arc::clone(&id)) {
            self.order.push_back(Arc::clone(&id));
        }
        if self.order.len() > TAKEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
        self.last = Some(id);
    }

    /// The push that was taken last.
    pub(crate) fn last(&self) -> Option<Arc<str>> {
        self.last.clone()
    }
}

fn is_remembered(push_id: &str) -> bool {
    (1..=LONGEST).contains(&push_id.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_new_then_waits_then_is_taken() {
        let mut seen = Seen::default();
        assert_eq!((seen.look("p"), seen.last()), (Known::No, None));
        seen.wait("p");
        assert_eq!((seen.look("p"), seen.last()), (Known::Waiting, None));
        seen.take("p");
        assert_eq!(
            (seen.look("p"), seen.last().as_deref()),
            (Known::Taken, Some("p"))
        );
    }

    #[test]
    fn the_oldest_taken_are_forgotten() {
        let mut seen = Seen::default();
        for n in 0..=TAKEN {
            seen.take(&n.to_string());
        }
        assert_eq!((seen.look("0"), seen.look("1")), (Known::No, Known::Taken));
        assert_eq!((seen.order.len(), seen.taken.len()), (TAKEN, TAKEN));
    }

    #[test]
    fn without_an_id_or_with_an_absurd_one_nothing_is_known() {
        let long = "x".repeat(LONGEST + 1);
        let mut seen = Seen::after("");
        for id in ["", &long] {
            seen.wait(id);
            seen.take(id);
            assert_eq!((seen.look(id), seen.last()), (Known::No, None));
        }
    }
}
