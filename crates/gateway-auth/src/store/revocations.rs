//! The list of what is revoked: ids of tokens and of families, each until a moment.
//!
//! A family stands in it as one id (every access token names its family), so that revoking a family costs one
//! entry however many access tokens it gave out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use gateway_codec::Timestamp;

/// Most revocations that are kept. A further one is refused: to forget one would bring a token back to life.
const MAX_REVOCATIONS: usize = 1_000_000;

/// Revoked ids; what is over is dropped as time passes.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    until: HashMap<Arc<str>, Timestamp>,
    by_end: BTreeSet<(Timestamp, Arc<str>)>,
}

/// The list is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Revocations {
    /// Adds an id; an id that is there keeps the later end.
    pub(super) fn add(&mut self, id: &str, until: Timestamp, now: Timestamp) -> Result<(), Full> {
        self.purge(now);
        let known = self.until.get_key_value(id).map(|(id, end)| (id.clone(), *end));
        let id: Arc<str> = match known {
            Some((_, end)) if end >= until => return Ok(()),
            Some((id, end)) => {
                self.by_end.remove(&(end, id.clone()));
                id
            }
            None if self.until.len() >= MAX_REVOCATIONS => return Err(Full),
            None => id.into(),
        };
        self.by_end.insert((until, id.clone()));
        self.until.insert(id, until);
        Ok(())
    }

    /// Whether an id is revoked.
    pub(super) fn has(&self, id: &str, now: Timestamp) -> bool {
        self.until.get(id).is_some_and(|until| *until > now)
    }

    /// All that is revoked, the soonest to end first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.by_end.iter().map(|(until, id)| (&**id, *until))
    }

    fn purge(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.by_end.first().filter(|(until, _)| *until <= now) {
            self.until.remove(id);
            self.by_end.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_revocation_holds_until_its_end_and_is_then_dropped() {
        let mut list = Revocations::default();
        list.add("a", at(10), at(0)).unwrap();
        assert!(list.has("a", at(9)));
        assert!(!list.has("a", at(10)));
        list.add("b", at(30), at(20)).unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), [("b", at(30))]);
        assert_eq!(list.until.len(), 1);
    }

    #[test]
    fn revoked_twice_the_later_end_counts() {
        let mut list = Revocations::default();
        list.add("a", at(10), at(0)).unwrap();
        list.add("a", at(20), at(0)).unwrap();
        list.add("a", at(15), at(0)).unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), [("a", at(20))]);
    }
}
