use std::sync::Mutex;

use async_trait::async_trait;
use gateway_codec::CloseCode;
use tokio::sync::Notify;

use super::ends::AT_ONCE;
use super::*;
use crate::testing::{Link, NOW, new_session, node, registry, user};
use crate::{EmbeddedSessionStore, LinkError};

async fn bind(registry: &Registry, device: &str, platform: &str) -> (Arc<Link>, Arc<SessionRecord>) {
    let link = Link::plain();
    let record = registry
        .bind(new_session("alice", device, platform), link.clone(), NOW)
        .await
        .unwrap();
    (link, record)
}

#[tokio::test]
async fn a_second_web_login_kicks_the_first_with_a_word() {
    let registry = registry();
    let (first, record) = bind(&registry, "a", "web").await;
    let (second, _) = bind(&registry, "b", "web").await;
    assert_eq!(first.notices(), ["kicked: replaced by a newer login"]);
    assert_eq!(
        (first.closed(), second.closed()),
        (Some(CloseCode::Replaced), None)
    );
    assert!(!registry.is_current(&record, NOW).await.unwrap());
    assert!(!registry.unbind(&record, NOW).await.unwrap());
    assert_eq!(registry.live_count(), 1);
}

#[tokio::test]
async fn the_fourth_phone_sends_the_oldest_away_and_tells_the_others() {
    let registry = registry();
    let (desktop, _) = bind(&registry, "pc", "desktop").await;
    let mut phones = Vec::new();
    for device in ["a", "b", "c", "d"] {
        phones.push(bind(&registry, device, "android").await.0);
    }
    let closed: Vec<_> = phones.iter().map(|phone| phone.closed()).collect();
    assert_eq!(closed, [Some(CloseCode::Replaced), None, None, None]);
    assert_eq!(
        phones[0].notices().len(),
        3,
        "two logins and the kick, not the login that kicked it"
    );
    assert_eq!(
        phones[1].notices(),
        ["new_login: c on android", "new_login: d on android"]
    );
    assert_eq!(desktop.notices().len(), 4);
    assert!(phones[3].notices().is_empty());
}

#[tokio::test]
async fn a_strict_platform_refuses_and_an_unknown_one_is_named() {
    let registry = registry();
    let mut platforms = Platforms::default();
    platforms
        .platforms
        .insert("admin".to_owned(), DevicePolicy::default());
    registry.set_policies(&platforms).unwrap();
    bind(&registry, "a", "admin").await;
    let refused = registry
        .bind(new_session("alice", "b", "admin"), Link::plain(), NOW)
        .await;
    assert_eq!(refused.unwrap_err(), BindError::Refused);
    let unknown = registry
        .bind(new_session("alice", "b", "toaster"), Link::plain(), NOW)
        .await;
    assert_eq!(unknown.unwrap_err(), BindError::UnknownPlatform);
    assert_eq!(registry.live_count(), 1);
}

#[tokio::test]
async fn a_flapping_device_keeps_its_newest_session() {
    let registry = registry();
    let mut old = Vec::new();
    for _ in 0..20 {
        old.push(bind(&registry, "a", "ios").await);
    }
    let (newest, record) = old.pop().unwrap();
    for (link, record) in old.iter().rev() {
        assert_eq!(link.closed(), Some(CloseCode::Replaced));
        registry.unbind(record, NOW).await.unwrap();
    }
    assert_eq!(newest.closed(), None);
    assert!(registry.is_current(&record, NOW).await.unwrap());
    assert_eq!(registry.live_of(&user("alice")).len(), 1);
}

#[tokio::test]
async fn a_session_is_bound_once() {
    let registry = registry();
    let new = new_session("alice", "a", "ios");
    registry.bind(new.clone(), Link::plain(), NOW).await.unwrap();
    assert_eq!(
        registry.bind(new, Link::plain(), NOW).await.unwrap_err(),
        BindError::AlreadyBound
    );
}

