//! A node for tests: a registry over the embedded store, links that note what they are told, an offline box in memory.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gateway_codec::{
    CloseCode, ConversationType, DeviceId, EncodedPush, NodeId, Notice, Platform, PushBody, PushType,
    SessionId, Timestamp, UserId,
};
use gateway_config::Platforms;
use tokio::runtime::Handle;

use crate::delivery::GATHER;
use crate::sharded::lock;
use crate::{
    Backlog, BindError, Delivery, DeliverySettings, EmbeddedSessionStore, LinkError, NewSession,
    OfflineError, OfflinePush, OfflineSink, PushOrder, Registry, SessionLink, SessionRecord, Target,
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

pub(crate) fn session_id() -> SessionId {
    SessionId::from_random(u128::from(NEXT_SESSION.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn new_session(name: &str, device: &str, platform: &str) -> NewSession {
    NewSession {
        session_id: session_id(),
        user_id: user(name),
        device_id: DeviceId::parse(device).unwrap(),
        platform: Platform::parse(platform).unwrap(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// A session's record, bound on [`node`] with this epoch.
pub(crate) fn record(new: NewSession, epoch: u64) -> Arc<SessionRecord> {
    Arc::new(SessionRecord {
        session_id: new.session_id,
        user_id: new.user_id,
        device_id: new.device_id,
        platform: new.platform,
        node: node(),
        epoch,
        connected_at: NOW,
        address: new.address.into(),
    })
}

pub(crate) fn node() -> NodeId {
    NodeId::parse("n1").unwrap()
}

pub(crate) fn body(push_id: &str) -> PushBody {
    PushBody {
        push_id: push_id.to_owned(),
        push_type: PushType::Message,
        content: format!("content of {push_id}"),
        message_id: String::new(),
        sender_uid: "bob".to_owned(),
        conversation_type: ConversationType::Direct,
        conversation_id: "bob".to_owned(),
    }
}

pub(crate) fn to_user(push_id: &str, name: &str) -> PushOrder {
    PushOrder {
        body: body(push_id),
        target: Target::Users(vec![user(name)]),
    }
}

/// A connection that notes what it is told.
#[derive(Default)]
pub(crate) struct Link {
    pub(crate) acknowledges: AtomicBool,
    /// Pushes it takes before it is full; 0: without bound.
    pub(crate) room: AtomicUsize,
    pub(crate) gone: AtomicBool,
    pub(crate) pushed: Mutex<Vec<String>>,
    pub(crate) notices: Mutex<Vec<String>>,
    pub(crate) closed: Mutex<Option<CloseCode>>,
}

impl Link {
    pub(crate) fn acknowledging() -> Arc<Self> {
        let link = Self::default();
        link.acknowledges.store(true, Ordering::Relaxed);
        Arc::new(link)
    }

    pub(crate) fn plain() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn pushed(&self) -> Vec<String> {
        lock(&self.pushed).clone()
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        lock(&self.notices).clone()
    }

    pub(crate) fn closed(&self) -> Option<CloseCode> {
        *lock(&self.closed)
    }
}

impl SessionLink for Link {
    fn recheck(&self) {}

    fn drain(&self, reason: &str) {
        self.close(CloseCode::Restart, reason);
    }
    fn push(&self, push: &EncodedPush) -> Result<u64, LinkError> {
        let mut pushed = lock(&self.pushed);
        let room = self.room.load(Ordering::Relaxed);
        if self.gone.load(Ordering::Relaxed) || lock(&self.closed).is_some() {
            return Err(LinkError::Closed);
        }
        if room > 0 && pushed.len() >= room {
            return Err(LinkError::Full);
        }
        pushed.push(push.body.push_id.clone());
        Ok(pushed.len() as u64)
    }

    fn push_later(&self, push: &EncodedPush) -> Result<(u64, bool), LinkError> {
        Ok((self.push(push)?, false))
    }

    fn flush(&self) {}

    fn notice<'a>(&self, notice: &Notice<'a>, _at: Timestamp) {
        let text = match notice {
            Notice::Kicked { reason } => format!("kicked: {reason}"),
            Notice::NewLogin {
                device_id, platform, ..
            } => format!("new_login: {device_id} on {platform}"),
            other => format!("{other:?}"),
        };
        lock(&self.notices).push(text);
    }

    fn close(&self, code: CloseCode, _reason: &str) {
        lock(&self.closed).get_or_insert(code);
    }

    fn quiet_since(&self) -> Option<tokio::time::Instant> {
        None
    }

    fn acknowledges(&self) -> bool {
        self.acknowledges.load(Ordering::Relaxed)
    }
}

/// An offline box in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) boxes: Mutex<HashMap<UserId, VecDeque<PushBody>>>,
    /// Calls still to fail.
    pub(crate) failures: AtomicUsize,
    pub(crate) latency: Mutex<Duration>,
    /// Most pushes in one answer; 0: all.
    pub(crate) page: AtomicUsize,
    pub(crate) delivered: Mutex<Vec<Vec<String>>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) tries: AtomicUsize,
}

impl Memory {
    pub(crate) fn of(&self, name: &str) -> Vec<String> {
        lock(&self.boxes)
            .get(&user(name))
            .map_or_else(Vec::new, |pushes| {
                pushes.iter().map(|push| push.push_id.clone()).collect()
            })
    }

    pub(crate) fn put(&self, name: &str, push_id: &str) {
        lock(&self.boxes)
            .entry(user(name))
            .or_default()
            .push_back(body(push_id));
    }

    async fn come(&self) -> Result<(), OfflineError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let latency = *lock(&self.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let fails = |left: usize| left.checked_sub(1);
        match self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails)
        {
            Ok(_) => Err(OfflineError::Unavailable("down".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl OfflineSink for Memory {
    async fn record_offline(&self, pushes: Vec<OfflinePush>) -> Result<(), OfflineError> {
        self.come().await?;
        let mut boxes = lock(&self.boxes);
        for OfflinePush { user_id, push } in pushes {
            boxes
                .entry(user_id)
                .or_default()
                .push_back(PushBody::clone(&push.body));
        }
        Ok(())
    }

    async fn delivered(&self, user_id: &UserId, push_ids: Vec<String>) -> Result<(), OfflineError> {
        self.come().await?;
        lock(&self.boxes)
            .entry(user_id.clone())
            .or_default()
            .retain(|push| !push_ids.contains(&push.push_id));
        lock(&self.delivered).push(push_ids);
        Ok(())
    }

    async fn session_bound(&self, record: &SessionRecord) -> Result<Backlog, OfflineError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // What it finds, it finds at once; the answer takes its time.
        let mut pushes: Vec<_> = lock(&self.boxes)
            .get(&record.user_id)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        self.come().await?;
        let page = self.page.load(Ordering::Relaxed);
        let more = page > 0 && pushes.len() > page;
        if more {
            pushes.truncate(page);
        }
        Ok(Backlog { pushes, more })
    }
}

/// See the module.
pub(crate) struct Node {
    pub(crate) registry: Arc<Registry>,
    pub(crate) sink: Arc<Memory>,
    pub(crate) delivery: Delivery,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(DeliverySettings::default())
    }

    pub(crate) fn with(settings: DeliverySettings) -> Self {
        let registry = Arc::new(registry());
        let sink = Arc::new(Memory::default());
        let delivery = Delivery::new(registry.clone(), sink.clone(), settings, Handle::current());
        Self {
            registry,
            sink,
            delivery,
        }
    }

    /// Binds a session; pushes to it are held until [`ready`](Self::ready).
    pub(crate) async fn bind(&self, name: &str, device: &str, link: &Arc<Link>) -> Arc<SessionRecord> {
        self.try_bind(name, device, link).await.unwrap()
    }

    pub(crate) async fn try_bind(
        &self,
        name: &str,
        device: &str,
        link: &Arc<Link>,
    ) -> Result<Arc<SessionRecord>, BindError> {
        self.registry
            .bind(new_session(name, device, "android"), link.clone(), NOW)
            .await
    }

    /// Binds a session and lets its catch-up come to an end.
    pub(crate) async fn ready(&self, name: &str, device: &str, link: &Arc<Link>) -> Arc<SessionRecord> {
        let record = self.bind(name, device, link).await;
        self.delivery.bound(&record, None);
        settle().await;
        record
    }

    /// The connection is gone.
    pub(crate) async fn gone(&self, record: &Arc<SessionRecord>, last_written: u64) {
        self.delivery.closed(record, last_written);
        self.registry.unbind(record, NOW).await.unwrap();
        settle().await;
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new(
        Arc::new(EmbeddedSessionStore::default()),
        node(),
        &Platforms::default(),
    )
    .unwrap()
}

/// Lets all run that can, also boxes that are about to be asked.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(GATHER).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
