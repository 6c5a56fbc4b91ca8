//! Sessions in Redis: the one truth of all nodes (contract, section 7).
//!
//! What decides is one hash per user, and every decision is one script on it; the keys of a user share a slot, so that
//! this holds on Redis Cluster too. Beside it stand indexes (who has a session, who is online, what a node holds), written
//! afterwards by [`Indexes`] and believed only where the hash agrees. Every key lives for a time and is renewed, so that
//! nothing outlives a crash.
//!
//! A script may be carried out twice with the same arguments, where a connection was lost before its reply came: gateway-redis
//! sends it again. A bind is known by its session, a kick and a renewal by an id of the call; the second time they change
//! nothing and reply as the first time.

mod ends;
mod index;
mod kept;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gateway_codec::{NodeId, Timestamp, UserId};
use gateway_config::DevicePolicy;
use gateway_redis::{Command, Redis, RedisError, Script, Value, hash_tag, read};
use tokio::runtime::Handle;

use self::index::Indexes;
use self::kept::{field, head, record, whole};
use super::{BindAttempt, OnlineUser, PAGE_LIMIT, Page, Renewal, SessionStore, Standing};
use crate::presence::Going;
use crate::{KickKind, NewSession, PresenceStream, Selector, SessionRecord, StoreError};

static BIND: Script = Script::repeatable(concat!(
    include_str!("redis/sessions.lua"),
    include_str!("redis/bind.lua")
));
static RENEW: Script = Script::repeatable(concat!(
    include_str!("redis/sessions.lua"),
    include_str!("redis/renew.lua")
));
static REMOVE: Script = Script::repeatable(concat!(
    include_str!("redis/sessions.lua"),
    include_str!("redis/remove.lua")
));
static KICK: Script = Script::repeatable(concat!(
    include_str!("redis/sessions.lua"),
    include_str!("redis/kick.lua")
));

/// Sessions of a dead node taken out in one step.
const REAPED_AT_ONCE: usize = 256;
/// Rounds that a page may take to pass over users who are in the index only.
const PAGE_ROUNDS: usize = 8;

/// How long what is kept in Redis lives.
#[derive(Clone, Copy, Debug)]
pub struct RedisSettings {
    /// Life of a session's record without a renewal. Tombstones live twice as long, and so do the indexes.
    pub session_ttl: Duration,
}

/// See the module.
pub struct RedisSessionStore {
    redis: Redis,
    session_ttl: u64,
    grave_ttl: u64,
    indexes: Indexes,
    events: Option<PresenceStream>,
    /// The id of the next call that is known by one. It begins at random, since other nodes have theirs.
    calls: AtomicU64,
}

impl RedisSessionStore {
    /// A store on `redis`; the indexes are written on `runtime`.
    #[must_use]
    pub fn new(redis: Redis, settings: RedisSettings, runtime: &Handle) -> Self {
        let millis = |life: Duration| u64::try_from(life.as_millis()).unwrap_or(u64::MAX / 2);
        let session_ttl = millis(settings.session_ttl);
        Self {
            indexes: Indexes::new(redis.clone(), session_ttl, runtime),
            redis,
            session_ttl,
            grave_ttl: session_ttl.saturating_mul(2),
            events: None,
            // Every `RandomState` has keys of its own.
            calls: AtomicU64::new(RandomState::new().hash_one(session_ttl)),
        }
    }

    /// The same, telling who comes and goes.
    #[must_use]
    pub fn telling(mut self, events: PresenceStream) -> Self {
        self.events = Some(events);
        self
    }

    /// Waits until the indexes of what was done before are written.
    pub async fn indexed(&self) {
        self.indexes.written().await;
    }

    /// Writes the indexes and events that are still to be written, and ends.
    pub async fn close(&self) {
        let events = async {
            if let Some(events) = &self.events {
                events.close().await;
            }
        };
        tokio::join!(self.indexes.close(), events);
    }

    fn call_id(&self) -> String {
        format!("{:016x}", self.calls.fetch_add(1, Ordering::Relaxed))
    }

