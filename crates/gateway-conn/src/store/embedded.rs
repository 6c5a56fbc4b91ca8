//! Sessions in this process's memory: the store of a single node without Redis.
//!
//! Users are spread over shards, each behind one short lock, never held across an await. The entry of a user with one
//! session is one shared pointer and nothing else; it goes with the last session. What must outlive it is kept per
//! shard: the highest epoch that ever left it (`floor`), and tombstones, of which there is a bounded number.

mod page;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway_codec::{DeviceId, NodeId, Platform, Timestamp, UserId};
use gateway_config::DevicePolicy;

use super::{BindAttempt, Page, Renewal, SessionStore, Standing};
use crate::by_user::ByUser;
use crate::policy::{Decision, Rewrite, decide, judge_rewrite};
use crate::sharded::Sharded;
use crate::{KickKind, NewSession, Selector, SessionRecord, StoreError};

/// Bounds of the embedded store.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedSettings {
    /// How long a kick is remembered.
    pub tombstone_life: Duration,
    /// How many kicks are remembered at most, over all users; the oldest are forgotten first.
    pub tombstones: usize,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            tombstone_life: Duration::from_secs(60),
            tombstones: 65_536,
        }
    }
}

struct Tombstone {
    user: UserId,
    device: DeviceId,
    platform: Platform,
    epoch: u64,
    kind: KickKind,
    laid: Timestamp,
}

#[derive(Default)]
struct Shard {
    users: ByUser<SessionRecord>,
    /// No epoch at or below this is given again: the highest of all sessions that have left the shard.
    floor: u64,
    tombstones: VecDeque<Tombstone>,
}

impl Shard {
    /// Takes one session out and remembers its epoch, and its end if somebody else ended it.
    fn drop_session(
        &mut self,
        record: &SessionRecord,
        end: Option<KickKind>,
        settings: &EmbeddedSettings,
        now: Timestamp,
    ) {
        if self.users.remove(&record.user_id, record.session_id).is_none() {
            return;
        }
        self.floor = self.floor.max(record.epoch);
        let Some(kind) = end else { return };
        let most = (settings.tombstones / Sharded::<Shard>::COUNT).max(1);
        while self
            .tombstones
            .front()
            .is_some_and(|oldest| now.saturating_since(oldest.laid) >= settings.tombstone_life)
            || self.tombstones.len() >= most
        {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back(Tombstone {
            user: record.user_id.clone(),
            device: record.device_id.clone(),
            platform: record.platform.clone(),
            epoch: record.epoch,
            kind,
            laid: now,
        });
    }
}

impl Shard {
    fn standing(&self, record: &SessionRecord, settings: &EmbeddedSettings, now: Timestamp) -> Standing {
        let mut newer = false;
        for held in self.users.get(&record.user_id) {
            if is_same(held, record) {
                return Standing::Current;
            }
            newer |= held.device_id == record.device_id
                && held.platform == record.platform
                && held.epoch > record.epoch;
        }
        let grave = self.tombstones.iter().rev().find(|grave| {
            grave.user == record.user_id
                && grave.device == record.device_id
                && grave.platform == record.platform
                && grave.epoch >= record.epoch
                && now.saturating_since(grave.laid) < settings.tombstone_life
        });
        match (grave, newer) {
            (Some(grave), _) => Standing::Displaced(grave.kind),
            (None, true) => Standing::Displaced(KickKind::Replaced),
            (None, false) => Standing::Unknown,
        }
    }

    /// Puts a lost session back under its own epoch, if the newer ones leave room for it.
    fn write_again(
        &mut self,
        record: &Arc<SessionRecord>,
        policy: &DevicePolicy,
        settings: &EmbeddedSettings,
        now: Timestamp,
    ) -> Renewal {
        let present = self.users.get(&record.user_id);
        let displaced: Vec<_> = match judge_rewrite(policy, present, record) {
            Rewrite::Displaced => return Renewal::Displaced(KickKind::Replaced),
            Rewrite::Displace(places) => places.into_iter().map(|place| present[place].clone()).collect(),
        };
        for old in &displaced {
            self.drop_session(old, Some(KickKind::Replaced), settings, now);
        }
        self.users.insert(record.clone());
        Renewal::Rewritten { displaced }
    }
}

/// See the module.
pub struct EmbeddedSessionStore {
    settings: EmbeddedSettings,
    shards: Sharded<Shard>,
}

impl Default for EmbeddedSessionStore {
    fn default() -> Self {
        Self::new(EmbeddedSettings::default())
    }
}

impl EmbeddedSessionStore {
    /// An empty store.
    #[must_use]
    pub fn new(settings: EmbeddedSettings) -> Self {
        Self {
            settings,
            shards: Sharded::new(Shard::default),
        }
    }

