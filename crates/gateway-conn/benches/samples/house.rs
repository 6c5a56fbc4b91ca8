//! A node full of sessions whose sockets are nothing but counters, and an offline box that is always empty.
//!
//! Everything runs on the calling thread; what goes on in the background does so before and after what is counted.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use gateway_codec::{
    CloseCode, ConversationType, DeviceId, EncodedPush, Encoding, NodeId, Notice, Platform, PushBody,
    PushType, SessionId, Timestamp, UserId,
};
use gateway_config::Platforms;
use gateway_conn::{
    Backlog, BroadcastReport, Delivery, DeliverySettings, EmbeddedSessionStore, LinkError, NewSession,
    OfflineError, OfflinePush, OfflineSink, PushOrder, Pushed, Registry, SessionLink, SessionRecord, Target,
};
use tokio::runtime::{Builder, Runtime};

const NOW: Timestamp = Timestamp::from_millis(1_767_868_200_123);

/// Takes the encoded push as a socket's queue does, and drops it.
#[derive(Default)]
struct Counter(AtomicU64);

impl SessionLink for Counter {
    fn drain(&self, _: &str) {}
    fn recheck(&self) {}
    fn push(&self, push: &EncodedPush) -> Result<u64, LinkError> {
        drop(std::hint::black_box(push.bytes(Encoding::Json).clone()));
        Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn push_later(&self, push: &EncodedPush) -> Result<(u64, bool), LinkError> {
        Ok((self.push(push)?, false))
    }

    fn flush(&self) {}

    fn notice<'a>(&self, _: &Notice<'a>, _: Timestamp) {}

    fn close(&self, _: CloseCode, _: &str) {}

    fn quiet_since(&self) -> Option<tokio::time::Instant> {
        None
    }

    fn acknowledges(&self) -> bool {
        true
    }
}

struct EmptyBox;

#[async_trait]
impl OfflineSink for EmptyBox {
    async fn record_offline(&self, _: Vec<OfflinePush>) -> Result<(), OfflineError> {
        Ok(())
    }

    async fn delivered(&self, _: &UserId, _: Vec<String>) -> Result<(), OfflineError> {
        Ok(())
    }

    async fn session_bound(&self, _: &SessionRecord) -> Result<Backlog, OfflineError> {
        Ok(Backlog::default())
    }
}

/// See the module.
pub(crate) struct House {
    delivery: Delivery,
    runtime: Runtime,
    sessions: Vec<(Arc<SessionRecord>, Arc<Counter>)>,
    pushes: u64,
}

impl House {
    /// With that many users, each with one session that has taken and acknowledged some pushes.
    ///
    /// # Panics
    /// Where a session was not bound, or has not taken them.
    #[expect(clippy::expect_used, reason = "there is nobody to hand the error to")]
    pub(crate) fn with(users: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let store = Arc::new(EmbeddedSessionStore::default());
        let node = NodeId::parse("n1").expect("an id");
        let registry = Arc::new(Registry::new(store, node, &Platforms::default()).expect("a registry"));
        let settings = DeliverySettings {
            dedup_entries: REMEMBERED,
            ..DeliverySettings::default()
        };
        let delivery = Delivery::new(
            Arc::clone(&registry),
            Arc::new(EmptyBox),
            settings,
            runtime.handle().clone(),
        );
        let bind = async |number: u64| {
            let link = Arc::new(Counter::default());
            let record = registry
                .bind(session(number), link.clone(), NOW)
                .await
                .expect("a session");
            delivery.bound(&record, None);
            (record, link)
        };
        let mut sessions = Vec::new();
        for number in (0..).take(users) {
            sessions.push(runtime.block_on(bind(number)));
        }
        let mut house = Self {
            delivery,
            runtime,
            sessions,
            pushes: 0,
        };
        for _ in 0..WARM_UP / users {
            let order = house.order();
            let push_id = order.body.push_id.clone();
            assert!(house.push(order).any_queued());
            house.acked(&push_id);
        }
        assert_eq!(house.taken(), WARM_UP as u64, "pushes that were taken");
        house
    }

    /// The next push, to all users.
    pub(crate) fn order(&mut self) -> PushOrder {
        self.settle();
        self.pushes += 1;
        let users = self
            .sessions
            .iter()
            .map(|(record, _)| record.user_id.clone())
            .collect();
        PushOrder {
            body: body(self.pushes),
            target: Target::Users(users),
        }
    }

    pub(crate) fn push(&self, order: PushOrder) -> Pushed {
        self.delivery.push_now(order, NOW)
    }

    /// To all sessions, whose they may be.
    pub(crate) fn broadcast(&self, body: PushBody) -> BroadcastReport {
        let mut broadcast = pin!(self.delivery.broadcast(body, NOW));
        loop {
            // It waits for nothing, it only lets others go first now and then; so the runtime need not be counted.
            if let Poll::Ready(report) = broadcast.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return report;
            }
        }
    }

    /// Every session says that it has this push.
    pub(crate) fn acked(&self, push_id: &str) {
        for (record, _) in &self.sessions {
            self.delivery.acked(record.session_id, push_id);
        }
    }

    /// Pushes that were taken, over all sessions.
    fn taken(&self) -> u64 {
        self.sessions
            .iter()
            .map(|(_, link)| link.0.load(Ordering::Relaxed))
            .sum()
    }

    /// Lets the background come to an end.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
    }
}

/// Pushes that are remembered against repeats: seven by each of the 64 tables that do so. For each new one the oldest is
/// forgotten, as it is in a node that has been in use for long, so that no table grows in what is counted.
const REMEMBERED: usize = 7 * 64;
/// Pushes, over all users, after which each of these tables is full.
const WARM_UP: usize = 3200;

#[expect(clippy::expect_used, reason = "there is nobody to hand the error to")]
fn session(number: u64) -> NewSession {
    NewSession {
        session_id: SessionId::from_random(u128::from(number + 1).to_be_bytes()),
        user_id: UserId::parse(&format!("user{number:04}")).expect("an id"),
        device_id: DeviceId::parse("phone").expect("an id"),
        platform: Platform::parse("android").expect("a platform"),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn body(number: u64) -> PushBody {
    PushBody {
        push_id: format!("0190d9a4-7a8c-7cc1-b2a4-{number:012}"),
        push_type: PushType::Message,
        content: "x".repeat(60),
        message_id: "1234567890".to_owned(),
        sender_uid: "alice".to_owned(),
        conversation_type: ConversationType::Direct,
        conversation_id: "alice".to_owned(),
    }
}
