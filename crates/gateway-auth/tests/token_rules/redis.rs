//! What only the store in Redis could do wrong: leave keys or tokens behind, hang, or forget with Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_auth::{
    AuthError, Authenticator, RedisTokenStore, Subject, SystemClock, SystemRandom, TokenStore,
};
use gateway_config::{Auth, Secret};
use gateway_redis::testing::{LosingProxy, RedisServer};
use gateway_redis::{Command, FromRedisValue, Redis, read};
use tokio::time::{Instant, timeout};

use super::{Player, connected, connected_to};

async fn ask<T: FromRedisValue>(redis: &Redis, command: Command) -> T {
    read(redis.run(command).await.unwrap()).unwrap()
}

async fn keys(redis: &Redis) -> Vec<String> {
    ask(redis, Command::new("KEYS").arg("*")).await
}

#[tokio::test]
async fn every_key_expires_and_no_token_is_in_clear() {
    let server = RedisServer::start();
    let redis = connected(&server).await;
    let store = Arc::new(RedisTokenStore::new(redis.clone(), |_, _| ()));
    let config = Auth {
        jwt_secret: Some(Secret::new("a secret for tests, of 32 bytes and more")),
        ..Auth::default()
    };
    let auth = Authenticator::with_store(
        &config,
        store.clone(),
        Arc::new(SystemClock),
        Arc::new(SystemRandom),
    );
    let auth = auth.unwrap();
    let player = Player::new(&*store, "u1");
    let mut pairs = Vec::new();
    for _ in 0..17 {
        let first = auth.login(player.subject()).await.unwrap();
        let second = auth.refresh(&first.refresh_token, None).await.unwrap();
        pairs.extend([first, second]);
    }
    auth.refresh(&pairs[33].refresh_token, None).await.unwrap();
    let reused = auth.refresh(&pairs[32].refresh_token, None).await.unwrap_err();
    assert!(matches!(reused, AuthError::RefreshReused { .. }));
    auth.logout(&pairs[31].identity).await.unwrap();
    let hash = redis.key("user:refresh_tokens:{u1}");
    let found = keys(&redis).await;
    assert!(found.contains(&hash) && found.iter().any(|key| key.contains("revoked_access_token:")));
    let mut seen = found.join("\n");
    for key in &found {
        let left: i64 = ask(&redis, Command::new("PTTL").arg(key)).await;
        assert!(left > 0, "{key} would stay for ever");
        seen += &if *key == hash {
            ask::<Vec<String>>(&redis, Command::new("HGETALL").arg(key))
                .await
                .join("\n")
        } else {
            ask::<String>(&redis, Command::new("GET").arg(key)).await
        };
    }
    for pair in &pairs {
        assert!(!seen.contains(&pair.refresh_token) && !seen.contains(&pair.access_token));
    }
    for pair in &pairs[..31] {
        auth.logout(&pair.identity).await.unwrap();
    }
    assert!(
        !keys(&redis).await.contains(&hash),
        "a user without a family has no key"
    );
}

#[tokio::test]
async fn an_index_is_not_believed_against_the_truth() {
    let server = RedisServer::start();
    let redis = connected(&server).await;
    let store = RedisTokenStore::new(redis.clone(), |_, _| ());
    let (owner, thief) = (Player::new(&store, "owner"), Player::new(&store, "thief"));
    owner.login(1, 1, owner.subject(), owner.start).await;
    thief.login(1, 1, thief.subject(), thief.start).await;
    let hash: String = owner.hash(1).iter().map(|byte| format!("{byte:02x}")).collect();
    let index = redis.key(&format!("refresh_token:{hash}"));
    assert_eq!(
        ask::<String>(&redis, Command::new("GET").arg(&index)).await,
        "owner"
    );
    for wrong in ["thief", "nobody", "no user {:}"] {
        ask::<String>(&redis, Command::new("SET").arg(&index).arg(wrong)).await;
        assert_eq!(owner.spend(1, 2, None, 1).await, Err(AuthError::RefreshUnknown));
    }
    ask::<String>(&redis, Command::new("SET").arg(&index).arg("owner")).await;
    assert_eq!(owner.spend(1, 2, None, 1).await, Ok(()));
}