#[tokio::test]
async fn kicks_close_with_the_code_of_their_kind() {
    let registry = registry();
    for (kind, code) in [
        (KickKind::Kicked, CloseCode::Kicked),
        (KickKind::Replaced, CloseCode::Replaced),
        (KickKind::Revoked, CloseCode::Revoked),
        (KickKind::LoggedOut, CloseCode::Revoked),
    ] {
        let (phone, _) = bind(&registry, "a", "ios").await;
        let (web, _) = bind(&registry, "a", "web").await;
        let selector = Selector {
            device: None,
            platform: Some(Platform::parse("ios").unwrap()),
        };
        let kicked = registry
            .kick(&user("alice"), &selector, kind, "enough", NOW)
            .await
            .unwrap();
        assert_eq!((kicked, phone.closed(), web.closed()), (1, Some(code), None));
        assert_eq!(phone.notices(), ["kicked: enough"]);
    }
    assert_eq!(
        registry
            .kick(&user("bob"), &Selector::all(), KickKind::Kicked, "", NOW)
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn stats_count_sessions_platforms_and_users() {
    let registry = registry();
    bind(&registry, "a", "ios").await;
    let (_, web) = bind(&registry, "b", "web").await;
    registry
        .bind(new_session("bob", "c", "ios"), Link::plain(), NOW)
        .await
        .unwrap();
    let stats = registry.stats();
    assert_eq!(
        (stats.total, stats.unique_users, registry.live_count()),
        (3, 2, 3)
    );
    assert_eq!(stats.by_platform[&Platform::parse("ios").unwrap()], 2);
    registry.unbind(&web, NOW).await.unwrap();
    assert!(
        !registry
            .stats()
            .by_platform
            .contains_key(&Platform::parse("web").unwrap())
    );
    assert_eq!(registry.online(None, 10).await.unwrap().users.len(), 2);
}

#[tokio::test]
async fn new_policies_judge_the_next_login() {
    let registry = registry();
    bind(&registry, "a", "web").await;
    let mut platforms = Platforms::default();
    platforms.platforms.get_mut("web").unwrap().kick_existing_on_login = false;
    registry.set_policies(&platforms).unwrap();
    let refused = registry
        .bind(new_session("alice", "b", "web"), Link::plain(), NOW)
        .await;
    assert_eq!(refused.unwrap_err(), BindError::Refused);
    platforms
        .platforms
        .insert("no platform".to_owned(), DevicePolicy::default());
    assert!(registry.set_policies(&platforms).is_err());
}

/// A store whose first bind decides at once and answers only when it is let go.
struct Slow {
    store: EmbeddedSessionStore,
    gate: Notify,
    decided: Notify,
    first: Mutex<bool>,
    down: bool,
    /// Sizes of the batches that were removed.
    batches: Mutex<Vec<usize>>,
}

#[async_trait]
impl SessionStore for Slow {
    async fn bind(
        &self,
        session: NewSession,
        node: &NodeId,
        policy: &DevicePolicy,
        now: Timestamp,
    ) -> Result<BindAttempt, StoreError> {
        if self.down {
            return Err(StoreError::Unavailable("down".to_owned()));
        }
        let attempt = self.store.bind(session, node, policy, now).await;
        let is_first = std::mem::take(&mut *self.first.lock().unwrap());
        if is_first {
            self.decided.notify_one();
            self.gate.notified().await;
        }
        attempt
    }
    async fn abandon(&self, session: &NewSession, now: Timestamp) -> Result<(), StoreError> {
        self.store.abandon(session, now).await
    }
    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Arc<SessionRecord>>>, StoreError> {
        self.store.locate(users).await
    }
    async fn renew(
        &self,
        sessions: &[(Arc<SessionRecord>, Arc<DevicePolicy>)],
        now: Timestamp,
    ) -> Result<Vec<Renewal>, StoreError> {
        self.store.renew(sessions, now).await
    }
    async fn reap(&self, node: &NodeId, now: Timestamp) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        self.store.reap(node, now).await
    }
    async fn remove(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError> {
        if self.down {
            return Err(StoreError::Unavailable("down".to_owned()));
        }
        self.store.remove(record, now).await
    }
    async fn remove_all(&self, ends: &[(Arc<SessionRecord>, Timestamp)]) -> Vec<Result<bool, StoreError>> {
        self.batches.lock().unwrap().push(ends.len());
        let mut results = Vec::new();
        for (record, at) in ends {
            results.push(self.remove(record, *at).await);
        }
        results
    }
    async fn kick(
        &self,
        user: &UserId,
        selector: &Selector,
        kind: KickKind,
        now: Timestamp,
    ) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        self.store.kick(user, selector, kind, now).await
    }
    async fn sessions(&self, user: &UserId) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        self.store.sessions(user).await
    }
    async fn standing(&self, record: &SessionRecord, now: Timestamp) -> Result<Standing, StoreError> {
        self.store.standing(record, now).await
    }
    async fn page(&self, cursor: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.page(cursor, limit).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.store.health().await
    }
}

