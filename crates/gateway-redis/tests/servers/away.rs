//! A server that is away: killed, hanging, no longer the master, or without some of its connections.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_found_again_and_heard_again() {
    let server = RedisServer::start();
    let redis = connected(&settings(server.port())).await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    let port = server.kill();
    // Whoever asks finds out first, then it fails at once.
    let _ = redis.ping().await;
    sleep(Duration::from_millis(300)).await;
    assert!(!redis.is_available());
    let asked = Instant::now();
    for reply in redis.run_all(vec![get(&redis, "a"), add(&redis, "n")]).await {
        assert!(matches!(reply, Err(RedisError::Unavailable(_))), "{reply:?}");
    }
    assert!(asked.elapsed() < Duration::from_millis(100));
    let server = RedisServer::start_on(port);
    back(&redis).await;
    // The new server knows no script.
    speaks(&redis, || ()).await;
    hears(&redis, &mut heard).await;
    drop(server);
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_a_server_is_made_and_finds_it_later() {
    let port = gateway_redis::testing::free_port();
    let redis = Redis::new(&settings(port), Handle::current()).unwrap();
    let mut heard = news(&redis);
    sleep(Duration::from_millis(200)).await;
    let Err(RedisError::Unavailable(why)) = redis.ping().await else {
        panic!("there is no server");
    };
    assert!(why.contains("refused"), "{why}");
    let server = RedisServer::start_on(port);
    back(&redis).await;
    hears(&redis, &mut heard).await;
    redis.close().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_closed_are_made_anew() {
    let server = RedisServer::start();
    let redis = connected(&settings(server.port())).await;
    let mut heard = news(&redis);
    for _ in 0..3 {
        hears(&redis, &mut heard).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let _ = redis.ping().await;
        back(&redis).await;
    }
    hears(&redis, &mut heard).await;
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_broke_is_found_before_it_is_used() {
    let server = RedisServer::start();
    let redis = connected(&gateway_config::Redis {
        idle_timeout: Duration::from_millis(100),
        min_connections: 1,
        ..settings(server.port())
    })
    .await;
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    sleep(Duration::from_millis(600)).await;
    redis.run(set(&redis, "a", 1)).await.unwrap();
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_late_and_not_waited_for_again() {
    let server = RedisServer::start();
    let redis = connected(&gateway_config::Redis {
        idle_timeout: Duration::from_millis(300),
        ..settings(server.port())
    })
    .await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    server.signal("STOP");
    let asked = Instant::now();
    let late = redis.run_all(vec![get(&redis, "a"), get(&redis, "b")]).await;
    assert_eq!(late, vec![Err(RedisError::TimedOut), Err(RedisError::TimedOut)]);
    assert!(asked.elapsed() < Duration::from_secs(1));
    sleep(Duration::from_millis(1_000)).await;
    let asked = Instant::now();
    assert!(matches!(
        redis.run(get(&redis, "a")).await,
        Err(RedisError::Unavailable(_))
    ));
    assert!(asked.elapsed() < Duration::from_millis(100));
    server.signal("CONT");
    back(&redis).await;
    hears(&redis, &mut heard).await;
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_stuck_is_begun_again_when_told_to() {
    let server = RedisServer::start();
    let redis = connected(&gateway_config::Redis {
        connect_timeout: Duration::from_secs(60),
        ..settings(server.port())
    })
    .await;
    // The server takes the connection and says nothing.
    server.signal("STOP");
    let mut heard = news(&redis);
    sleep(Duration::from_millis(200)).await;
    heard.restart();
    sleep(Duration::from_millis(200)).await;
    server.signal("CONT");
    hears(&redis, &mut heard).await;
    let before = server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    heard.restart();
    sleep(Duration::from_millis(200)).await;
    hears(&redis, &mut heard).await;
    let after = server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let id = |list: &str| list.split(' ').next().map(str::to_owned);
    assert_eq!((before.lines().count(), after.lines().count()), (1, 1));
    assert_ne!(id(&before), id(&after));
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_became_a_replica_is_left_until_it_is_master_again() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let redis = connected(&settings(server.port())).await;
    server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let refused = redis.run(set(&redis, "a", 1)).await;
    assert!(matches!(refused, Err(RedisError::Unavailable(_))), "{refused:?}");
    sleep(Duration::from_millis(300)).await;
    assert!(!redis.is_available());
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    back(&redis).await;
    redis.run(set(&redis, "a", 1)).await.unwrap();
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_may_be_under_way_fail_at_once() {
    let server = RedisServer::start();
    let redis = connected(&settings(server.port())).await;
    server.signal("STOP");
    let asked = (0..16_385).map(|_| redis.run(get(&redis, "a")));
    let replies = futures_util::future::join_all(asked).await;
    server.signal("CONT");
    let (last, late) = replies.split_last().unwrap();
    assert!(matches!(last, Err(RedisError::Unavailable(why)) if why.contains("under way")));
    assert!(late.iter().all(|reply| *reply == Err(RedisError::TimedOut)));
    back(&redis).await;
    redis.close().await;
}