    fn keys(&self, user: &UserId) -> [String; 3] {
        let tag = hash_tag(user.as_str());
        ["sessions", "platform", "tombstones"].map(|kind| self.redis.key(&format!("user:{kind}:{tag}")))
    }

    /// A script on one user's keys, with the arguments that all of them take.
    fn script(&self, script: &'static Script, user: &UserId, now: Timestamp) -> Command {
        let [sessions, platforms, tombstones] = self.keys(user);
        Command::script(script, &[&sessions, &platforms, &tombstones])
            .arg(self.session_ttl)
            .arg(self.grave_ttl)
            .arg(now.as_millis())
    }

    async fn try_bind(
        &self,
        session: &NewSession,
        node: &NodeId,
        policy: &DevicePolicy,
        now: Timestamp,
    ) -> Result<Bound, StoreError> {
        let command = self
            .script(&BIND, &session.user_id, now)
            .arg(field(&session.platform, &session.device_id))
            .arg(session.platform.as_str())
            .arg(head(session, node, now))
            .arg(u8::from(policy.allow_multiple_devices))
            .arg(u8::from(policy.kick_existing_on_login))
            .arg(policy.max_devices.map_or(0, std::num::NonZeroU32::get))
            .arg(session.session_id.to_string());
        let reply = texts(self.redis.run(command).await)?;
        let user = &session.user_id;
        match reply.split_first() {
            Some((word, blockers)) if word == "refused" => Ok(Bound::Refused(records(user, blockers)?)),
            Some((word, rest)) if word == "bound" => {
                let (epoch, displaced) = rest.split_first().ok_or_else(unreadable)?;
                Ok(Bound::Bound {
                    epoch: epoch.parse().map_err(|_| unreadable())?,
                    displaced: records(user, displaced)?,
                })
            }
            _ => Err(unreadable()),
        }
    }

    /// Takes out those whose node has no lease any more; says whether all of them have gone.
    async fn clear_dead(&self, blockers: &[Arc<SessionRecord>], now: Timestamp) -> Result<bool, StoreError> {
        let leases = blockers.iter().map(|record| {
            let key = self.redis.key(&format!("gateway:node:{}", record.node));
            Command::new("EXISTS").arg(key)
        });
        let leases = self.redis.run_all(leases.collect()).await;
        let mut all = true;
        for (blocker, lease) in blockers.iter().zip(leases) {
            if answer::<bool>(lease)? {
                all = false;
            } else {
                self.take_out(blocker, Going::NodeLost, now).await?;
            }
        }
        Ok(all)
    }
}

enum Bound {
    Bound {
        epoch: u64,
        displaced: Vec<Arc<SessionRecord>>,
    },
    Refused(Vec<Arc<SessionRecord>>),
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn bind(
        &self,
        session: NewSession,
        node: &NodeId,
        policy: &DevicePolicy,
        now: Timestamp,
    ) -> Result<BindAttempt, StoreError> {
        let mut bound = self.try_bind(&session, node, policy, now).await?;
        if let Bound::Refused(blockers) = &bound
            && self.clear_dead(blockers, now).await?
        {
            // What stood in the way was a dead node's; whoever came in meanwhile refuses it all the same.
            bound = self.try_bind(&session, node, policy, now).await?;
        }
        let Bound::Bound { epoch, displaced } = bound else {
            return Ok(BindAttempt::Refused);
        };
        let record = Arc::new(SessionRecord {
            session_id: session.session_id,
            user_id: session.user_id,
            device_id: session.device_id,
            platform: session.platform,
            node: node.clone(),
            epoch,
            connected_at: now,
            address: session.address.into(),
        });
        self.replaced(&record, &displaced, now);
        Ok(BindAttempt::Bound { record, displaced })
    }

    async fn abandon(&self, session: &NewSession, now: Timestamp) -> Result<(), StoreError> {
        let command = self
            .script(&REMOVE, &session.user_id, now)
            .arg(field(&session.platform, &session.device_id))
            .arg(session.session_id.to_string())
            .arg("");
        answer::<(bool, u64)>(self.redis.run(command).await)?;
        Ok(())
    }

