//! Against real servers: one, Sentinel, Cluster; killed, restarted, failed over, stopped.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code outside of test functions"
)]

use std::time::Duration;

use gateway_redis::testing::RedisServer;
use gateway_redis::{Command, Redis, RedisError, Script, Subscription, read};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

#[path = "servers/away.rs"]
mod away;
#[path = "servers/closed.rs"]
mod closed;
#[path = "servers/many.rs"]
mod many;
#[path = "servers/secured.rs"]
mod secured;

static ADD: Script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");

fn settings(port: u16) -> gateway_config::Redis {
    gateway_config::Redis {
        port,
        response_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_secs(1),
        ..gateway_config::Redis::default()
    }
}

async fn connected(settings: &gateway_config::Redis) -> Redis {
    let redis = Redis::new(settings, Handle::current()).unwrap();
    back(&redis).await;
    redis
}

async fn back(redis: &Redis) {
    let end = Instant::now() + Duration::from_secs(20);
    while redis.ping().await.is_err() {
        assert!(Instant::now() < end, "not connected in time");
        sleep(Duration::from_millis(20)).await;
    }
}

fn set(redis: &Redis, key: &str, value: u32) -> Command {
    Command::new("SET").arg(redis.key(key)).arg(value)
}

fn get(redis: &Redis, key: &str) -> Command {
    Command::new("GET").arg(redis.key(key))
}

fn add(redis: &Redis, key: &str) -> Command {
    Command::script(&ADD, &[&redis.key(key)]).arg(1)
}

/// Commands, pipelines in order with an error among them, scripts known and forgotten.
async fn speaks(redis: &Redis, forget_scripts: impl Fn()) {
    redis.run(set(redis, "a", 1)).await.unwrap();
    let replies = redis
        .run_all(vec![
            get(redis, "a"),
            Command::new("HGET").arg(redis.key("a")).arg("f"),
            set(redis, "b", 2),
            get(redis, "b"),
            add(redis, "n"),
        ])
        .await;
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap();
    assert_eq!(read::<u32>(next().unwrap()), Ok(1));
    assert!(matches!(next(), Err(RedisError::Refused(what)) if what.starts_with("WRONGTYPE ")));
    next().unwrap();
    assert_eq!(read::<u32>(next().unwrap()), Ok(2));
    assert_eq!(read::<u32>(next().unwrap()), Ok(1));
    forget_scripts();
    assert_eq!(read::<u32>(redis.run(add(redis, "n")).await.unwrap()), Ok(2));
    forget_scripts();
    let mixed = (0..50).flat_map(|_| [add(redis, "n"), get(redis, "b")]).collect();
    let counted: Vec<u32> = redis
        .run_all(mixed)
        .await
        .into_iter()
        .map(|one| read(one.unwrap()).unwrap())
        .collect();
    let (added, got): (Vec<_>, Vec<_>) = counted.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
    // Each was carried out once; in order too, which a Cluster does not promise.
    let mut sorted = added.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (3..53).collect::<Vec<_>>());
    assert_eq!(got, vec![2; 50]);
    assert!(matches!(
        read::<u32>(redis.run(Command::new("TIME")).await.unwrap()),
        Err(RedisError::Unexpected(_))
    ));
}

/// Publishes until it is heard.
async fn hears(redis: &Redis, heard: &mut Subscription) {
    let listening = async {
        loop {
            let news = Command::new("PUBLISH").arg(redis.key("news")).arg("hello");
            let _ = redis.run(news).await;
            if let Ok(message) = timeout(Duration::from_millis(50), heard.recv()).await {
                return message.expect("not closed");
            }
        }
    };
    let message = timeout(Duration::from_secs(15), listening)
        .await
        .expect("a message");
    assert_eq!(
        (message.channel, message.payload),
        (redis.key("news"), b"hello".to_vec())
    );
    // What was published meanwhile.
    while let Ok(Some(_)) = timeout(Duration::from_millis(60), heard.recv()).await {}
}

fn news(redis: &Redis) -> Subscription {
    redis.subscribe(vec![redis.key("other"), redis.key("news")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_spoken_to_and_heard() {
    let server = RedisServer::start();
    let redis = connected(&settings(server.port())).await;
    speaks(&redis, || drop(server.cli(&["SCRIPT", "FLUSH"]))).await;
    hears(&redis, &mut news(&redis)).await;
    let many: Vec<_> = (0..10_000).map(|n| Command::new("ECHO").arg(n)).collect();
    let replies = redis.run_all(many).await;
    assert!(
        (0..10_000).eq(replies
            .into_iter()
            .map(|reply| read::<u32>(reply.unwrap()).unwrap()))
    );
    assert!(redis.run_all(Vec::new()).await.is_empty());
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_connections_as_configured_are_shared_by_all_commands() {
    let server = RedisServer::start();
    let redis = connected(&gateway_config::Redis {
        min_connections: 8,
        max_connections: Some(3),
        ..settings(server.port())
    })
    .await;
    sleep(Duration::from_millis(200)).await;
    let asked = (0..1_000).map(|n| redis.run(Command::new("ECHO").arg(n)));
    let replies = futures_util::future::join_all(asked).await;
    assert!(replies.iter().all(Result::is_ok));
    // And the one that asks.
    assert_eq!(server.cli(&["CLIENT", "LIST"]).lines().count(), 3 + 1);
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_or_dropped_redis_leaves_nothing_behind() {
    let server = RedisServer::start();
    let redis = connected(&settings(server.port())).await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    timeout(Duration::from_millis(500), redis.close()).await.unwrap();
    assert!(!redis.is_available());
    assert!(matches!(redis.ping().await, Err(RedisError::Unavailable(_))));
    assert!(matches!(
        redis.run(set(&redis, "a", 1)).await,
        Err(RedisError::Unavailable(_))
    ));
    assert_eq!(heard.recv().await, None);
    assert_eq!(news(&redis).recv().await, None);

    let redis = connected(&settings(server.port())).await;
    let mut heard = news(&redis);
    drop(redis);
    assert_eq!(heard.recv().await, None);
    let end = Instant::now() + Duration::from_secs(5);
    while server.cli(&["CLIENT", "LIST"]).lines().count() > 1 {
        assert!(Instant::now() < end, "connections are left");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_queue_of_a_subscription_is_dropped_and_the_rest_is_heard() {
    let server = RedisServer::start();
    let redis = connected(&settings(server.port())).await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    let publish = |n: u32| Command::new("PUBLISH").arg(redis.key("news")).arg(n);
    redis.run_all((0..6_000).map(publish).collect()).await;
    sleep(Duration::from_millis(300)).await;
    for n in 0..4_096 {
        assert_eq!(heard.recv().await.unwrap().payload, n.to_string().into_bytes());
    }
    hears(&redis, &mut heard).await;
    redis.close().await;
}
