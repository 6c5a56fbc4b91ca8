//! Tokens in Redis, shared by all nodes (contract, section 7): families by user, each step one script on the user's key;
//! an index from a token to its user, believed only where the user's key agrees; revocations, one key each.
//!
//! A script may be carried out twice with the same arguments, where a connection was lost before its reply came. A family is
//! known by its id and a rotation by its successor, both new with every call; the second time they change nothing.
//!
//! The rules are those of `families.rs`, and one test body holds both to them. What this node has revoked or was told of is
//! kept here too: it counts at once, and it is written again where Redis has come back empty.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gateway_codec::{DeviceId, Platform, Timestamp, UserId};
use gateway_redis::{Command, FromRedisValue, Redis, RedisError, Script, Value, hash_tag, read};
use serde_json::json;

use super::families::{MAX_FAMILIES_PER_USER, REPEAT_WINDOW};
use super::revocations::Revocations;
use super::{FamilyId, NewFamily, NewRefresh, RefreshHash, Rotated, Rotation, TokenRef, TokenStore};
use crate::error::AuthError;
use crate::identity::Subject;
use crate::metrics::Dropped;

static OPEN: Script = Script::repeatable(concat!(
    include_str!("redis/families.lua"),
    include_str!("redis/open.lua")
));
static ROTATE: Script = Script::repeatable(concat!(
    include_str!("redis/families.lua"),
    include_str!("redis/rotate.lua")
));
static REVOKE: Script = Script::repeatable(include_str!("redis/revoke.lua"));
static END: Script = Script::repeatable(concat!(
    include_str!("redis/families.lua"),
    include_str!("redis/end.lua")
));

/// An expired token's index is kept for so long, to say "expired" rather than "unknown".
const KEEP_EXPIRED: Duration = Duration::from_secs(86_400);
/// Revocations written again in one pipeline.
const AT_ONCE: usize = 256;

/// Told of what was revoked, and until when.
type Tell = dyn Fn(&str, Timestamp) + Send + Sync;

/// See the module.
pub struct RedisTokenStore {
    redis: Redis,
    known: Mutex<Revocations>,
    on_revoked: Box<Tell>,
    dropped: Dropped,
}

impl RedisTokenStore {
    /// A store on `redis`. `on_revoked` is told each id (a token's or a family's) that was revoked here, and until when,
    /// so that other nodes can be told.
    pub fn new(redis: Redis, on_revoked: impl Fn(&str, Timestamp) + Send + Sync + 'static) -> Self {
        Self {
            redis,
            known: Mutex::default(),
            on_revoked: Box::new(on_revoked),
            dropped: Dropped::new(),
        }
    }

    /// Another node has revoked this id.
    pub fn learn(&self, id: &str, until: Timestamp, now: Timestamp) {
        if self.known().add(id, until, now).is_err() {
            // It is in the store all the same.
            self.dropped.revocations.increment(1);
        }
    }

