//! What is written beside the truth: whose a session is, what a node holds, who is online.
//!
//! One task gathers what has come and writes it in one pipeline, so that a login waits for its script alone. What is lost
//! here (a full queue, a crash in between) is put right by the next renewal of the session, or passed over by readers,
//! who ask the truth.

use std::collections::HashMap;
use std::time::Duration;

use gateway_codec::{DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};
use gateway_redis::{Command, Redis};
use metrics::{Counter, counter};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{answer, texts};
use crate::{SessionRecord, StoreError, words};

/// Entries that may wait to be written; past it they are left to the next renewal.
const WAITING: usize = 65_536;
/// Entries written in one pipeline.
const AT_ONCE: usize = 256;
/// Sorted sets that the users online are spread over, so that no single key holds them all.
const SHARDS: u32 = 16;
/// Between two pipelines. The less often, the more of what they write is about the same keys: in a rush of logins, a
/// command each is left of five.
const GATHER: Duration = Duration::from_millis(5);
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

/// A session in its node's set: all that it takes to remove it.
fn member(record: &SessionRecord) -> String {
    words::join(&[
        record.user_id.as_str(),
        record.platform.as_str(),
        record.device_id.as_str(),
        &record.session_id.to_string(),
        &record.epoch.to_string(),
    ])
}

/// Reads what [`member`] wrote; what it does not say of the session is left empty.
pub(super) fn read_member(text: &str, node: &NodeId) -> Option<SessionRecord> {
    let mut words = words::split(text);
    let mut next = || words.next();
    Some(SessionRecord {
        user_id: UserId::parse(&next()?).ok()?,
        platform: Platform::parse(&next()?).ok()?,
        device_id: DeviceId::parse(&next()?).ok()?,
        session_id: SessionId::parse(&next()?).ok()?,
        epoch: next()?.parse().ok()?,
        node: node.clone(),
        connected_at: Timestamp::default(),
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED).into(),
    })
}

async fn write(redis: Redis, ttl: u64, mut waiting: mpsc::Receiver<Entry>, stop: CancellationToken) {
    let mut batch = Vec::new();
    while let Some(1..) = stop
        .run_until_cancelled(waiting.recv_many(&mut batch, AT_ONCE))
        .await
    {
        put_down(&redis, ttl, &mut batch).await;
        // Cut short by a stop.
        let _ = stop.run_until_cancelled(sleep(GATHER)).await;
    }
    let rest = async {
        while let Ok(entry) = waiting.try_recv() {
            batch.push(entry);
            if batch.len() >= AT_ONCE || waiting.is_empty() {
                put_down(&redis, ttl, &mut batch).await;
            }
        }
    };
    let _ = timeout(LAST_WRITE, rest).await;
}

async fn put_down(redis: &Redis, ttl: u64, entries: &mut Vec<Entry>) {
    let batch = Batch::of(entries.drain(..));
    // What fails is put right by the next renewal.
    let _ = redis.run_all(batch.commands(redis, ttl)).await;
    for one in batch.waiting {
        let _ = one.send(());
    }
}

/// What a batch comes to: of several entries about one thing the last one counts, and each key is named once.
#[derive(Default)]
struct Batch {
    /// Whose a session is; nobody's any more.
    sessions: Vec<(SessionId, Option<UserId>)>,
    /// What nodes hold, and what no longer.
    nodes: HashMap<NodeId, Members>,
    /// By shard, who is online, and who no longer.
    online: HashMap<u32, Members>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Members of a set, and whether they are in it from now on.
type Members = HashMap<String, bool>;

impl Batch {
    fn of(entries: impl Iterator<Item = Entry>) -> Self {
        let mut batch = Self::default();
        for entry in entries {
            match entry {
                Entry::Here {
                    user,
                    node,
                    member,
                    session,
                } => {
                    batch.nodes.entry(node).or_default().insert(member, true);
                    batch.user(&user, true);
                    batch.sessions.push((session, Some(user)));
                }
                Entry::Gone {
                    user,
                    node,
                    member,
                    session,
                    last,
                } => {
                    batch.nodes.entry(node).or_default().insert(member, false);
                    if last {
                        batch.user(&user, false);
                    }
                    batch.sessions.push((session, None));
                }
                Entry::Stale(user) => batch.user(&user, false),
                Entry::Tell(tell) => batch.waiting.push(tell),
            }
        }
        batch
    }

    fn user(&mut self, user: &UserId, is_online: bool) {
        let shard = self.online.entry(shard_of(user)).or_default();
        shard.insert(user.as_str().to_owned(), is_online);
    }

    fn commands(&self, redis: &Redis, ttl: u64) -> Vec<Command> {
        let mut commands =
            Vec::with_capacity(self.sessions.len() + 3 * (self.nodes.len() + self.online.len()));
        for (session, user) in &self.sessions {
            let key = redis.key(&format!("session:user:{session}"));
            commands.push(match user {
                Some(user) => Command::new("SET").arg(key).arg(user.as_str()).arg("PX").arg(ttl),
                None => Command::new("DEL").arg(key),
            });
        }
        for (node, members) in &self.nodes {
            let key = redis.key(&format!("gateway:node:{node}:sessions"));
            commands.extend(changes(&key, ["SADD", "SREM"], None, members));
            commands.push(Command::new("PEXPIRE").arg(key).arg(ttl));
        }
        for (shard, users) in &self.online {
            let key = online(redis, *shard);
            commands.extend(changes(&key, ["ZADD", "ZREM"], Some(0), users));
            commands.push(Command::new("PEXPIRE").arg(key).arg(ttl));
        }
        commands
    }
}

/// What it takes to change a set, whose members have a score or none: one command, or two.
fn changes(
    key: &str,
    [add, remove]: [&'static str; 2],
    score: Option<u32>,
    members: &Members,
) -> impl Iterator<Item = Command> {
    let (mut added, mut removed) = (None, None);
    for (member, &is_in) in members {
        let (command, name) = if is_in {
            (&mut added, add)
        } else {
            (&mut removed, remove)
        };
        let so_far = command.take().unwrap_or_else(|| Command::new(name).arg(key));
        let so_far = if is_in { so_far.arg(score) } else { so_far };
        *command = Some(so_far.arg(member.as_str()));
    }
    added.into_iter().chain(removed)
}
