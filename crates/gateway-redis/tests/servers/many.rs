//! More than one server: Sentinel and Cluster.

use gateway_redis::testing::{ClusterSet, SentinelSet};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_new_master_is_written_to_and_heard() {
    let mut set_of = tokio::task::spawn_blocking(SentinelSet::start).await.unwrap();
    let redis = connected(&gateway_config::Redis {
        sentinel_nodes: set_of.addresses(),
        ..settings(1)
    })
    .await;
    speaks(&redis, || ()).await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    set_of.kill_master();
    let end = Instant::now() + Duration::from_secs(20);
    while redis.run(set(&redis, "after", 1)).await.is_err() {
        assert!(Instant::now() < end, "no master in time");
        sleep(Duration::from_millis(50)).await;
    }
    hears(&redis, &mut heard).await;
    // A sentinel that hangs holds up nothing.
    set_of.sentinels[0].signal("STOP");
    let other = connected(&gateway_config::Redis {
        sentinel_nodes: set_of.addresses(),
        ..settings(1)
    })
    .await;
    assert_eq!(read::<u32>(other.run(get(&other, "after")).await.unwrap()), Ok(1));
    other.close().await;
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_spoken_to_over_all_its_slots() {
    let mut cluster = tokio::task::spawn_blocking(ClusterSet::start).await.unwrap();
    let redis = connected(&gateway_config::Redis {
        cluster_nodes: cluster.addresses(),
        ..settings(1)
    })
    .await;
    speaks(&redis, || {
        for server in &cluster.servers {
            server.cli(&["SCRIPT", "FLUSH"]);
        }
    })
    .await;
    let mut heard = news(&redis);
    hears(&redis, &mut heard).await;
    let keys: Vec<_> = (0..500).map(|n| format!("k{n}")).collect();
    let sets = keys.iter().zip(0..).map(|(key, n)| set(&redis, key, n)).collect();
    assert!(redis.run_all(sets).await.iter().all(Result::is_ok));
    let gets = || keys.iter().map(|key| get(&redis, key)).collect();
    for (n, reply) in redis.run_all(gets()).await.into_iter().enumerate() {
        assert_eq!(read::<usize>(reply.unwrap()), Ok(n));
    }
    let tagged = [redis.key("{u}:a"), redis.key("{u}:b")];
    let both = Command::script(&BOTH, &[&tagged[0], &tagged[1]]).arg("v");
    assert_eq!(read::<String>(redis.run(both).await.unwrap()), Ok("v".to_owned()));
    a_slot_moves(&cluster, &redis).await;

    // A master is lost: what others own is answered, then all is.
    let lost = cluster.servers.remove(0);
    let begun = Instant::now();
    drop(lost);
    let replies = redis.run_all(gets()).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let answered = replies.iter().filter(|reply| reply.is_ok()).count();
    assert!((200..500).contains(&answered), "{answered}");
    assert!(redis.is_available());
    let end = Instant::now() + Duration::from_secs(20);
    while !redis.run_all(gets()).await.iter().all(Result::is_ok) {
        assert!(Instant::now() < end, "no failover in time");
        sleep(Duration::from_millis(100)).await;
    }
    hears(&redis, &mut heard).await;
    redis.close().await;
}

static BOTH: Script = Script::new(
    "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1]) return redis.call('GET', KEYS[2])",
);

/// What belongs to a slot is found while it moves, and when it has.
async fn a_slot_moves(cluster: &ClusterSet, redis: &Redis) {
    let key = redis.key("moving");
    let slot = cluster.servers[0].cli(&["CLUSTER", "KEYSLOT", &key]);
    let slot = slot.trim();
    let masters = &cluster.servers[..3];
    let owns = |place: &usize| !masters[*place].cli(&["GET", &key]).contains("MOVED");
    let from = (0..3).find(owns).unwrap();
    let (from, to) = (&masters[from], &masters[(from + 1) % 3]);
    let id = |server: &RedisServer| server.cli(&["CLUSTER", "MYID"]).trim().to_owned();
    to.cli(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(from)]);
    from.cli(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(to)]);
    redis.run(set(redis, "moving", 1)).await.unwrap();
    assert_eq!(read::<u32>(redis.run(add(redis, "moving")).await.unwrap()), Ok(2));
    for server in [to, from] {
        server.cli(&["CLUSTER", "SETSLOT", slot, "NODE", &id(to)]);
    }
    assert_eq!(read::<u32>(redis.run(get(redis, "moving")).await.unwrap()), Ok(2));
    assert_eq!(to.cli(&["GET", &key]).trim().trim_matches('"'), "2");
}