    /// Writes every revocation that is known here, for a store that has come back empty.
    ///
    /// # Errors
    /// [`AuthError::StoreUnavailable`]; some may have been written.
    pub async fn write_again(&self, now: Timestamp) -> Result<(), AuthError> {
        let all: Vec<_> = {
            let known = self.known();
            known.iter().map(|(id, until)| (id.to_owned(), until)).collect()
        };
        for some in all.chunks(AT_ONCE) {
            let set = some
                .iter()
                .filter_map(|(id, until)| self.revocation(id, *until, now));
            for reply in self.redis.run_all(set.collect()).await {
                reply.map_err(|error| away(&error))?;
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Revocations> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn families_key(&self, user: &UserId) -> String {
        self.redis
            .key(&format!("user:refresh_tokens:{}", hash_tag(user.as_str())))
    }

    fn revoked_key(&self, id: &str) -> String {
        self.redis.key(&format!("revoked_access_token:{id}"))
    }

    fn script(&self, script: &'static Script, user: &UserId, now: Timestamp) -> Command {
        Command::script(script, &[&self.families_key(user)]).arg(now.as_millis())
    }

    /// Writes down whose a token is.
    fn index(&self, refresh: &NewRefresh, user: &UserId, now: Timestamp) -> Command {
        let life = refresh.expires_at.saturating_since(now) + KEEP_EXPIRED;
        Command::new("SET")
            .arg(self.redis.key(&format!("refresh_token:{}", hex(&refresh.hash))))
            .arg(user.as_str())
            .arg("PX")
            .arg(millis(life))
    }

    fn revocation(&self, id: &str, until: Timestamp, now: Timestamp) -> Option<Command> {
        let life = millis(until.saturating_since(now));
        (life > 0).then(|| Command::script(&REVOKE, &[&self.revoked_key(id)]).arg(life))
    }

    /// Revokes ids: known here at once, then written, then told.
    async fn write_revoked(&self, ids: &[(String, Timestamp)], now: Timestamp) -> Result<(), AuthError> {
        for (id, until) in ids {
            self.learn(id, *until, now);
        }
        let set = ids
            .iter()
            .filter_map(|(id, until)| self.revocation(id, *until, now));
        let mut written = Ok(());
        for reply in self.redis.run_all(set.collect()).await {
            written = written.and(reply.map(drop).map_err(|error| {
                self.dropped.revocations.increment(1);
                tracing::error!(%error, "a revocation is not in the store yet; this node knows it");
                away(&error)
            }));
        }
        for (id, until) in ids {
            (self.on_revoked)(id, *until);
        }
        written
    }

    async fn run<T: FromRedisValue>(&self, command: Command) -> Result<T, AuthError> {
        answer(self.redis.run(command).await)
    }
}

#[async_trait]
impl TokenStore for RedisTokenStore {
    async fn open(&self, family: NewFamily, now: Timestamp) -> Result<(), AuthError> {
        let NewFamily { id, subject, refresh } = family;
        let open = self
            .script(&OPEN, &subject.user_id, now)
            .arg(hex(&refresh.hash))
            .arg(id.to_string())
            .arg(write_subject(&subject))
            .arg(subject.device_id.as_str())
            .arg(subject.platform.as_str())
            .arg(refresh.expires_at.as_millis())
            .arg(refresh.access_until.as_millis())
            .arg(MAX_FAMILIES_PER_USER);
        let dropped: u64 = self.run(open).await?;
        self.dropped.families.increment(dropped);
        self.run::<Value>(self.index(&refresh, &subject.user_id, now))
            .await?;
        Ok(())
    }

    async fn rotate(&self, rotation: Rotation, now: Timestamp) -> Result<Rotated, AuthError> {
        let presented = hex(&rotation.presented);
        let whose = Command::new("GET").arg(self.redis.key(&format!("refresh_token:{presented}")));
        let whose: Option<String> = self.run(whose).await?;
        let user = whose.as_deref().and_then(|user| UserId::parse(user).ok());
        let user = user.ok_or(AuthError::RefreshUnknown)?;
        let successor = &rotation.successor;
        let rotate = self
            .script(&ROTATE, &user, now)
            .arg(&presented)
            .arg(u8::from(rotation.device_id.is_some()))
            .arg(rotation.device_id.as_deref().unwrap_or_default())
            .arg(hex(&successor.hash))
            .arg(successor.expires_at.as_millis())
            .arg(successor.access_until.as_millis())
            .arg(millis(REPEAT_WINDOW));
        let reply: Vec<String> = self.run(rotate).await?;
        let mut reply = reply.iter().map(String::as_str);
        let word = reply.next();
        let mut about = || {
            let id = reply.next().and_then(FamilyId::parse).ok_or_else(unreadable)?;
            let subject = reply.next().and_then(|json| read_subject(&user, json));
            Ok((id, subject.ok_or_else(unreadable)?))
        };
        match word {
            Some("rotated") => {
                let (family, subject) = about()?;
                self.run::<Value>(self.index(successor, &user, now)).await?;
                Ok(Rotated { family, subject })
            }
            Some("unknown") => Err(AuthError::RefreshUnknown),
            Some("expired") => Err(AuthError::RefreshExpired),
            Some("wrong_device") => Err(AuthError::WrongDevice),
            Some("reused") => {
                let (family, subject) = about()?;
                let until = reply
                    .next()
                    .and_then(|until| until.parse().ok())
                    .ok_or_else(unreadable)?;
                let ids = [(family.to_string(), Timestamp::from_millis(until))];
                // A failure is logged, and this node knows it and writes it again. The caller must hear of the reuse in
                // any case; the family stays as it is until its revocation is written.
                if self.write_revoked(&ids, now).await.is_ok() {
                    let end = self.script(&END, &user, now).arg(family.to_string());
                    let _ = self.run::<u64>(end).await;
                }
                Err(AuthError::RefreshReused {
                    user_id: subject.user_id,
                    device_id: subject.device_id,
                    platform: subject.platform,
                })
            }
            _ => Err(unreadable()),
        }
    }

    async fn revoke(
        &self,
        user_id: &UserId,
        token: &TokenRef,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let mut ids = vec![(token.jti.to_string(), until)];
        let mut ended = Ok(());
        if let Some(family) = token.family {
            let end = self.script(&END, user_id, now).arg(family.to_string());
            let access_until = self.run::<u64>(end).await;
            let access_until = access_until.map(Timestamp::from_millis).unwrap_or_else(|error| {
                ended = Err(error);
                until
            });
            ids.push((family.to_string(), access_until.max(until)));
        }
        self.write_revoked(&ids, now).await.and(ended)
    }

    async fn is_revoked(&self, token: &TokenRef, now: Timestamp) -> Result<bool, AuthError> {
        let answers = self.are_revoked(std::slice::from_ref(token), now).await?;
        answers.first().copied().ok_or_else(unreadable)
    }

    async fn are_revoked(&self, tokens: &[TokenRef], now: Timestamp) -> Result<Vec<bool>, AuthError> {
        let ids_of = |token: &TokenRef| {
            let family = token.family.map(|family| family.to_string());
            std::iter::once(token.jti.to_string()).chain(family)
        };
        // What is known here needs no asking, and is known where the store is away.
        let known: Vec<bool> = {
            let list = self.known();
            let is_known = |token| ids_of(token).any(|id| list.has(&id, now));
            tokens.iter().map(is_known).collect()
        };
        let unknown = tokens.iter().zip(&known).filter(|(_, known)| !**known);
        let asked = unknown
            .flat_map(|(token, _)| ids_of(token))
            .map(|id| Command::new("EXISTS").arg(self.revoked_key(&id)));
        let mut replies = self.redis.run_all(asked.collect()).await.into_iter();
        let mut revoked = Vec::with_capacity(tokens.len());
        for (token, known) in tokens.iter().zip(known) {
            let mut any = known;
            for _ in ids_of(token).filter(|_| !known) {
                any |= answer::<bool>(replies.next().ok_or_else(unreadable)?)?;
            }
            revoked.push(any);
        }
        Ok(revoked)
    }
}

fn answer<T: FromRedisValue>(reply: Result<Value, RedisError>) -> Result<T, AuthError> {
    reply.and_then(read).map_err(|error| away(&error))
}

fn away(error: &RedisError) -> AuthError {
    // Away is told once by the connection itself; anything else is news.
    if error.is_retryable() {
        tracing::debug!(%error, "the token store has failed");
    } else {
        tracing::error!(%error, "the token store has failed");
    }
    AuthError::StoreUnavailable
}

fn unreadable() -> AuthError {
    tracing::error!("the token store holds something unreadable");
    AuthError::StoreUnavailable
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX / 2)
}

fn hex(hash: &RefreshHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_subject(subject: &Subject) -> String {
    json!({
        "username": subject.username,
        "device_id": subject.device_id.as_str(),
        "platform": subject.platform.as_str(),
        "roles": subject.roles,
    })
    .to_string()
}

fn read_subject(user: &UserId, json: &str) -> Option<Subject> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let text = |name: &str| value[name].as_str();
    Some(Subject {
        user_id: user.clone(),
        username: text("username")?.to_owned(),
        device_id: DeviceId::parse(text("device_id")?).ok()?,
        platform: Platform::parse(text("platform")?).ok()?,
        roles: value["roles"]
            .as_array()?
            .iter()
            .filter_map(|role| role.as_str().map(str::to_owned))
            .collect(),
    })
}
