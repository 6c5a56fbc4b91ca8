use std::time::Duration;

use super::*;
use crate::testing::{NOW, new_session, node, user};

async fn bind(store: &EmbeddedSessionStore, name: &str, device: &str, now: Timestamp) -> Arc<SessionRecord> {
    let policy = DevicePolicy {
        allow_multiple_devices: true,
        ..DevicePolicy::default()
    };
    let new = new_session(name, device, "ios");
    match store.bind(new, &node(), &policy, now).await.unwrap() {
        BindAttempt::Bound { record, .. } => record,
        BindAttempt::Refused => panic!("refused"),
    }
}

#[tokio::test]
async fn a_user_goes_with_its_last_session_and_its_epochs_stay() {
    let store = EmbeddedSessionStore::default();
    let first = bind(&store, "alice", "a", NOW).await;
    let second = bind(&store, "alice", "b", NOW).await;
    assert!(second.epoch > first.epoch);
    assert!(store.remove(&first, NOW).await.unwrap());
    assert!(store.remove(&second, NOW).await.unwrap());
    assert!(!store.remove(&second, NOW).await.unwrap());
    assert_eq!(store.users(), 0);
    // Even with a clock that was set back.
    let third = bind(&store, "alice", "a", Timestamp::from_millis(5)).await;
    assert!(third.epoch > second.epoch);
}

#[tokio::test]
async fn pages_list_every_user_once_in_order() {
    let store = EmbeddedSessionStore::default();
    let mut names: Vec<_> = (0..250).map(|index| format!("user{index}")).collect();
    for name in &names {
        bind(&store, name, "a", NOW).await;
        bind(&store, name, "b", NOW).await;
    }
    names.sort();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.page(cursor.as_deref(), 7).await.unwrap();
        assert_eq!(page.total, 250);
        assert!(page.users.len() <= 7 && page.users.iter().all(|user| user.sessions.len() == 2));
        seen.extend(page.users.iter().map(|user| user.user_id.to_string()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}

#[tokio::test]
async fn page_sizes_are_brought_into_bounds_and_foreign_cursors_refused() {
    let store = EmbeddedSessionStore::default();
    for index in 0..PAGE {
        bind(&store, &format!("u{index}"), "a", NOW).await;
    }
    let exact = store.page(None, PAGE).await.unwrap();
    assert_eq!((exact.users.len(), exact.next_cursor), (PAGE, None));
    assert_eq!(store.page(None, 0).await.unwrap().users.len(), 1);
    for bad in ["zz", "1", "0a", "ff", ""] {
        assert_eq!(
            store.page(Some(bad), 1).await.unwrap_err(),
            StoreError::BadCursor,
            "{bad}"
        );
    }
}

const PAGE: usize = 40;

#[tokio::test]
async fn tombstones_say_why_and_are_forgotten_in_time_and_number() {
    let settings = EmbeddedSettings {
        tombstone_life: Duration::from_secs(60),
        tombstones: 128,
    };
    let store = EmbeddedSessionStore::new(settings);
    let record = bind(&store, "alice", "a", NOW).await;
    assert_eq!(store.standing(&record, NOW).await.unwrap(), Standing::Current);
    let kicked = store
        .kick(&user("alice"), &Selector::all(), KickKind::Revoked, NOW)
        .await
        .unwrap();
    assert_eq!(kicked, std::slice::from_ref(&record));
    let later = NOW.plus(Duration::from_secs(59));
    assert_eq!(
        store.standing(&record, later).await.unwrap(),
        Standing::Displaced(KickKind::Revoked)
    );
    let much_later = NOW.plus(Duration::from_secs(60));
    assert_eq!(
        store.standing(&record, much_later).await.unwrap(),
        Standing::Unknown
    );
    for _ in 0..50 {
        bind(&store, "alice", "a", NOW).await;
        store
            .kick(&user("alice"), &Selector::all(), KickKind::Kicked, NOW)
            .await
            .unwrap();
    }
    assert!(store.tombstones() <= 128 / 64);
    assert_eq!(store.users(), 0);
}

#[tokio::test]
async fn a_newer_login_on_the_device_displaces_and_a_plain_end_leaves_no_trace() {
    let store = EmbeddedSessionStore::default();
    let old = bind(&store, "alice", "a", NOW).await;
    let new = bind(&store, "alice", "a", NOW).await;
    assert_eq!(
        store.standing(&old, NOW).await.unwrap(),
        Standing::Displaced(KickKind::Replaced)
    );
    assert!(
        !store.remove(&old, NOW).await.unwrap(),
        "a late close must not remove the newer login"
    );
    assert_eq!(
        store.sessions(&user("alice")).await.unwrap(),
        std::slice::from_ref(&new)
    );
    store.remove(&new, NOW).await.unwrap();
    assert_eq!(store.standing(&new, NOW).await.unwrap(), Standing::Unknown);
}
