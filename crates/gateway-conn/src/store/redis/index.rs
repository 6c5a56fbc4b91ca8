//! What is written beside the truth: whose a session is, what a node holds, who is online.
//!
//! One task gathers what has come and writes it in one pipeline, so that a login waits for its script alone. What is lost
//! here (a full queue, a crash in between) is put right by the next renewal of the session, or passed over by readers,
//! who ask the truth.

use std::time::Duration;

use gateway_codec::{DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};
use gateway_redis::{Command, Redis};
use metrics::{Counter, counter};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{answer, texts};
use crate::{SessionRecord, StoreError};

/// Entries that may wait to be written; past it they are left to the next renewal.
const WAITING: usize = 65_536;
/// Entries written in one pipeline.
const AT_ONCE: usize = 256;
/// Sorted sets that the users online are spread over, so that no single key holds them all.
const SHARDS: u32 = 16;
/// Time to write what is left at the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

enum Entry {
    /// A session is there.
    Here {
        user: UserId,
        node: NodeId,
        member: String,
        session: SessionId,
    },
    /// A session is gone; the last of its user, or not.
    Gone {
        user: UserId,
        node: NodeId,
        member: String,
        session: SessionId,
        last: bool,
    },
    /// The user has no session.
    Stale(UserId),
    /// Somebody waits for what came before.
    Tell(oneshot::Sender<()>),
}

pub(super) struct Indexes {
    redis: Redis,
    entries: mpsc::Sender<Entry>,
    stop: CancellationToken,
    tasks: TaskTracker,
    lost: Counter,
}

impl Indexes {
    pub(super) fn new(redis: Redis, ttl: u64, runtime: &Handle) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn_on(
            write(redis.clone(), ttl.saturating_mul(2), waiting, stop.clone()),
            runtime,
        );
        tasks.close();
        Self {
            redis,
            entries,
            stop,
            tasks,
            lost: counter!("gateway_session_index_entries_lost_total"),
        }
    }

    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    pub(super) async fn written(&self) {
        let (tell, told) = oneshot::channel();
        if self.entries.send(Entry::Tell(tell)).await.is_ok() {
            // Dropped unsaid where it ends first: there is nothing to wait for then.
            let _ = told.await;
        }
    }

    pub(super) fn here(&self, record: &SessionRecord) {
        self.put(Entry::Here {
            user: record.user_id.clone(),
            node: record.node.clone(),
            member: member(record),
            session: record.session_id,
        });
    }

    pub(super) fn gone(&self, record: &SessionRecord, last: bool) {
        self.put(Entry::Gone {
            user: record.user_id.clone(),
            node: record.node.clone(),
            member: member(record),
            session: record.session_id,
            last,
        });
    }

    pub(super) fn stale(&self, user: &UserId) {
        self.put(Entry::Stale(user.clone()));
    }

    fn put(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            self.lost.increment(1);
        }
    }

    /// How many users are online, those among them that have gone without a word not yet passed over.
    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let asked = (0..SHARDS).map(|shard| Command::new("ZCARD").arg(online(&self.redis, shard)));
        let mut total = 0;
        for reply in self.redis.run_all(asked.collect()).await {
            total += answer::<u64>(reply)?;
        }
        Ok(total)
    }

    /// Users behind `after` in the order of their ids, at most `limit`; and whether there are others.
    pub(super) async fn names(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<(Vec<UserId>, bool), StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let asked = (0..SHARDS).map(|shard| {
            Command::new("ZRANGEBYLEX")
                .arg(online(&self.redis, shard))
                .arg(&from)
                .arg("+")
                .arg("LIMIT")
                .arg(0)
                .arg(limit + 1)
        });
        let mut names = Vec::new();
        for reply in self.redis.run_all(asked.collect()).await {
            names.extend(texts(reply)?.iter().filter_map(|name| UserId::parse(name).ok()));
        }
        names.sort_unstable();
        let more = names.len() > limit;
        names.truncate(limit);
        Ok((names, more))
    }
}