    async fn remove(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError> {
        self.take_out(record, Going::Closed, now).await
    }

    async fn remove_all(&self, ends: &[(Arc<SessionRecord>, Timestamp)]) -> Vec<Result<bool, StoreError>> {
        let removals = ends
            .iter()
            .map(|(record, at)| self.removal(record, *at))
            .collect();
        let replies = self.redis.run_all(removals).await;
        ends.iter()
            .zip(replies)
            .map(|((record, at), reply)| self.taken_out(record, Going::Closed, *at, reply))
            .collect()
    }

    async fn kick(
        &self,
        user: &UserId,
        selector: &Selector,
        kind: KickKind,
        now: Timestamp,
    ) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        let command = self
            .script(&KICK, user, now)
            .arg(selector.device.as_ref().map_or("", |device| device.as_str()))
            .arg(
                selector
                    .platform
                    .as_ref()
                    .map_or("", |platform| platform.as_str()),
            )
            .arg(kind.text())
            .arg(self.call_id());
        let reply = texts(self.redis.run(command).await)?;
        let (left, kicked) = reply.split_first().ok_or_else(unreadable)?;
        let kicked = records(user, kicked)?;
        for old in &kicked {
            self.indexes.gone(old, left == "0");
            self.left(old, Going::Ended(kind), now);
        }
        Ok(kicked)
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        let mut found = self.locate(std::slice::from_ref(user)).await?;
        found.pop().ok_or_else(unreadable)
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Arc<SessionRecord>>>, StoreError> {
        let ask = |user| {
            let [sessions, ..] = self.keys(user);
            Command::new("HVALS").arg(sessions)
        };
        let replies = self.redis.run_all(users.iter().map(ask).collect()).await;
        let read = |(user, reply)| {
            let mut found = records(user, &texts(reply)?)?;
            found.sort_by_key(|record| record.epoch);
            Ok(found)
        };
        users.iter().zip(replies).map(read).collect()
    }

    async fn renew(
        &self,
        sessions: &[(Arc<SessionRecord>, Arc<DevicePolicy>)],
        now: Timestamp,
    ) -> Result<Vec<Renewal>, StoreError> {
        let call = self.call_id();
        let ask = |(record, policy): &(Arc<SessionRecord>, Arc<DevicePolicy>)| {
            let several = policy.allow_multiple_devices && !policy.kick_existing_on_login;
            let places = if several {
                policy.max_devices.map_or(0, std::num::NonZeroU32::get)
            } else {
                1
            };
            self.script(&RENEW, &record.user_id, now)
                .arg(field(&record.platform, &record.device_id))
                .arg(record.platform.as_str())
                .arg(record.session_id.to_string())
                .arg(record.epoch)
                .arg(whole(record))
                .arg(places)
                .arg(&call)
        };
        let replies = self.redis.run_all(sessions.iter().map(ask).collect()).await;
        let mut renewals = Vec::with_capacity(sessions.len());
        for ((record, _), reply) in sessions.iter().zip(replies) {
            let reply = texts(reply)?;
            let renewal = match reply.split_first() {
                Some((word, _)) if word == "current" => Renewal::Current,
                Some((word, kind)) if word == "displaced" => {
                    let kind = kind.first().and_then(|kind| KickKind::from_text(kind));
                    Renewal::Displaced(kind.ok_or_else(unreadable)?)
                }
                Some((word, displaced)) if word == "rewritten" => Renewal::Rewritten {
                    displaced: records(&record.user_id, displaced)?,
                },
                _ => return Err(unreadable()),
            };
            self.renewed(record, &renewal, now);
            renewals.push(renewal);
        }
        Ok(renewals)
    }

    async fn reap(&self, node: &NodeId, now: Timestamp) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        let set = self.redis.key(&format!("gateway:node:{node}:sessions"));
        let some = Command::new("SRANDMEMBER").arg(&set).arg(REAPED_AT_ONCE);
        let members = texts(self.redis.run(some).await)?;
        let dead: Vec<_> = members
            .iter()
            .filter_map(|member| index::read_member(member, node))
            .collect();
        let removals = dead.iter().map(|record| self.removal(record, now)).collect();
        let mut reaped = Vec::new();
        for (record, reply) in dead.into_iter().zip(self.redis.run_all(removals).await) {
            let (gone, left): (bool, u64) = answer(reply)?;
            self.indexes.gone(&record, left == 0);
            // Also where it had gone before: its node may have died before it said so.
            self.left(&record, Going::NodeLost, now);
            if gone {
                reaped.push(Arc::new(record));
            }
        }
        if !members.is_empty() {
            let taken = members
                .iter()
                .fold(Command::new("SREM").arg(&set), |command, member| {
                    command.arg(member.as_str())
                });
            answer::<u64>(self.redis.run(taken).await)?;
            if reaped.is_empty() {
                // All of these had gone already; there may be others behind them.
                return Box::pin(self.reap(node, now)).await;
            }
        }
        Ok(reaped)
    }