fn slow(down: bool) -> (Arc<Slow>, Arc<Registry>) {
    let store = Arc::new(Slow {
        store: EmbeddedSessionStore::default(),
        gate: Notify::new(),
        decided: Notify::new(),
        first: Mutex::new(true),
        down,
        batches: Mutex::default(),
    });
    let registry = Registry::new(store.clone(), node(), &Platforms::default()).unwrap();
    (store, Arc::new(registry))
}

#[tokio::test]
async fn a_session_displaced_while_its_bind_comes_back_ends_closed() {
    for by_kick in [false, true] {
        let (store, registry) = slow(false);
        let late = Link::plain();
        let bound = {
            let (registry, late) = (registry.clone(), late.clone());
            tokio::spawn(async move { registry.bind(new_session("alice", "a", "web"), late, NOW).await })
        };
        store.decided.notified().await;
        let kind = if by_kick {
            registry
                .kick(&user("alice"), &Selector::all(), KickKind::Kicked, "", NOW)
                .await
                .unwrap();
            KickKind::Kicked
        } else {
            bind(&registry, "b", "web").await;
            KickKind::Replaced
        };
        assert_eq!(late.closed(), None, "not live yet, so only marked");
        store.gate.notify_one();
        assert_eq!(bound.await.unwrap().unwrap_err(), BindError::Displaced(kind));
        assert_eq!(late.closed(), Some(kind.close_code()));
        assert_eq!(registry.live_count(), usize::from(!by_kick));
        assert_eq!(registry.live_of(&user("alice")).len(), usize::from(!by_kick));
    }
}

#[tokio::test]
async fn a_bind_that_is_given_up_leaves_nothing_behind_here() {
    let (store, registry) = slow(false);
    let new = new_session("alice", "a", "web");
    let given_up = registry.bind(new.clone(), Link::plain(), NOW);
    tokio::select! {
        _ = given_up => panic!("the store was to wait"),
        () = store.decided.notified() => {}
    }
    assert!(
        registry.bind(new, Link::plain(), NOW).await.is_ok(),
        "its id is free again"
    );
}

#[tokio::test]
async fn without_a_store_logins_are_answered_503_and_nothing_stays() {
    let (_, registry) = slow(true);
    let error = registry
        .bind(new_session("alice", "a", "web"), Link::plain(), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.code(), gateway_codec::Code::Unavailable);
    assert_eq!(registry.live_count(), 0);
}

#[test]
fn the_mock_of_a_link_can_be_told_what_to_say() {
    let mut link = crate::MockSessionLink::new();
    link.expect_push().returning(|_| Err(LinkError::Full));
    link.expect_notice().times(1).returning(|_, _| ());
    link.expect_close()
        .withf(|code, _| *code == CloseCode::Kicked)
        .times(1)
        .returning(|_, _| ());
    tell_and_close(&link, KickKind::Kicked, "enough", Timestamp::default());
}

#[tokio::test]
async fn many_ends_leave_the_store_in_batches_one_after_the_other_and_all_in_the_end() {
    let (store, registry) = slow(false);
    store.gate.notify_one();
    let mut records = Vec::new();
    for n in 0..2 * AT_ONCE + 1 {
        let session = new_session(&format!("user{n}"), "a", "web");
        records.push(registry.bind(session, Link::plain(), NOW).await.unwrap());
    }
    let called: Vec<_> = records.iter().map(|record| registry.ended(record, NOW)).collect();
    assert!(called[0] && !called[1..].contains(&true), "one takes them all");
    assert_eq!(registry.live_count(), 0, "gone here before the store is told");
    registry.take_out_ended(|_, error| panic!("{error}")).await;
    assert_eq!(*store.batches.lock().unwrap(), [AT_ONCE, AT_ONCE, 1]);
    for record in &records {
        assert!(!store.remove(record, NOW).await.unwrap(), "gone there too");
    }
    let late = registry
        .bind(new_session("late", "a", "web"), Link::plain(), NOW)
        .await
        .unwrap();
    assert!(registry.ended(&late, NOW), "nobody takes any more");
}

#[tokio::test]
async fn ends_that_the_store_does_not_take_are_told_one_by_one_and_the_others_go_on() {
    let (_, registry) = slow(true);
    // Bound when the store was still there.
    let (_, record) = bind(&crate::testing::registry(), "a", "web").await;
    assert!(registry.ended(&record, NOW) && !registry.ended(&record, NOW));
    let failed = Mutex::new(0);
    registry
        .take_out_ended(|_, error| {
            assert!(matches!(error, StoreError::Unavailable(_)));
            *failed.lock().unwrap() += 1;
        })
        .await;
    assert_eq!(*failed.lock().unwrap(), 2);
}
