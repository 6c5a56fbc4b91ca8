//! What is kept per user, as small as it can be: 16 bytes for a user with one session, whose id is read from the
//! session itself instead of being a key beside it. The embedded store keeps records this way, the registry links.

use std::borrow::Borrow;
use std::collections::HashSet;
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

/// One user's sessions, oldest first; `Many` is never empty, so that there is always one to read the id from.
enum Entry<T> {
    One(Arc<T>),
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three in every slot of the table"
    )]
    Many(Box<Vec<Arc<T>>>),
}

impl<T> Entry<T> {
    fn as_slice(&self) -> &[Arc<T>] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn into_vec(self) -> Vec<Arc<T>> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => *many,
        }
    }

    fn from_vec(mut items: Vec<Arc<T>>) -> Option<Self> {
        match items.len() {
            0 => None,
            1 => items.pop().map(Self::One),
            _ => Some(Self::Many(Box::new(items))),
        }
    }
}

impl<T: OfSession> Borrow<UserId> for Entry<T> {
    fn borrow(&self) -> &UserId {
        match self {
            Self::One(one) => &one.record().user_id,
            Self::Many(many) => &many[0].record().user_id,
        }
    }
}

impl<T: OfSession> Hash for Entry<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<UserId>::borrow(self).hash(state);
    }
}

impl<T: OfSession> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<UserId>::borrow(self) == Borrow::<UserId>::borrow(other)
    }
}

impl<T: OfSession> Eq for Entry<T> {}

/// Sessions by user.
pub(crate) struct ByUser<T: OfSession> {
    entries: HashSet<Entry<T>>,
}

impl<T: OfSession> Default for ByUser<T> {
    fn default() -> Self {
        Self {
            entries: HashSet::new(),
        }
    }
}

impl<T: OfSession> ByUser<T> {
    /// Users with a session.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The user's sessions, oldest first.
    pub(crate) fn get(&self, user: &UserId) -> &[Arc<T>] {
        self.entries.get(user).map_or(&[], Entry::as_slice)
    }

    /// Every user's sessions, in no order; none of the slices is empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Arc<T>]> {
        self.entries.iter().map(Entry::as_slice)
    }

    /// Adds a session in the order of epochs.
    pub(crate) fn insert(&mut self, item: Arc<T>) {
        let mut items = self
            .entries
            .take(&item.record().user_id)
            .map(Entry::into_vec)
            .unwrap_or_default();
        let place = items.partition_point(|held| held.record().epoch <= item.record().epoch);
        items.insert(place, item);
        self.entries.extend(Entry::from_vec(items));
    }

    /// Takes a session out; the user goes with the last one.
    pub(crate) fn remove(&mut self, user: &UserId, session: SessionId) -> Option<Arc<T>> {
        let place = self
            .get(user)
            .iter()
            .position(|held| held.record().session_id == session)?;
        let mut items = self.entries.take(user)?.into_vec();
        let removed = items.remove(place);
        self.entries.extend(Entry::from_vec(items));
        Some(removed)
    }
}
