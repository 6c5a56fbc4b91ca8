//! How sessions end in the store, and what is said of it behind the truth: to the indexes, and to those who want to know
//! who comes and goes.

use std::sync::Arc;

use gateway_codec::Timestamp;
use gateway_redis::{Command, RedisError, Value};

use super::kept::field;
use super::{REMOVE, RedisSessionStore, answer};
use crate::presence::{Coming, Going};
use crate::{KickKind, Renewal, SessionRecord, StoreError};

impl RedisSessionStore {
    /// Takes a session out, if it is still there with this id and epoch; says whether it was.
    pub(super) async fn take_out(
        &self,
        record: &SessionRecord,
        why: Going,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let reply = self.redis.run(self.removal(record, now)).await;
        self.taken_out(record, why, now, reply)
    }

    /// What a removal has come to.
    pub(super) fn taken_out(
        &self,
        record: &SessionRecord,
        why: Going,
        now: Timestamp,
        reply: Result<Value, RedisError>,
    ) -> Result<bool, StoreError> {
        // Whatever came of it: the connection is gone, and who tells it looks at the truth once more.
        self.left(record, why, now);
        let (gone, left): (bool, u64) = answer(reply)?;
        self.indexes.gone(record, left == 0);
        Ok(gone)
    }

    pub(super) fn removal(&self, record: &SessionRecord, now: Timestamp) -> Command {
        self.script(&REMOVE, &record.user_id, now)
            .arg(field(&record.platform, &record.device_id))
            .arg(record.session_id.to_string())
            .arg(record.epoch)
    }

    /// A session was bound, and these had to go.
    pub(super) fn replaced(&self, record: &SessionRecord, displaced: &[Arc<SessionRecord>], now: Timestamp) {
        let mut coming = Coming::Bound;
        for old in displaced {
            self.indexes.gone(old, false);
            if old.platform == record.platform && old.device_id == record.device_id {
                coming = Coming::Again;
            } else {
                self.left(old, Going::Ended(KickKind::Replaced), now);
            }
        }
        self.indexes.here(record);
        if let Some(events) = &self.events {
            events.came(record, coming, now);
        }
    }

    /// A session was renewed, or is over.
    pub(super) fn renewed(&self, record: &SessionRecord, renewal: &Renewal, now: Timestamp) {
        match renewal {
            Renewal::Current => self.indexes.here(record),
            Renewal::Displaced(kind) => self.left(record, Going::Ended(*kind), now),
            Renewal::Rewritten { displaced } => {
                self.indexes.here(record);
                for old in displaced {
                    self.left(old, Going::Ended(KickKind::Replaced), now);
                }
                if let Some(events) = &self.events {
                    events.came(record, Coming::Back, now);
                }
            }
        }
    }

    pub(super) fn left(&self, record: &SessionRecord, why: Going, now: Timestamp) {
        if let Some(events) = &self.events {
            events.left(record, why, now);
        }
    }
}
