//! Nodes that know each other by certificates, and what a back end's certificate is good for.

use gateway_codec::proto::cluster::Batch;
use gateway_codec::proto::cluster::peer_client::PeerClient;
use gateway_codec::proto::gateway::gateway_client::GatewayClient;
use gateway_codec::proto::gateway::{Outcome, Push, PushOrder, PushRequest};
use gateway_tests::ClusterStack;
use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use gateway_tests::tls::{Authority, Certified, channel, client_config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

const NODE: &str = "node.mychat.test";
const BACK_END: &str = "push.mychat.test";

/// An authority, what it has signed, and the configuration of nodes that trust it.
struct Ground {
    authority: Authority,
    back_end: Certified,
    node: Certified,
    files: TempDir,
}

impl Ground {
    fn new() -> Self {
        let authority = Authority::new();
        let files = tempfile::tempdir().unwrap();
        let node = authority.certify(&[NODE, "n.example.test"]);
        node.write(files.path(), "node");
        std::fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
        Self {
            back_end: authority.certify(&[BACK_END]),
            authority,
            node,
            files,
        }
    }

    fn config(&self) -> Value {
        let file = |name: &str| self.files.path().join(name);
        json!({
            "server": {"grpc_tls": {
                "cert_path": file("node.pem"), "key_path": file("node.key"), "client_ca_path": file("ca.pem"),
            }},
            "cluster": {"secret": null, "certificate_name": NODE},
            "auth": {"service_certificates": [BACK_END]},
        })
    }
}

fn order(user: &str) -> PushRequest {
    let push = Push {
        content: "hello".into(),
        ..Push::default()
    };
    PushRequest {
        order: Some(PushOrder {
            push: Some(push),
            user_ids: vec![user.to_owned()],
            device: None,
        }),
        wait_ms: 0,
    }
}

/// Says that it is a node, and may be refused.
async fn link(channel: tonic::transport::Channel) -> Result<(), Status> {
    let mut request = Request::new(tokio_stream::pending::<Batch>());
    for (name, value) in [("x-node", "n9"), ("x-boot", "0")] {
        request
            .metadata_mut()
            .insert(name, MetadataValue::from_static(value));
    }
    PeerClient::new(channel).link(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_know_each_other_by_certificates_alone() {
    let ground = Ground::new();
    let stack = ClusterStack::start_with(3, ground.config()).await;
    let mut alice = stack.nodes[0].login("alice", "phone", "ios").await;
    let mut bob = stack.nodes[2].login("bob", "phone", "ios").await;

    let sent = alice
        .command(2001, &json!({"to_user": "bob", "content": "over two nodes"}))
        .await;
    assert_eq!(sent["code"], 200, "{sent}");
    let push = bob.push_and_ack().await;
    assert!(push["data"].to_string().contains("over two nodes"), "{push}");

    // A back end with a certificate needs no key, at whatever node; its push goes where the user is.
    let config = client_config(&ground.authority.pem(), Some(&ground.back_end));
    let to_second = channel(stack.nodes[1].grpc, NODE, &config).await.unwrap();
    let report = GatewayClient::new(to_second.clone())
        .push(order("bob"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(report.outcomes.len(), 1);
    assert_eq!(report.outcomes[0].outcome(), Outcome::Queued, "{report:?}");
    let push = bob.push_and_ack().await;
    assert!(push["data"].to_string().contains("hello"), "{push}");

    // It makes no node of it.
    let refused = link(to_second).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_turned_away_and_nobody_is_more_than_the_name_says() {
    let ground = Ground::new();
    let stack = ClusterStack::start_with(1, ground.config()).await;
    let grpc = stack.nodes[0].grpc;
    let ours = ground.authority.pem();

    // The same names, signed by somebody else: the handshake ends.
    let strangers = Authority::new();
    for names in [&[NODE][..], &[BACK_END]] {
        let config = client_config(&ours, Some(&strangers.certify(names)));
        let called = match channel(grpc, NODE, &config).await {
            Ok(channel) => GatewayClient::new(channel).push(order("bob")).await.map(drop),
            Err(error) => Err(Status::unavailable(error.to_string())),
        };
        // The client finds its connection ended; no service has answered.
        let code = called.unwrap_err().code();
        assert!(
            !matches!(code, Code::Unauthenticated | Code::PermissionDenied),
            "{code:?}"
        );
    }
    assert!(
        stack
            .counter(0, "gateway_stream_handshakes_total{result=\"failed\"}")
            .await
            >= 2.0
    );

    // A certificate of ours with no name that means anything, wildcards among them.
    for names in [&["other.mychat.test"][..], &["*.mychat.test"]] {
        let config = client_config(&ours, Some(&ground.authority.certify(names)));
        let channel = channel(grpc, NODE, &config).await.unwrap();
        let push = GatewayClient::new(channel.clone()).push(order("bob")).await;
        assert_eq!(push.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(link(channel).await.unwrap_err().code(), Code::Unauthenticated);
    }

    // A node is no back end. A caller without a certificate needs a key, and is no node with it.
    let config = client_config(&ours, Some(&ground.node));
    let as_node = channel(grpc, NODE, &config).await.unwrap();
    let push = GatewayClient::new(as_node.clone()).push(order("bob")).await;
    assert_eq!(push.unwrap_err().code(), Code::Unauthenticated);
    link(as_node).await.unwrap();
    let bare = channel(grpc, NODE, &client_config(&ours, None)).await.unwrap();
    let mut gateway = GatewayClient::new(bare.clone());
    assert_eq!(
        gateway.push(order("bob")).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut keyed = Request::new(order("bob"));
    keyed
        .metadata_mut()
        .insert("x-api-key", MetadataValue::from_static(SERVICE_KEY));
    gateway.push(keyed).await.unwrap();
    assert_eq!(link(bare).await.unwrap_err().code(), Code::Unauthenticated);

    // Without TLS nothing is answered.
    let plain = GatewayClient::connect(format!("http://{grpc}")).await;
    let called = match plain {
        Ok(mut gateway) => gateway.push(order("bob")).await.map(drop).is_err(),
        Err(_) => true,
    };
    assert!(called);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_while_nodes_run() {
    let ground = Ground::new();
    let stack = ClusterStack::start_with(2, ground.config()).await;
    let next = Authority::new();
    let trusts_next = client_config(&next.pem(), Some(&next.certify(&[BACK_END])));
    channel(stack.nodes[0].grpc, NODE, &trusts_next)
        .await
        .expect_err("nobody trusts the next authority yet");

    // First both are trusted, then the nodes show the new one.
    let both = format!("{}{}", ground.authority.pem(), next.pem());
    std::fs::write(ground.files.path().join("ca.pem"), both).unwrap();
    next.certify(&[NODE]).write(ground.files.path(), "node");
    let answer = stack.nodes[0]
        .client()
        .post(
            "/api/system/reload",
            &[("x-api-key", ADMIN_KEY)],
            &json!({"config_type": "auth"}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for node in &stack.nodes {
        assert!(
            node.process.says("certificates have changed").await,
            "{}",
            node.name
        );
        let channel = channel(node.grpc, NODE, &trusts_next).await.unwrap();
        GatewayClient::new(channel).push(order("bob")).await.unwrap();
    }
    // Those who show the old one are still let in.
    let mut bob = stack.nodes[1].login("bob", "phone", "ios").await;
    let config = client_config(&next.pem(), Some(&ground.back_end));
    let channel = channel(stack.nodes[0].grpc, NODE, &config).await.unwrap();
    GatewayClient::new(channel).push(order("bob")).await.unwrap();
    bob.push_and_ack().await;

    // A file that does not hold changes nothing.
    std::fs::write(ground.files.path().join("node.pem"), "no certificate").unwrap();
    stack.nodes[0]
        .client()
        .post(
            "/api/system/reload",
            &[("x-api-key", ADMIN_KEY)],
            &json!({"config_type": "auth"}),
        )
        .await;
    assert!(stack.nodes[0].process.says("holds no certificate in PEM").await);
    gateway_tests::tls::channel(stack.nodes[0].grpc, NODE, &trusts_next)
        .await
        .unwrap();
}