    /// Users with a session.
    #[must_use]
    pub fn users(&self) -> usize {
        self.shards.each().map(|shard| shard.users.len()).sum()
    }

    /// Kicks that are remembered, expired ones not yet swept among them.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.shards.each().map(|shard| shard.tombstones.len()).sum()
    }
}

#[async_trait]
impl SessionStore for EmbeddedSessionStore {
    async fn bind(
        &self,
        session: NewSession,
        node: &NodeId,
        policy: &DevicePolicy,
        now: Timestamp,
    ) -> Result<BindAttempt, StoreError> {
        let mut shard = self.shards.of(&session.user_id);
        let present = shard.users.get(&session.user_id);
        let displaced: Vec<_> = match decide(policy, present, &session.device_id, &session.platform) {
            Decision::Refuse => return Ok(BindAttempt::Refused),
            Decision::Displace(places) => places.into_iter().map(|place| present[place].clone()).collect(),
        };
        let highest = present
            .iter()
            .map(|record| record.epoch)
            .max()
            .unwrap_or(0)
            .max(shard.floor);
        let record = Arc::new(SessionRecord {
            session_id: session.session_id,
            user_id: session.user_id,
            device_id: session.device_id,
            platform: session.platform,
            node: node.clone(),
            epoch: now.as_millis().max(highest.saturating_add(1)),
            connected_at: now,
            address: session.address.into(),
        });
        for old in &displaced {
            shard.drop_session(old, Some(KickKind::Replaced), &self.settings, now);
        }
        shard.users.insert(record.clone());
        Ok(BindAttempt::Bound { record, displaced })
    }

    async fn abandon(&self, session: &NewSession, now: Timestamp) -> Result<(), StoreError> {
        let mut shard = self.shards.of(&session.user_id);
        let left = shard
            .users
            .get(&session.user_id)
            .iter()
            .find(|held| held.session_id == session.session_id)
            .cloned();
        if let Some(left) = left {
            shard.drop_session(&left, None, &self.settings, now);
        }
        Ok(())
    }

    async fn remove(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError> {
        let mut shard = self.shards.of(&record.user_id);
        let present = shard
            .users
            .get(&record.user_id)
            .iter()
            .any(|held| is_same(held, record));
        if present {
            shard.drop_session(record, None, &self.settings, now);
        }
        Ok(present)
    }

    async fn kick(
        &self,
        user: &UserId,
        selector: &Selector,
        kind: KickKind,
        now: Timestamp,
    ) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        let mut shard = self.shards.of(user);
        let kicked: Vec<_> = shard
            .users
            .get(user)
            .iter()
            .filter(|record| selector.matches(record))
            .cloned()
            .collect();
        for record in &kicked {
            shard.drop_session(record, Some(kind), &self.settings, now);
        }
        Ok(kicked)
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        Ok(self.shards.of(user).users.get(user).to_vec())
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Arc<SessionRecord>>>, StoreError> {
        Ok(users
            .iter()
            .map(|user| self.shards.of(user).users.get(user).to_vec())
            .collect())
    }

    async fn renew(
        &self,
        sessions: &[(Arc<SessionRecord>, Arc<DevicePolicy>)],
        now: Timestamp,
    ) -> Result<Vec<Renewal>, StoreError> {
        let one = |(record, policy): &(Arc<SessionRecord>, Arc<DevicePolicy>)| {
            let mut shard = self.shards.of(&record.user_id);
            match shard.standing(record, &self.settings, now) {
                Standing::Current => Renewal::Current,
                Standing::Displaced(kind) => Renewal::Displaced(kind),
                Standing::Unknown => shard.write_again(record, policy, &self.settings, now),
            }
        };
        Ok(sessions.iter().map(one).collect())
    }

    async fn reap(&self, node: &NodeId, now: Timestamp) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        let mut reaped = Vec::new();
        for mut shard in self.shards.each() {
            let of_node = |record: &&Arc<SessionRecord>| record.node == *node;
            let dead: Vec<_> = shard.users.iter().flatten().filter(of_node).cloned().collect();
            for record in dead {
                shard.drop_session(&record, None, &self.settings, now);
                reaped.push(record);
            }
        }
        Ok(reaped)
    }

    async fn standing(&self, record: &SessionRecord, now: Timestamp) -> Result<Standing, StoreError> {
        let shard = self.shards.of(&record.user_id);
        Ok(shard.standing(record, &self.settings, now))
    }

    async fn page(&self, cursor: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        page::page(&self.shards, cursor, limit).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The fence of every removal.
fn is_same(held: &SessionRecord, record: &SessionRecord) -> bool {
    held.session_id == record.session_id && held.epoch == record.epoch
}

#[cfg(test)]
mod tests;
