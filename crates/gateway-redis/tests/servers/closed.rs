//! A server that is well and closes connections: no command fails for it.

use gateway_redis::testing::{ClusterSet, LosingProxy};

use super::*;

static ADD_ONCE_BY: Script = Script::repeatable(
    "if redis.call('SADD', KEYS[1], ARGV[1]) == 1 then redis.call('INCR', KEYS[2]) end return redis.call('GET', KEYS[2])",
);

/// As many as are configured by default, and their default times.
fn patient(port: u16) -> gateway_config::Redis {
    gateway_config::Redis {
        port,
        ..gateway_config::Redis::default()
    }
}

fn add_once(redis: &Redis, id: u32) -> Command {
    let keys = ["{n}:calls", "{n}:sum"].map(|key| redis.key(key));
    Command::script(&ADD_ONCE_BY, &[&keys[0], &keys[1]]).arg(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_closed_again_and_again_fail_no_command() {
    let server = RedisServer::start();
    let redis = connected(&patient(server.port())).await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    let killing = server.kill_connections(&["normal", "pubsub"], Duration::from_millis(5));
    let mut rounds = 0;
    while killing.closed() < 200 {
        let n = rounds;
        rounds += 1;
        assert!(rounds < 100_000, "no connection is closed");
        redis.run(set(&redis, "a", n)).await.expect("a write");
        assert_eq!(
            read::<u32>(redis.run(get(&redis, "a")).await.expect("a read")),
            Ok(n)
        );
        redis.run(add_once(&redis, n)).await.expect("a script");
        let pipeline = (0..20).map(|_| get(&redis, "a")).collect();
        for reply in redis.run_all(pipeline).await {
            assert_eq!(read::<u32>(reply.expect("one of many")), Ok(n));
        }
        redis.ping().await.expect("an answer");
    }
    killing.stop();
    let sum = Command::new("GET").arg(redis.key("{n}:sum"));
    assert_eq!(read::<u32>(redis.run(sum).await.unwrap()), Ok(rounds));
    hears(&redis, &mut heard).await;
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_short_idle_limit_closes_no_connection_that_is_kept() {
    let server = RedisServer::start_with(gateway_redis::testing::free_port(), &["--timeout", "2"]);
    let redis = connected(&patient(server.port())).await;
    let ids = || {
        let list = server.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
        let mut ids: Vec<_> = list
            .lines()
            .filter(|line| !line.contains("cmd=client"))
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect();
        ids.sort_unstable();
        ids
    };
    redis.run(set(&redis, "a", 0)).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    let before = ids();
    assert_eq!(before.len(), 4);
    for n in 0..3 {
        sleep(Duration::from_secs(3)).await;
        redis.run(set(&redis, "a", n)).await.unwrap();
    }
    assert_eq!(ids(), before, "the same connections");
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_closed_as_idle_are_made_anew_for_the_command_that_needs_one() {
    let server = RedisServer::start();
    let redis = connected(&gateway_config::Redis {
        idle_timeout: Duration::from_secs(3_600),
        ..patient(server.port())
    })
    .await;
    for n in 0..20 {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        redis.run(set(&redis, "a", n)).await.unwrap();
    }
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_reply_was_lost_is_sent_again_only_if_that_is_harmless() {
    let server = RedisServer::start();
    let proxy = LosingProxy::start(server.port()).await.unwrap();
    let redis = connected(&patient(proxy.port())).await;
    proxy.lose_reply_to("call-7");
    let once = Command::script(&ADD_ONCE_BY, &["{n}:calls", "{n}:sum"]).arg("call-7");
    assert_eq!(read::<u32>(redis.run(once).await.unwrap()), Ok(1));
    assert_eq!(proxy.lost(), 1);
    // The server knows the script, so that the reply that is lost is its own.
    redis.run(add(&redis, "counted")).await.unwrap();
    proxy.lose_reply_to("counted");
    let lost = redis.run(add(&redis, "counted")).await;
    assert!(matches!(lost, Err(RedisError::Unavailable(_))), "{lost:?}");
    assert_eq!(proxy.lost(), 2);
    assert_eq!(
        read::<u32>(redis.run(get(&redis, "counted")).await.unwrap()),
        Ok(2)
    );
    // The same in a pipeline: what is harmless is sent again, the rest is not.
    proxy.lose_reply_to("counted");
    let mut replies = redis
        .run_all(vec![
            set(&redis, "b", 5),
            add(&redis, "counted"),
            get(&redis, "b"),
        ])
        .await
        .into_iter();
    assert!(replies.next().unwrap().is_ok());
    assert!(replies.next().unwrap().is_err());
    assert_eq!(read::<u32>(replies.next().unwrap().unwrap()), Ok(5));
    assert_eq!(
        read::<u32>(redis.run(get(&redis, "counted")).await.unwrap()),
        Ok(3)
    );
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_with_a_script_is_waited_for_a_moment() {
    let port = gateway_redis::testing::free_port();
    let server = RedisServer::start_with(port, &["--lua-time-limit", "10"]);
    let redis = connected(&patient(server.port())).await;
    let endless = std::thread::spawn({
        let mut cli = std::process::Command::new("redis-cli");
        cli.args(["-p", &port.to_string(), "EVAL", "while true do end", "0"]);
        move || cli.output().unwrap()
    });
    while !server.cli(&["PING"]).contains("BUSY") {
        sleep(Duration::from_millis(5)).await;
    }
    let written = tokio::spawn({
        let redis = redis.clone();
        async move { redis.run(set(&redis, "a", 1)).await }
    });
    sleep(Duration::from_millis(200)).await;
    server.cli(&["SCRIPT", "KILL"]);
    written.await.unwrap().unwrap();
    endless.join().unwrap();
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_to_the_nodes_of_a_cluster_may_be_closed_too() {
    let cluster = tokio::task::spawn_blocking(ClusterSet::start).await.unwrap();
    let redis = connected(&gateway_config::Redis {
        cluster_nodes: cluster.addresses(),
        ..patient(1)
    })
    .await;
    let keys: Vec<_> = (0..30).map(|n| format!("k{n}")).collect();
    for round in 0..20 {
        for server in &cluster.servers {
            server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        for key in &keys {
            redis.run(set(&redis, key, round)).await.expect("a write");
        }
        let gets = keys.iter().map(|key| get(&redis, key)).collect();
        for reply in redis.run_all(gets).await {
            assert_eq!(read::<u32>(reply.expect("a read")), Ok(round));
        }
    }
    redis.close().await;
}
