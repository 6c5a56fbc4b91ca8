//! Pushes across nodes.

use std::time::Duration;

use gateway_tests::cluster::until;
use gateway_tests::gate::Gate;
use gateway_tests::stack::free_port;
use gateway_tests::{ClusterStack, WsClient};
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_a_session_that_its_node_does_not_know_yet_is_not_left_in_the_box() {
    let mut stack = ClusterStack::start(1).await;
    let redis = stack.redis.as_ref().unwrap().port();
    let gate = Gate::before(([127, 0, 0, 1], redis).into()).await;
    let behind = stack
        .launch_with("n1", free_port(), json!({"redis": {"port": gate.port()}}))
        .await;
    stack.nodes.push(behind);
    stack.nodes[1].ready().await;
    stack.linked(2).await;
    let mut alice = stack.nodes[0].login("alice", "d", "web").await;
    let mut bob = WsClient::connect(stack.nodes[1].websocket, "/ws?ack=1", &[])
        .await
        .unwrap();
    bob.notice("welcome").await;

    // Redis has the session, and its node has not been told yet.
    gate.close_at("user:sessions:{bob}");
    bob.send(
        &json!({"cmd_id": 1001, "seq": 1, "device_id": "d", "platform": "web",
        "data": {"username": "bob", "password": "password"}}),
    )
    .await;
    until("bob is bound", async || {
        let redis = stack.redis.as_ref().unwrap();
        redis.cli(&["EXISTS", "mychat:user:sessions:{bob}"]).trim() == "1"
    })
    .await;
    // The box takes so long to keep the push that bob asks it before.
    assert_eq!(
        alice.command(2999, &json!({"latency_ms": 1500})).await["code"],
        200
    );
    let before = stack.counter(1, "gateway_peer_deliveries_total").await;
    let body = json!({"user_ids": ["bob"], "content": "meanwhile"});
    let pushing = stack.nodes[0].push(&body);
    let binding = async {
        until("n1 has refused the push", async || {
            stack.counter(1, "gateway_peer_deliveries_total").await > before
        })
        .await;
        assert_eq!(alice.command(2999, &json!({"latency_ms": 0})).await["code"], 200);
        gate.open();
        assert_eq!(bob.reply(1).await["code"], 200);
    };
    let (report, ()) = tokio::join!(pushing, binding);
    assert_eq!(outcomes(&report), ["offline"]);
    assert_eq!(bob.push_and_ack().await["data"]["content"], "meanwhile");
}
