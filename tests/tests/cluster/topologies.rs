//! Three gateways on Redis by Sentinel, through a failover, and on a Redis Cluster.

use gateway_redis::testing::{ClusterSet, SentinelSet};
use gateway_tests::cluster::until;
use gateway_tests::token::{claims, token};
use gateway_tests::{ClusterStack, WsClient};
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

/// Users and devices whose ids hold what separates parts of a key: the keys of each lie in one slot all the same, and every
/// node finds them.
async fn finds_any_id(stack: &ClusterStack) {
    for id in ["}{a}", "{b}", "urn:user:42", "Pixel 7 Pro", "50%20 off", "用户😀"] {
        let token = token(&claims(id, id, "android"));
        let path = format!("/ws?token={token}");
        let mut client = WsClient::connect(stack.nodes[0].websocket, &path, &[])
            .await
            .unwrap();
        assert_eq!(
            client.notice("welcome").await["data"]["authenticated"],
            true,
            "{id}"
        );
        let push = json!({"user_id": id, "device_id": id, "platform": "android", "content": "hi"});
        let pushed = stack.nodes[1].push(&push).await;
        assert_eq!(pushed["outcomes"][0]["device_id"], id, "{pushed}");
        assert_eq!(client.push().await["data"]["content"], "hi");
        until("on the list of another node", async || {
            let page = stack.nodes[2].admin("/api/connections/online").await;
            page["users"][0]["user_id"] == id && page["users"][0]["sessions"][0]["device_id"] == id
        })
        .await;
        let mut again = WsClient::connect(stack.nodes[2].websocket, &path, &[])
            .await
            .unwrap();
        assert_eq!(
            again.notice("welcome").await["data"]["authenticated"],
            true,
            "{id}"
        );
        assert_eq!(client.closed().await.0, 4410, "{id}");
        again.close().await;
        until("off the list", async || {
            stack.nodes[1].admin("/api/connections/online").await["users"] == json!([])
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_on_a_redis_cluster() {
    let set = tokio::task::spawn_blocking(ClusterSet::start).await.unwrap();
    let section = json!({"cluster_nodes": set.addresses()});
    let stack = ClusterStack::start_on(3, section, json!({})).await;
    finds_any_id(&stack).await;
    works(&stack, 1).await;
    works(&stack, 2).await;
}
