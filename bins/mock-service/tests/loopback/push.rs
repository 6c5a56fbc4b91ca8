//! The push service against a gateway that notes what it is asked.

use std::sync::{Arc, Mutex};

use gateway_codec::proto::{
    gateway::{
        BroadcastRequest, BroadcastResponse, DeviceOutcome, DevicePresence, KickRequest, KickResponse,
        Outcome, PresenceRequest, PresenceResponse, PushRequest, PushResponse, PushType, UserPresence,
        gateway_server::{Gateway, GatewayServer},
    },
    im::{base::ImHeader, push},
};
use mock_service::Options;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::bench::Bench;

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<PushRequest>>>);

fn admitted<T>(request: Request<T>) -> Result<T, Status> {
    if request
        .metadata()
        .get("x-api-key")
        .is_none_or(|key| key != "right")
    {
        return Err(Status::unauthenticated("key"));
    }
    Ok(request.into_inner())
}

#[tonic::async_trait]
impl Gateway for Notes {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let request = admitted(request)?;
        let order = request.order.clone().unwrap_or_default();
        self.0.lock().unwrap().push(request);
        let outcome = |user_id: String| DeviceOutcome {
            user_id,
            device_id: "d".into(),
            platform: "web".into(),
            outcome: Outcome::Acked.into(),
        };
        let outcomes = order.user_ids.into_iter().map(outcome).collect();
        Ok(Response::new(PushResponse {
            push_id: order.push.unwrap_or_default().push_id,
            outcomes,
        }))
    }

    async fn broadcast(
        &self,
        request: Request<BroadcastRequest>,
    ) -> Result<Response<BroadcastResponse>, Status> {
        let push_id = admitted(request)?.push.unwrap_or_default().push_id;
        Ok(Response::new(BroadcastResponse {
            push_id,
            queued: 3,
            slow: 0,
        }))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        admitted(request)?;
        Ok(Response::new(KickResponse { kicked: 2 }))
    }

    async fn presence(
        &self,
        request: Request<PresenceRequest>,
    ) -> Result<Response<PresenceResponse>, Status> {
        let users = admitted(request)?
            .user_ids
            .into_iter()
            .map(|user_id| UserPresence {
                user_id,
                devices: vec![DevicePresence {
                    device_id: "d".into(),
                    ..DevicePresence::default()
                }],
            });
        Ok(Response::new(PresenceResponse {
            users: users.collect(),
        }))
    }
}

async fn bench(key: &str) -> (Bench, Notes) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = format!("http://{}", listener.local_addr().unwrap());
    let notes = Notes::default();
    let server = Server::builder().add_service(GatewayServer::new(notes.clone()));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let service_key = Some(key.to_owned());
    (
        Bench::with(Options {
            gateway,
            service_key,
            ..Options::default()
        })
        .await,
        notes,
    )
}

#[tokio::test]
async fn a_system_push_goes_to_the_gateway_and_its_outcomes_come_back() {
    let (bench, notes) = bench("right").await;
    let data = json!({"user_ids": ["alice", "bob"], "content": "maintenance", "wait_ms": 50});
    let pushed = bench.json("admin", 5004, data).await;
    assert_eq!(pushed.code, 200, "{}", pushed.reply.message);
    assert_eq!(
        pushed.data["outcomes"][1],
        json!({"user_id": "bob", "device_id": "d", "platform": "web", "outcome": "acked"})
    );
    let asked = notes.0.lock().unwrap().remove(0);
    let order = asked.order.unwrap();
    let push = order.push.unwrap();
    assert_eq!(
        (asked.wait_ms, push.r#type(), order.user_ids.len()),
        (50, PushType::System, 2)
    );
    assert_eq!(pushed.data["push_id"], push.push_id);

    let all = bench
        .json("admin", 5004, json!({"all": true, "content": "x"}))
        .await;
    assert_eq!(all.data["queued"], 3);
    assert_eq!(
        bench.json("admin", 5101, json!({"user_id": "bob"})).await.data,
        json!({"kicked": 2})
    );
    let seen = bench.json("admin", 5102, json!({"user_ids": ["carol"]})).await;
    assert_eq!(seen.data["users"][0]["user_id"], "carol");

    let header = ImHeader {
        to_uid: "carol".into(),
        ..ImHeader::default()
    };
    let body = push::PushMessageBody {
        content: "hi".into(),
        ..push::PushMessageBody::default()
    };
    let request = push::PushRequest {
        header: Some(header),
        body: Some(body),
    };
    let reply = bench
        .protobuf("admin", 5002, "im.push.PushRequest", request)
        .await;
    assert_eq!(
        (reply.code, reply.type_name.as_str()),
        (200, "im.push.PushResponse")
    );
    assert_eq!(
        notes.0.lock().unwrap()[0].order.as_ref().unwrap().user_ids,
        ["carol"]
    );
}

#[tokio::test]
async fn who_may_not_push_or_says_nothing_is_refused() {
    let (bench, notes) = bench("right").await;
    for (user, data, code) in [
        ("", json!({"user_ids": ["bob"], "content": "x"}), 401),
        ("alice", json!({"user_ids": ["bob"], "content": "x"}), 403),
        ("admin", json!({"user_ids": [], "content": "x"}), 400),
        ("admin", json!({"user_ids": ["bob"], "content": ""}), 400),
        (
            "admin",
            json!({"user_ids": ["bob"], "content": "x", "wait_ms": 30_001}),
            400,
        ),
    ] {
        assert_eq!(bench.json(user, 5002, data).await.code, code);
    }
    assert!(notes.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_gateway_that_is_away_or_refuses_the_key_is_503() {
    let (bench, _notes) = bench("wrong").await;
    let data = json!({"user_ids": ["bob"], "content": "x"});
    assert_eq!(bench.json("admin", 5002, data.clone()).await.code, 503);

    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let away = Bench::with(Options {
        gateway: format!("http://{gone}"),
        ..Options::default()
    })
    .await;
    assert_eq!(away.json("admin", 5002, data).await.code, 503);
}
