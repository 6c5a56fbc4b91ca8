use std::sync::Mutex;

use async_trait::async_trait;
use gateway_codec::CloseCode;
use tokio::sync::Notify;

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
    /// Removals under way, and the most there were.
    removing: Mutex<(usize, usize)>,
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
        {
            let mut removing = self.removing.lock().unwrap();
            removing.0 += 1;
            removing.1 = removing.1.max(removing.0);
        }
        tokio::task::yield_now().await;
        self.removing.lock().unwrap().0 -= 1;
        self.store.remove(record, now).await
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
        removing: Mutex::default(),
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
async fn of_many_ends_at_once_a_few_go_to_the_store_at_a_time_and_all_in_the_end() {
    let (store, registry) = slow(false);
    store.gate.notify_one();
    let mut records = Vec::new();
    for n in 0..4 * UNBOUND_AT_ONCE {
        let session = new_session(&format!("user{n}"), "a", "web");
        records.push(registry.bind(session, Link::plain(), NOW).await.unwrap());
    }
    let ends = records.iter().map(|record| registry.unbind(record, NOW));
    let known = futures_util::future::join_all(ends).await;
    assert!(known.into_iter().all(|known| known.unwrap()));
    assert_eq!(*store.removing.lock().unwrap(), (0, UNBOUND_AT_ONCE));
    assert_eq!(registry.live_count(), 0);
}
