//! Pushes across nodes.

use std::time::Duration;

use gateway_tests::ClusterStack;
use serde_json::{Value, json};

fn outcomes(report: &Value) -> Vec<&str> {
    let all = report["outcomes"].as_array().unwrap();
    let mut outcomes: Vec<_> = all.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_its_user_on_another_node_in_order_and_each_device_has_an_outcome() {
    let stack = ClusterStack::start(3).await;
    let mut alice = stack.nodes[0].login("alice", "d", "web").await;
    let mut web = stack.nodes[1].login("bob", "w", "web").await;
    let mut phone = stack.nodes[2].login("bob", "p", "android").await;
    for n in 0..20 {
        let sent = alice
            .command(2001, &json!({"to_user": "bob", "content": format!("{n}")}))
            .await;
        assert_eq!(
            (&sent["code"], &sent["data"]["status"]),
            (&json!(200), &json!("sent"))
        );
    }
    for client in [&mut web, &mut phone] {
        for n in 0..20 {
            assert_eq!(client.push_and_ack().await["data"]["content"], format!("{n}"));
        }
    }
    let body = json!({"user_ids": ["bob"], "content": "x", "push_id": "p-1", "wait_ms": 5000});
    let pushing = stack.nodes[0].push(&body);
    let taking = async {
        tokio::join!(web.push_and_ack(), phone.push_and_ack());
    };
    let (report, ()) = tokio::join!(pushing, taking);
    assert_eq!(outcomes(&report), ["acked", "acked"]);
    // The same push by another node is made once; that node tells what it knows of it.
    let again = stack.nodes[1].push(&body).await;
    assert_eq!(outcomes(&again), ["acked"]);
    assert!(web.no_push_for(Duration::from_millis(300)).await);
    assert!(phone.no_push_for(Duration::from_millis(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_calls_the_node_that_holds_its_user_and_no_other() {
    let stack = ClusterStack::start_with(3, json!({"cluster": {"witness": false}})).await;
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    let calls = async |node: usize| stack.counter(node, "gateway_peer_deliveries_total").await;
    let before = (calls(1).await, calls(2).await);
    for n in 0..5 {
        let body = json!({"user_ids": ["bob"], "content": n.to_string()});
        assert_eq!(outcomes(&stack.nodes[0].push(&body).await), ["queued"]);
        bob.push_and_ack().await;
    }
    assert_eq!(calls(1).await - before.0, 5.0);
    assert_eq!(calls(2).await - before.1, 0.0);
    // Nobody is called for a user who is on this node, or on none.
    for user in ["bob", "carol"] {
        stack.nodes[1]
            .push(&json!({"user_ids": [user], "content": "y"}))
            .await;
    }
    assert_eq!(calls(0).await, 0.0);
    assert_eq!(calls(2).await - before.1, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_reaches_the_sessions_of_all_nodes() {
    let stack = ClusterStack::start(3).await;
    let mut clients = Vec::new();
    for (index, node) in stack.nodes.iter().enumerate() {
        clients.push(node.login(&format!("user{}", index + 1), "d", "web").await);
    }
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", stack.nodes[0].grpc))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut gateway = gateway_codec::proto::gateway::gateway_client::GatewayClient::new(channel);
    let push = gateway_codec::proto::gateway::Push {
        content: "to all".to_owned(),
        ..Default::default()
    };
    let mut request =
        tonic::Request::new(gateway_codec::proto::gateway::BroadcastRequest { push: Some(push) });
    let key = gateway_tests::stack::SERVICE_KEY.parse().unwrap();
    request.metadata_mut().insert("x-api-key", key);
    let report = gateway.broadcast(request).await.unwrap().into_inner();
    assert_eq!(report.queued, 3);
    for client in &mut clients {
        assert_eq!(client.push().await["data"]["content"], "to all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_nobody_was_there_waits_whatever_the_node() {
    let stack = ClusterStack::start(2).await;
    let mut alice = stack.nodes[0].login("alice", "d", "web").await;
    for n in 0..3 {
        let sent = alice
            .command(2001, &json!({"to_user": "bob", "content": format!("{n}")}))
            .await;
        assert_eq!(sent["data"]["status"], "offline");
    }
    let mut bob = stack.nodes[1].login("bob", "d", "web").await;
    for n in 0..3 {
        assert_eq!(bob.push_and_ack().await["data"]["content"], format!("{n}"));
    }
}
