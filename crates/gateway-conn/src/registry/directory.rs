//! Two views of this node's sessions, kept as one: by session id (with those that are just being bound) and by user.
//!
//! They are changed together, the lock of the id's shard held around that of the user's, always in this order: nobody
//! finds a session in one of them only for long, and a session taken out of the first never appears in the second.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use gateway_codec::{Platform, SessionId, UserId};

use super::{Live, Stats};
use crate::KickKind;
use crate::by_user::ByUser;
use crate::sharded::Sharded;

/// A session as its own key: one word in the table instead of three.
struct ById(Arc<Live>);

impl Borrow<SessionId> for ById {
    fn borrow(&self) -> &SessionId {
        &self.0.record.session_id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.record.session_id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.record.session_id == other.0.record.session_id
    }
}

impl Eq for ById {}

#[derive(Default)]
struct Ids {
    live: HashSet<ById>,
    /// Sessions whose bind has not come back yet, and who ended them meanwhile.
    binding: HashMap<SessionId, Option<KickKind>>,
}

#[derive(Default)]
struct Users {
    live: ByUser<Live>,
    by_platform: BTreeMap<Platform, usize>,
}

impl Users {
    fn add(&mut self, live: Arc<Live>) {
        *self.by_platform.entry(live.record.platform.clone()).or_default() += 1;
        self.live.insert(live);
    }

    fn take(&mut self, live: &Live) {
        if self
            .live
            .remove(&live.record.user_id, live.record.session_id)
            .is_none()
        {
            return;
        }
        if let Some(count) = self.by_platform.get_mut(&live.record.platform) {
            *count -= 1;
            if *count == 0 {
                self.by_platform.remove(&live.record.platform);
            }
        }
    }
}

pub(super) struct Directory {
    ids: Sharded<Ids>,
    users: Sharded<Users>,
}

impl Directory {
    pub(super) const PARTS: usize = Sharded::<Users>::COUNT;

    pub(super) fn new() -> Self {
        Self {
            ids: Sharded::new(Ids::default),
            users: Sharded::new(Users::default),
        }
    }

    /// Enters a session as being bound; `None` if it is bound or being bound already.
    pub(super) fn begin(&self, session: SessionId) -> Option<Binding<'_>> {
        let mut ids = self.ids.of(&session);
        if ids.live.contains(&session) || ids.binding.contains_key(&session) {
            return None;
        }
        ids.binding.insert(session, None);
        Some(Binding {
            directory: self,
            session,
        })
    }

    /// Takes a session out because its connection is gone.
    pub(super) fn remove(&self, session: SessionId) -> Option<Arc<Live>> {
        self.take(&mut self.ids.of(&session), session)
    }

    fn take(&self, ids: &mut Ids, session: SessionId) -> Option<Arc<Live>> {
        let ById(live) = ids.live.take(&session)?;
        self.users.of(&live.record.user_id).take(&live);
        Some(live)
    }

    /// Takes a session out because somebody ended it; one that is being bound is marked instead.
    pub(super) fn end(&self, session: SessionId, kind: KickKind) -> Option<Arc<Live>> {
        let mut ids = self.ids.of(&session);
        if let Some(mark) = ids.binding.get_mut(&session) {
            mark.get_or_insert(kind);
            return None;
        }
        self.take(&mut ids, session)
    }

    pub(super) fn get(&self, session: SessionId) -> Option<Arc<Live>> {
        self.ids
            .of(&session)
            .live
            .get(&session)
            .map(|ById(live)| live.clone())
    }

    pub(super) fn of_user(&self, user: &UserId) -> Vec<Arc<Live>> {
        self.users.of(user).live.get(user).to_vec()
    }

    pub(super) fn part(&self, index: usize) -> Vec<Arc<Live>> {
        let users = self.users.nth(index);
        let mut part = Vec::with_capacity(users.live.len());
        users
            .live
            .iter()
            .for_each(|sessions| part.extend_from_slice(sessions));
        part
    }

    pub(super) fn len(&self) -> usize {
        self.ids.each().map(|ids| ids.live.len()).sum()
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for users in self.users.each() {
            stats.unique_users += users.live.len();
            for (platform, count) in &users.by_platform {
                stats.total += count;
                *stats.by_platform.entry(platform.clone()).or_default() += count;
            }
        }
        stats
    }
}

/// A session that is being bound; dropped without an end, it is forgotten.
pub(super) struct Binding<'a> {
    directory: &'a Directory,
    session: SessionId,
}

impl Binding<'_> {
    /// Makes the session live.
    ///
    /// # Errors
    /// Who ended it meanwhile; it is not live then.
    pub(super) fn finish(self, live: Arc<Live>) -> Result<(), KickKind> {
        let mut ids = self.directory.ids.of(&self.session);
        if let Some(Some(kind)) = ids.binding.remove(&self.session) {
            return Err(kind);
        }
        ids.live.insert(ById(live.clone()));
        self.directory.users.of(&live.record.user_id).add(live);
        Ok(())
        // The guard's own `drop` runs after `ids` is released: locals go first.
    }
}

impl Drop for Binding<'_> {
    fn drop(&mut self) {
        self.directory.ids.of(&self.session).binding.remove(&self.session);
    }
}
