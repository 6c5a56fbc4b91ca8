//! What is kept per user, as small as it can be: one word for a user with one session, whose id is read from the session
//! itself instead of being a key beside it. The embedded store keeps records this way, the registry links.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::slice;
use std::sync::Arc;

use gateway_codec::{SessionId, UserId};

use crate::SessionRecord;

/// Something that belongs to one session.
pub(crate) trait OfSession {
    fn record(&self) -> &SessionRecord;
}

impl OfSession for SessionRecord {
    fn record(&self) -> &SessionRecord {
        self
    }
}

/// The only session of its user, and its own key.
struct Lone<T>(Arc<T>);

impl<T: OfSession> Borrow<UserId> for Lone<T> {
    fn borrow(&self) -> &UserId {
        &self.0.record().user_id
    }
}

impl<T: OfSession> Hash for Lone<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<UserId>::borrow(self).hash(state);
    }
}

impl<T: OfSession> PartialEq for Lone<T> {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<UserId>::borrow(self) == Borrow::<UserId>::borrow(other)
    }
}

impl<T: OfSession> Eq for Lone<T> {}

/// Sessions by user. A user is in one of the two, or in none.
pub(crate) struct ByUser<T: OfSession> {
    lone: HashSet<Lone<T>>,
    /// Oldest first; two at least.
    several: HashMap<UserId, Vec<Arc<T>>>,
}

impl<T: OfSession> Default for ByUser<T> {
    fn default() -> Self {
        Self {
            lone: HashSet::new(),
            several: HashMap::new(),
        }
    }
}

impl<T: OfSession> ByUser<T> {
    /// Users with a session.
    pub(crate) fn len(&self) -> usize {
        self.lone.len() + self.several.len()
    }

    /// The user's sessions, oldest first.
    pub(crate) fn get(&self, user: &UserId) -> &[Arc<T>] {
        match self.lone.get(user) {
            Some(Lone(one)) => slice::from_ref(one),
            None => self.several.get(user).map_or(&[], Vec::as_slice),
        }
    }

    /// Every user's sessions, in no order; none of the slices is empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Arc<T>]> {
        let lone = self.lone.iter().map(|Lone(one)| slice::from_ref(one));
        lone.chain(self.several.values().map(Vec::as_slice))
    }

    /// Adds a session in the order of epochs.
    pub(crate) fn insert(&mut self, item: Arc<T>) {
        let user = &item.record().user_id;
        if self.get(user).is_empty() {
            self.lone.insert(Lone(item));
            return;
        }
        let mut items = match self.lone.take(user) {
            Some(Lone(other)) => vec![other],
            None => self.several.remove(user).unwrap_or_default(),
        };
        let place = items.partition_point(|held| held.record().epoch <= item.record().epoch);
        items.insert(place, item);
        self.put(items);
    }

    /// Takes a session out; the user goes with the last one.
    pub(crate) fn remove(&mut self, user: &UserId, session: SessionId) -> Option<Arc<T>> {
        let items = self.get(user);
        let place = items
            .iter()
            .position(|held| held.record().session_id == session)?;
        if items.len() == 1 {
            return self.lone.take(user).map(|Lone(one)| one);
        }
        let mut items = self.several.remove(user)?;
        let removed = items.remove(place);
        self.put(items);
        Some(removed)
    }

    /// Enters a user, who is in neither, with these sessions.
    fn put(&mut self, mut items: Vec<Arc<T>>) {
        let Some(last) = items.pop() else { return };
        if items.is_empty() {
            self.lone.insert(Lone(last));
            return;
        }
        let user = last.record().user_id.clone();
        items.push(last);
        self.several.insert(user, items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{new_session, record, user};

    fn session(name: &str, epoch: u64) -> Arc<SessionRecord> {
        record(new_session(name, "d", "web"), epoch)
    }

    #[test]
    fn sessions_come_and_go_in_the_order_of_their_epochs() {
        let mut sessions = ByUser::default();
        let [first, second, third] = [1, 2, 3].map(|epoch| session("alice", epoch));
        let other = session("bob", 9);
        for one in [&second, &other, &third, &first] {
            sessions.insert(one.clone());
        }
        assert_eq!(
            sessions.get(&user("alice")),
            [first.clone(), second.clone(), third.clone()]
        );
        assert_eq!((sessions.len(), sessions.iter().flatten().count()), (2, 4));

        let mut take = |one: &SessionRecord| sessions.remove(&one.user_id, one.session_id);
        assert_eq!(take(&second), Some(second.clone()));
        assert_eq!(take(&second), None);
        assert_eq!(take(&first), Some(first.clone()));
        assert_eq!(take(&first), None);
        assert_eq!(sessions.get(&user("alice")), slice::from_ref(&third));
        assert_eq!((sessions.lone.len(), sessions.several.len()), (2, 0));
        assert_eq!(sessions.remove(&third.user_id, third.session_id), Some(third));
        assert_eq!(sessions.get(&user("alice")), []);
        assert_eq!(sessions.len(), 1);
    }
}