#[tokio::test]
async fn a_redis_that_stops_is_told_promptly_and_its_return_is_enough() {
    let server = RedisServer::start();
    let store = RedisTokenStore::new(connected(&server).await, |_, _| ());
    let player = Player::new(&store, "u1");
    player.login(1, 1, player.subject(), player.start).await;
    server.signal("STOP");
    let away = AuthError::StoreUnavailable;
    let before = Instant::now();
    let token = player.token(1, "a");
    let asked = store.is_revoked(&token, player.start);
    let asked = timeout(Duration::from_secs(2), asked).await;
    assert_eq!(asked.unwrap(), Err(away.clone()));
    let spent = timeout(Duration::from_secs(2), player.spend(1, 2, None, 0)).await;
    assert_eq!(spent.unwrap(), Err(away.clone()));
    assert!(before.elapsed() < Duration::from_secs(3));
    server.signal("CONT");
    // The spending that was cut may have been carried out; the same client may come again all the same. Each of the
    // shared connections may fail once more before it is replaced.
    let end = Instant::now() + Duration::from_secs(20);
    let mut next = 3;
    loop {
        match player.spend(1, next, None, 1).await {
            Ok(()) => break,
            Err(error) => assert_eq!(error, away),
        }
        assert!(Instant::now() < end, "it did not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
        next += 1;
    }
}

#[tokio::test]
async fn revocations_are_written_again_into_a_redis_that_came_back_empty() {
    let server = RedisServer::start();
    let store = RedisTokenStore::new(connected(&server).await, |_, _| ());
    let other = RedisTokenStore::new(connected(&server).await, |_, _| ());
    let player = Player::new(&store, "u1");
    let (now, until) = (player.start, player.after(600));
    let mut tokens = Vec::new();
    for n in 0..300_u32 {
        let token = player.token((n % 200) as u8, &n.to_string());
        store.revoke(&player.user, &token, until, now).await.unwrap();
        tokens.push(token);
    }
    let told = player.token(255, "told");
    store.learn(&told.jti, until, now);
    tokens.push(told);
    server.cli(&["FLUSHALL"]);
    let all = |told| Ok(vec![told; 301]);
    assert_eq!(other.are_revoked(&tokens, now).await, all(false));
    assert_eq!(
        store.are_revoked(&tokens, now).await,
        all(true),
        "known here all the same"
    );
    store.write_again(now).await.unwrap();
    assert_eq!(other.are_revoked(&tokens, now).await, all(true));
}

#[tokio::test]
async fn each_revocation_is_told_with_its_end() {
    let server = RedisServer::start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let told = told.clone();
        move |id: &str, until| told.lock().unwrap().push((id.to_owned(), until))
    };
    let store = RedisTokenStore::new(connected(&server).await, tell);
    let player = Player::new(&store, "u1");
    let take = || {
        let mut told = std::mem::take(&mut *told.lock().unwrap());
        told.sort();
        told
    };
    player.login(1, 1, player.subject(), player.start).await;
    player.spend(1, 2, None, 0).await.unwrap();
    assert_eq!(take(), []);
    assert_eq!(player.spend(1, 3, None, 31).await, player.reused());
    assert_eq!(take(), [(player.family(1).to_string(), player.after(60))]);
    let subject = Subject {
        roles: vec!["user".to_owned()],
        ..player.subject()
    };
    player.login(2, 10, subject, player.start).await;
    let token = player.token(2, "a");
    let until = player.after(600);
    store
        .revoke(&player.user, &token, until, player.start)
        .await
        .unwrap();
    let mut expected = [
        (player.family(2).to_string(), until),
        (token.jti.to_string(), until),
    ];
    expected.sort();
    assert_eq!(take(), expected);
}

#[tokio::test]
async fn a_login_or_a_rotation_whose_reply_was_lost_counts_once() {
    let server = RedisServer::start();
    let proxy = LosingProxy::start(server.port()).await.unwrap();
    let redis = connected_to(proxy.port()).await;
    let store = RedisTokenStore::new(redis.clone(), |_, _| ());
    let player = Player::new(&store, "u1");
    let hex = |token| -> String {
        let hash = player.hash(token);
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    // As many families as a user may have; the scripts are known from here on.
    for family in 1..=15 {
        player
            .login(family, 100 + u32::from(family), player.subject(), player.start)
            .await;
    }
    player.spend(115, 215, None, 0).await.unwrap();
    proxy.lose_reply_to(&hex(1));
    player.login(16, 1, player.subject(), player.start).await;
    assert_eq!(proxy.lost(), 1);
    player.spend(101, 201, None, 0).await.unwrap();

    proxy.lose_reply_to(&hex(2));
    player.spend(1, 2, Some("phone"), 0).await.unwrap();
    assert_eq!(proxy.lost(), 2);
    let families = redis.key("user:refresh_tokens:{u1}");
    let family = format!("family:{}", player.family(16));
    let kept: String = ask(&redis, Command::new("HGET").arg(&families).arg(&family)).await;
    assert_eq!(
        kept.matches(&hex(2)).count(),
        1,
        "it is not among those spent: {kept}"
    );
    player.spend(2, 3, None, 0).await.unwrap();
    // A thief gains nothing by it: what was spent earlier is a reuse.
    assert_eq!(player.spend(1, 4, None, 0).await, player.reused());

    // A reuse whose reply was lost is one the second time too.
    player.login(17, 50, player.subject(), player.start).await;
    player.spend(50, 51, None, 0).await.unwrap();
    player.spend(51, 52, None, 0).await.unwrap();
    proxy.lose_reply_to(&hex(53));
    assert_eq!(player.spend(50, 53, None, 0).await, player.reused());
    assert_eq!(proxy.lost(), 3);
    let token = player.token(17, "a");
    assert_eq!(store.is_revoked(&token, player.start).await, Ok(true));
}
