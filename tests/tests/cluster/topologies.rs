//! Three gateways on Redis by Sentinel, through a failover, and on a Redis Cluster.

use gateway_redis::testing::{ClusterSet, SentinelSet};
use gateway_tests::ClusterStack;
use gateway_tests::cluster::until;
use serde_json::json;

/// A conversation across nodes, a login that replaces another, and the list.
async fn works(stack: &ClusterStack, round: u32) {
    let mut alice = stack.nodes[0].login("alice", &format!("d{round}"), "web").await;
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    for n in 0..5 {
        let sent = alice
            .command(
                2001,
                &json!({"to_user": "bob", "content": format!("{round} {n}")}),
            )
            .await;
        assert_eq!(sent["data"]["status"], "sent", "{sent}");
        assert_eq!(
            bob.push_and_ack().await["data"]["content"],
            format!("{round} {n}")
        );
    }
    let _again = stack.nodes[2].login("bob", "d", "web").await;
    assert_eq!(bob.closed().await.0, 4410);
    until("both on the list", async || {
        let page = stack.nodes[1].admin("/api/connections/online").await;
        page["users"].as_array().is_some_and(|users| users.len() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_on_sentinel_go_on_after_a_failover() {
    let set = tokio::task::spawn_blocking(SentinelSet::start).await.unwrap();
    let section = json!({"sentinel_nodes": set.addresses()});
    let stack = ClusterStack::start_on(3, section, json!({})).await;
    works(&stack, 1).await;
    let set = stack.fail_over(set).await;
    works(&stack, 2).await;
    drop(set);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_on_a_redis_cluster() {
    let set = tokio::task::spawn_blocking(ClusterSet::start).await.unwrap();
    let section = json!({"cluster_nodes": set.addresses()});
    let stack = ClusterStack::start_on(3, section, json!({})).await;
    works(&stack, 1).await;
    works(&stack, 2).await;
}
