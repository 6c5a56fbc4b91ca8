//! How many devices a user may be on, and what becomes of the others.

use std::time::Duration;

use gateway_tests::Stack;
use gateway_tests::stack::ADMIN_KEY;
use serde_json::json;

#[tokio::test]
async fn a_second_web_login_kicks_the_first_with_notice_and_4410() {
    let stack = Stack::start().await;
    let mut first = stack.login("alice", "firefox", "web").await;
    let mut second = stack.login("alice", "chrome", "web").await;
    let notice = first.notice("kicked").await;
    assert!(notice["data"]["reason"].is_string(), "{notice}");
    assert_eq!(first.closed().await.0, 4410);
    assert!(second.is_alive().await);
    // 4410 revokes no token: the first may come back, and then the second goes.
    let mut back = stack.open(&format!("token={}", first.token)).await;
    back.notice("welcome").await;
    assert_eq!(second.closed().await.0, 4410);
}

#[tokio::test]
async fn a_fourth_phone_sends_the_oldest_away_and_the_others_are_told() {
    let stack = Stack::start().await;
    let mut phones = Vec::new();
    for name in ["one", "two", "three"] {
        phones.push(stack.login("alice", name, "android").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut fourth = stack.login("alice", "four", "android").await;
    assert_eq!(phones[0].closed().await.0, 4410, "the oldest");
    for phone in &mut phones[1..] {
        // Earlier logins have told of themselves already.
        while phone.notice("new_login").await["data"]["device_id"] != "four" {}
        assert!(phone.is_alive().await);
    }
    assert!(fourth.is_alive().await);
}

#[tokio::test]
async fn platforms_do_not_count_against_each_other() {
    let stack = Stack::start().await;
    let mut sessions = Vec::new();
    for (device, platform) in [
        ("a", "android"),
        ("i", "ios"),
        ("w", "web"),
        ("d1", "desktop"),
        ("d2", "desktop"),
    ] {
        sessions.push(stack.login("alice", device, platform).await);
    }
    for session in &mut sessions {
        assert!(session.is_alive().await);
    }
    let mut admin = stack.login("admin", "console", "admin").await;
    let mut newer = stack.login("admin", "console-2", "admin").await;
    assert_eq!(admin.closed().await.0, 4410, "admin: strictly one device");
    assert!(newer.is_alive().await);
}

#[tokio::test]
async fn the_same_device_replaces_itself() {
    let stack = Stack::start().await;
    let mut old = stack.login("alice", "phone", "android").await;
    let mut new = stack.login("alice", "phone", "android").await;
    assert_eq!(old.closed().await.0, 4410);
    assert!(new.is_alive().await);
    assert_eq!(online(&stack).await, 1);
}

#[tokio::test]
async fn a_flapping_device_keeps_its_newest_session() {
    let stack = Stack::start().await;
    let token = stack.tokens("alice", "phone", "android").await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let query = format!("token={token}");
    let mut last = stack.open(&query).await;
    last.notice("welcome").await;
    for round in 0..30 {
        let mut next = stack.open(&query).await;
        next.notice("welcome").await;
        // The old one goes in every way there is: closed, cut off, or kicked by the new one.
        match round % 3 {
            0 => last.close().await,
            1 => drop(last),
            _ => assert_eq!(last.closed().await.0, 4410),
        }
        last = next;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(last.is_alive().await);
    assert_eq!(online(&stack).await, 1, "no late close removed the newest");
    let mut bob = stack.login("bob", "d", "web").await;
    bob.command(2001, &json!({"to_user": "alice", "content": "still there?"}))
        .await;
    assert_eq!(last.push().await["data"]["content"], "still there?");
}

#[tokio::test]
async fn where_existing_sessions_are_not_kicked_the_new_login_is_refused() {
    let stack = Stack::builder()
        .platforms(json!({"platforms": {
            "web": {"allow_multiple_devices": false, "kick_existing_on_login": false, "session_timeout": 1800},
            "tv": {"allow_multiple_devices": true, "max_devices": 1, "session_timeout": 1800},
        }}))
        .start()
        .await;
    let mut first = stack.login("alice", "one", "web").await;
    let mut second = stack.connect().await;
    assert_eq!(second.login("alice", "two", "web").await["code"], 409);
    assert!(first.is_alive().await);
    let mut again = stack.login("alice", "one", "web").await;
    assert!(again.is_alive().await, "the same device always replaces itself");
}

#[tokio::test]
async fn an_admin_kicks_by_user_device_and_platform() {
    let stack = Stack::start().await;
    let mut web = stack.login("alice", "w", "web").await;
    let mut phone = stack.login("alice", "a1", "android").await;
    let mut tablet = stack.login("alice", "a2", "android").await;
    let key = [("x-api-key", ADMIN_KEY)];
    let http = stack.http();
    let kick = |body| async move { http.post("/api/connections/kick", &key, &body).await.body };
    assert_eq!(
        kick(json!({"user_id": "alice", "device_id": "a2", "reason": "lost"})).await["kicked"],
        1
    );
    let notice = tablet.notice("kicked").await;
    assert_eq!(notice["data"]["reason"], "lost");
    assert_eq!(tablet.closed().await.0, 4411);
    assert!(web.is_alive().await && phone.is_alive().await);
    assert_eq!(
        kick(json!({"user_id": "alice", "platform": "web"})).await["kicked"],
        1
    );
    assert_eq!(web.closed().await.0, 4411);
    assert_eq!(kick(json!({"user_id": "alice"})).await["kicked"], 1);
    assert_eq!(phone.closed().await.0, 4411);
    assert_eq!(kick(json!({"user_id": "nobody"})).await["kicked"], 0);
}

async fn online(stack: &Stack) -> u64 {
    let answer = stack
        .http()
        .get("/api/connections/stats", &[("x-api-key", ADMIN_KEY)])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["authenticated"].as_u64().unwrap()
}