    async fn standing(&self, record: &SessionRecord, _: Timestamp) -> Result<Standing, StoreError> {
        let [sessions, _, tombstones] = self.keys(&record.user_id);
        let field = field(&record.platform, &record.device_id);
        // In this order: whoever ends a session in between lays its tombstone in the same step.
        let asked = vec![
            Command::new("HGET").arg(sessions).arg(&field),
            Command::new("HGET").arg(tombstones).arg(&field),
        ];
        let mut replies = self.redis.run_all(asked).await.into_iter();
        let mut next = || {
            replies
                .next()
                .map_or_else(|| Err(unreadable()), answer::<Option<String>>)
        };
        let (held, grave) = (next()?, next()?);
        let held = held
            .map(|json| self::kept::record(&record.user_id, &json))
            .transpose()?;
        let newer = match held {
            Some(held) if held.session_id == record.session_id && held.epoch == record.epoch => {
                return Ok(Standing::Current);
            }
            Some(held) => held.epoch > record.epoch,
            None => false,
        };
        let grave = grave.as_deref().and_then(kept::grave);
        Ok(match grave {
            Some((epoch, kind)) if epoch >= record.epoch => Standing::Displaced(kind),
            _ if newer => Standing::Displaced(KickKind::Replaced),
            _ => Standing::Unknown,
        })
    }

    async fn page(&self, cursor: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let mut after = cursor.map(super::read_cursor).transpose()?;
        let limit = limit.clamp(1, PAGE_LIMIT);
        let total = self.indexes.count().await?;
        let mut users = Vec::new();
        for _ in 0..PAGE_ROUNDS {
            let missing = limit - users.len();
            let (names, more) = self.indexes.names(after.as_ref(), missing).await?;
            for (user_id, sessions) in names.iter().zip(self.locate(&names).await?) {
                if sessions.is_empty() {
                    self.indexes.stale(user_id);
                } else {
                    let user_id = user_id.clone();
                    users.push(OnlineUser { user_id, sessions });
                }
            }
            after = names.last().cloned();
            if !more {
                after = None;
            }
            if users.len() >= limit || after.is_none() {
                break;
            }
        }
        Ok(Page {
            users,
            total,
            next_cursor: after.as_ref().map(super::write_cursor),
        })
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(self.redis.ping().await.map_err(StoreError::from)?)
    }
}

/// Asks whether a device has a session.
pub(crate) fn is_bound(redis: &Redis, user: &str, platform: &str, device: &str) -> Command {
    Command::new("HEXISTS")
        .arg(redis.key(&format!("user:sessions:{}", hash_tag(user))))
        .arg(format!("{platform}:{device}"))
}

fn answer<T: gateway_redis::FromRedisValue>(reply: Result<Value, RedisError>) -> Result<T, StoreError> {
    Ok(read(reply?)?)
}

fn texts(reply: Result<Value, RedisError>) -> Result<Vec<String>, StoreError> {
    answer(reply)
}

fn records(user: &UserId, jsons: &[String]) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
    jsons
        .iter()
        .map(|json| record(user, json).map(Arc::new))
        .collect()
}

fn unreadable() -> StoreError {
    StoreError::Corrupt("a reply of another shape".to_owned())
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match error {
            RedisError::Unexpected(what) => Self::Corrupt(what),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
