//! Nothing that was answered 200 is lost, whatever single node or Redis dies, hangs, fails over or comes back meanwhile.
//!
//! `CHAOS_ROUNDS` makes it longer than the one round that CI plays.

use std::time::Duration;

use gateway_client::ReconnectPolicy;
use gateway_redis::testing::{RedisServer, SentinelSet};
use gateway_tests::ClusterStack;
use gateway_tests::balancer::Balancer;
use gateway_tests::crowd::{Account, Crowd, Habits};
use gateway_tests::stack::free_port;
use serde_json::json;
use tokio::time::sleep;

/// Longer than a lease.
const CALM: Duration = Duration::from_secs(4);

fn rounds() -> usize {
    let rounds = std::env::var("CHAOS_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

async fn crowd(balancer: &Balancer) -> Crowd {
    let habits = Habits {
        clients: 200,
        pause: Duration::from_secs(1),
        silence: Duration::from_secs(6),
        policy: ReconnectPolicy {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(2),
            attempts: None,
        },
    };
    Crowd::start(balancer.address(), habits).await
}

/// A node dies, and another process takes its place.
async fn a_node_dies(stack: &mut ClusterStack, balancer: &Balancer) {
    stack.nodes[1].process.signal("KILL").await;
    sleep(CALM).await;
    let reborn = stack.launch("n1", free_port()).await;
    stack.nodes[1] = reborn;
    balancer.set(&stack.nodes);
    sleep(CALM).await;
}

/// A node hangs for longer than its lease.
async fn a_node_hangs(stack: &ClusterStack) {
    stack.nodes[2].process.signal("STOP").await;
    sleep(CALM).await;
    stack.nodes[2].process.signal("CONT").await;
    sleep(CALM).await;
}

async fn promises_are_kept(crowd: Crowd, rounds: usize) {
    let account: Account = crowd.account(Duration::from_secs(30)).await;
    println!("{account}");
    assert!(
        account.promised > 1_000 * rounds,
        "too little was promised to show anything"
    );
    assert_eq!(account.lost, [], "lost");
    assert_eq!(account.known_ids, 0, "again under a known push id");
    assert_eq!(account.twice, 0, "one message under two push ids");
    assert!(account.given_up.is_empty(), "{account}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_while_nodes_and_redis_die_hang_and_return() {
    let mut stack = ClusterStack::start(3).await;
    let balancer = Balancer::start(&stack.nodes).await;
    let crowd = crowd(&balancer).await;
    for _ in 0..rounds() {
        sleep(CALM).await;
        a_node_dies(&mut stack, &balancer).await;
        a_node_hangs(&stack).await;
        // Redis dies and comes back empty.
        let port = stack.redis.take().unwrap().kill();
        sleep(Duration::from_secs(2)).await;
        stack.redis = Some(RedisServer::start_on(port));
        sleep(CALM).await;
    }
    promises_are_kept(crowd, rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_while_redis_fails_over_and_nodes_die_and_hang() {
    let mut set = tokio::task::spawn_blocking(SentinelSet::start).await.unwrap();
    let section = json!({"sentinel_nodes": set.addresses()});
    let mut stack = ClusterStack::start_on(3, section, json!({})).await;
    let balancer = Balancer::start(&stack.nodes).await;
    let crowd = crowd(&balancer).await;
    for _ in 0..rounds() {
        sleep(CALM).await;
        set = fails_over(set).await;
        sleep(CALM).await;
        a_node_dies(&mut stack, &balancer).await;
        set = fails_over(set).await;
        a_node_hangs(&stack).await;
    }
    promises_are_kept(crowd, rounds()).await;
    drop(set);
}

/// The master dies, a replica takes its place, and a new replica that of the replica.
async fn fails_over(mut set: SentinelSet) -> SentinelSet {
    let failing = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        set.failover();
        println!("failed over to port {} in {:.1?}", set.master(), begun.elapsed());
        set.add_replica();
        set
    });
    failing.await.unwrap()
}