/// The sorted set of a user. Bytes are folded by FNV-1a, the same on every node and version.
fn shard_of(user: &UserId) -> u32 {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
    user.as_str().as_bytes().iter().fold(2_166_136_261, fold) % SHARDS
}

fn online(redis: &Redis, shard: u32) -> String {
    redis.key(&format!("gateway:online:{shard}"))
}

/// A session in its node's set: all that it takes to remove it. No part holds white space.
fn member(record: &SessionRecord) -> String {
    format!(
        "{} {} {} {} {}",
        record.user_id, record.platform, record.device_id, record.session_id, record.epoch
    )
}

/// Reads what [`member`] wrote; what it does not say of the session is left empty.
pub(super) fn read_member(text: &str, node: &NodeId) -> Option<SessionRecord> {
    let mut words = text.split(' ');
    let mut next = || words.next();
    Some(SessionRecord {
        user_id: UserId::parse(next()?).ok()?,
        platform: Platform::parse(next()?).ok()?,
        device_id: DeviceId::parse(next()?).ok()?,
        session_id: SessionId::parse(next()?).ok()?,
        epoch: next()?.parse().ok()?,
        node: node.clone(),
        connected_at: Timestamp::default(),
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    })
}

async fn write(redis: Redis, ttl: u64, mut waiting: mpsc::Receiver<Entry>, stop: CancellationToken) {
    let mut batch = Vec::new();
    while let Some(1..) = stop
        .run_until_cancelled(waiting.recv_many(&mut batch, AT_ONCE))
        .await
    {
        put_down(&redis, ttl, &mut batch).await;
    }
    let rest = async {
        while let Ok(entry) = waiting.try_recv() {
            batch.push(entry);
            if batch.len() >= AT_ONCE || waiting.is_empty() {
                put_down(&redis, ttl, &mut batch).await;
            }
        }
    };
    let _ = tokio::time::timeout(LAST_WRITE, rest).await;
}

async fn put_down(redis: &Redis, ttl: u64, batch: &mut Vec<Entry>) {
    let mut waiting = Vec::new();
    let commands = commands(redis, ttl, batch, &mut waiting);
    // What fails is put right by the next renewal.
    let _ = redis.run_all(commands).await;
    for one in waiting {
        let _ = one.send(());
    }
}

fn commands(
    redis: &Redis,
    ttl: u64,
    batch: &mut Vec<Entry>,
    waiting: &mut Vec<oneshot::Sender<()>>,
) -> Vec<Command> {
    let mut commands = Vec::with_capacity(batch.len() * 5);
    let node_set = |node: &NodeId| redis.key(&format!("gateway:node:{node}:sessions"));
    let by_session = |session: &SessionId| redis.key(&format!("session:user:{session}"));
    let expire = |key: String| Command::new("PEXPIRE").arg(key).arg(ttl);
    for entry in batch.drain(..) {
        match entry {
            Entry::Here {
                user,
                node,
                member,
                session,
            } => {
                let set = Command::new("SET").arg(by_session(&session)).arg(user.as_str());
                commands.push(set.arg("PX").arg(ttl));
                commands.push(Command::new("SADD").arg(node_set(&node)).arg(member));
                commands.push(expire(node_set(&node)));
                let shard = online(redis, shard_of(&user));
                commands.push(Command::new("ZADD").arg(&shard).arg(0).arg(user.as_str()));
                commands.push(expire(shard));
            }
            Entry::Gone {
                user,
                node,
                member,
                session,
                last,
            } => {
                commands.push(Command::new("DEL").arg(by_session(&session)));
                commands.push(Command::new("SREM").arg(node_set(&node)).arg(member));
                if last {
                    commands.push(
                        Command::new("ZREM")
                            .arg(online(redis, shard_of(&user)))
                            .arg(user.as_str()),
                    );
                }
            }
            Entry::Tell(tell) => waiting.push(tell),
            Entry::Stale(user) => {
                commands.push(
                    Command::new("ZREM")
                        .arg(online(redis, shard_of(&user)))
                        .arg(user.as_str()),
                );
            }
        }
    }
    commands
}
