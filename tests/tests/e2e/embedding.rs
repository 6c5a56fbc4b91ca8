//! The gateway inside another program: handlers of its own, pushes, figures, bounds.

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::{Code, DeviceId, Platform, PushBody, UserId};
use gateway_config::{Config, Secret};
use gateway_server::{CommandAnswer, CommandError, Gateway, GatewayBuilder, GatewayHandle, Phase};
use gateway_tests::WsClient;
use gateway_tests::stack::SECRET;
use gateway_tests::token::{claims, token};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn config() -> Config {
    let mut config = Config::for_dev();
    config.server.host = [127, 0, 0, 1].into();
    (
        config.server.websocket_port,
        config.server.http_port,
        config.server.grpc_port,
    ) = (0, 0, 0);
    config.auth.jwt_secret = Some(Secret::new(SECRET));
    config
}

struct Running {
    handle: GatewayHandle,
    websocket: std::net::SocketAddr,
    tasks: JoinSet<bool>,
}

impl Running {
    async fn start(builder: GatewayBuilder) -> Self {
        let gateway = builder.build().await.unwrap();
        let (handle, websocket) = (gateway.handle(), gateway.addresses().websocket);
        assert!(!handle.is_running());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { gateway.run(CancellationToken::new()).await.is_ok() });
        handle
            .phase()
            .wait_for(|phase| *phase == Phase::Serving)
            .await
            .unwrap();
        Self {
            handle,
            websocket,
            tasks,
        }
    }

    async fn client(&self, user: &str, device: &str) -> WsClient {
        let token = token(&claims(user, device, "android"));
        let mut client = WsClient::connect(self.websocket, &format!("/ws?token={token}"), &[])
            .await
            .unwrap();
        client.notice("welcome").await;
        client
    }

    async fn stop(mut self) {
        assert!(self.handle.is_running());
        self.handle.stop();
        assert_eq!(self.tasks.join_next().await.unwrap().ok(), Some(true));
        assert!(!self.handle.is_running());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_handler_answers_its_command() {
    let builder = Gateway::builder(config())
        .on_command(9001, |command| async move {
            let user = command.user_id.map(|user| user.to_string());
            Ok(CommandAnswer::json(
                &json!({"user": user, "data": String::from_utf8_lossy(&command.data)}),
            ))
        })
        .on_command(9002, |_| async {
            Err(CommandError {
                code: Code::Conflict,
                message: "not twice".into(),
            })
        })
        .on_command(9003, |_| async { panic!("a handler's own mistake") });
    let running = Running::start(builder).await;
    let mut client = running.client("alice", "d1").await;
    let reply = client.command(9001, &json!({"x": 1})).await;
    assert_eq!(
        (&reply["code"], &reply["data"]["user"]),
        (&json!(200), &json!("alice")),
        "{reply}"
    );
    assert_eq!(reply["data"]["data"], "{\"x\":1}");
    let refused = client.command(9002, &json!({})).await;
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!(409), &json!("not twice"))
    );
    assert_eq!(client.command(9003, &json!({})).await["code"], 500);
    assert!(client.is_alive().await, "a handler that panics harms nobody");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_run_within_their_bounds() {
    let mut config = config();
    config.processing.max_concurrent_tasks = 1;
    config.processing.task_queue_size = 1;
    config.processing.task_timeout = Duration::from_millis(500);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let builder = Gateway::builder(config).on_command(9001, move |_| {
        let gate = held.clone();
        async move {
            let _open = gate.acquire().await;
            Ok(CommandAnswer::default())
        }
    });
    let running = Running::start(builder).await;
    let mut client = running.client("alice", "d1").await;
    let mut seqs = Vec::new();
    for _ in 0..3 {
        seqs.push(client.send_command(9001, &json!({})).await);
    }
    assert_eq!(
        client.reply(seqs[2]).await["code"],
        503,
        "one runs, one waits, one is too many"
    );
    assert_eq!(client.reply(seqs[0]).await["code"], 504);
    gate.add_permits(10);
    assert!([200, 504].contains(&client.reply(seqs[1]).await["code"].as_u64().unwrap()));
    assert_eq!(
        client.command(9001, &json!({})).await["code"],
        200,
        "the bound is free again"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_pushes_counts_and_stops() {
    let running = Running::start(Gateway::builder(config())).await;
    let mut one = running.client("alice", "d1").await;
    let mut two = running.client("alice", "d2").await;
    assert_eq!(running.handle.online_count(), 2);
    assert_eq!(
        (running.handle.stats().total, running.handle.stats().unique_users),
        (2, 1)
    );
    let alice = UserId::parse("alice").unwrap();
    let body = |content: &str| PushBody {
        content: content.into(),
        ..PushBody::default()
    };
    let report = running.handle.push_to_user(alice.clone(), body("both")).await;
    assert_eq!(report.outcomes.len(), 2);
    assert_eq!(one.push().await["data"]["content"], "both");
    assert_eq!(two.push().await["data"]["content"], "both");
    let device = DeviceId::parse("d2").unwrap();
    running
        .handle
        .push_to_device(alice, device, Platform::parse("android").unwrap(), body("one"))
        .await;
    assert_eq!(two.push().await["data"]["content"], "one");
    assert!(one.no_push_for(Duration::from_millis(300)).await);
    running.stop().await;
    assert_eq!(one.closed().await.0, 1012, "sent away, to come back");
}
