//! Contract section 6, the side that back ends call: push, broadcast, kick, presence, health, reflection.

use gateway_codec::proto::gateway::gateway_client::GatewayClient;
use gateway_codec::proto::gateway::{
    BroadcastRequest, DeviceTarget, KickRequest, Outcome, PresenceRequest, Push, PushOrder, PushRequest,
};
use gateway_tests::Stack;
use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use serde_json::json;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};

async fn client(stack: &Stack) -> GatewayClient<Channel> {
    GatewayClient::connect(format!("http://{}", stack.grpc))
        .await
        .unwrap()
}

fn keyed<T>(message: T, key: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("x-api-key", MetadataValue::from_static(key));
    request
}

fn order(users: &[&str], content: &str) -> PushRequest {
    let push = Push {
        content: content.into(),
        ..Push::default()
    };
    let user_ids = users.iter().map(|user| (*user).to_owned()).collect();
    PushRequest {
        order: Some(PushOrder {
            push: Some(push),
            user_ids,
            device: None,
        }),
        wait_ms: 0,
    }
}

#[tokio::test]
async fn only_a_service_key_opens_it() {
    let stack = Stack::start().await;
    let mut gateway = client(&stack).await;
    let none = gateway.push(order(&["bob"], "x")).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated);
    let guessed = gateway
        .push(keyed(order(&["bob"], "x"), "guess"))
        .await
        .unwrap_err();
    assert_eq!(guessed.code(), Code::Unauthenticated);
    let admin = gateway
        .kick(keyed(KickRequest::default(), ADMIN_KEY))
        .await
        .unwrap_err();
    assert_eq!(admin.code(), Code::PermissionDenied);
    let presence = gateway.presence(PresenceRequest::default()).await.unwrap_err();
    assert_eq!(presence.code(), Code::Unauthenticated);
    let broadcast = gateway.broadcast(BroadcastRequest::default()).await.unwrap_err();
    assert_eq!(broadcast.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_push_tells_every_devices_outcome() {
    let stack = Stack::start().await;
    let mut gateway = client(&stack).await;
    let mut web = stack.login("bob", "w", "web").await;
    let mut phone = stack.login("bob", "p", "android").await;
    let mut request = order(&["bob", "carol"], "hello");
    request.wait_ms = 3_000;
    let report = gateway
        .push(keyed(request, SERVICE_KEY))
        .await
        .unwrap()
        .into_inner();
    assert!(!report.push_id.is_empty(), "an id was made");
    let mut outcomes: Vec<_> = report
        .outcomes
        .iter()
        .map(|one| (one.user_id.as_str(), one.device_id.as_str(), one.outcome()))
        .collect();
    outcomes.sort_unstable_by_key(|(user, device, _)| (*user, *device));
    assert_eq!(
        outcomes,
        [
            ("bob", "p", Outcome::Written),
            ("bob", "w", Outcome::Written),
            ("carol", "", Outcome::Offline)
        ]
    );
    for device in [&mut web, &mut phone] {
        assert_eq!(device.push().await["data"]["content"], "hello");
    }
    let mut carol = stack.login("carol", "w", "web").await;
    assert_eq!(
        carol.push().await["data"]["content"],
        "hello",
        "recorded, then delivered"
    );

    let device = DeviceTarget {
        user_id: "bob".into(),
        device_id: "w".into(),
        platform: "web".into(),
    };
    let push = Push {
        content: "just you".into(),
        ..Push::default()
    };
    let one = PushRequest {
        order: Some(PushOrder {
            push: Some(push),
            user_ids: vec![],
            device: Some(device),
        }),
        wait_ms: 0,
    };
    gateway.push(keyed(one, SERVICE_KEY)).await.unwrap();
    assert_eq!(web.push().await["data"]["content"], "just you");
    assert!(phone.no_push_for(std::time::Duration::from_millis(300)).await);
}

#[tokio::test]
async fn what_cannot_be_pushed_is_refused() {
    let stack = Stack::start().await;
    let mut gateway = client(&stack).await;
    let empty = gateway
        .push(keyed(PushRequest::default(), SERVICE_KEY))
        .await
        .unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
    let nobody = gateway
        .push(keyed(order(&[], "x"), SERVICE_KEY))
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::InvalidArgument);
    let many = vec!["bob"; 1_001];
    let too_many = gateway
        .push(keyed(order(&many, "x"), SERVICE_KEY))
        .await
        .unwrap_err();
    assert_eq!(too_many.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn broadcast_reaches_whoever_is_online() {
    let stack = Stack::builder().mock(&["--accounts", "5"]).start().await;
    let mut clients = Vec::new();
    for number in 1..=5 {
        clients.push(stack.login(&format!("user{number}"), "d", "web").await);
    }
    let push = Push {
        content: "to all".into(),
        ..Push::default()
    };
    let done = client(&stack)
        .await
        .broadcast(keyed(BroadcastRequest { push: Some(push) }, SERVICE_KEY))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((done.queued, done.slow), (5, 0));
    for client in &mut clients {
        assert_eq!(client.push().await["data"]["content"], "to all");
    }
}

#[tokio::test]
async fn kick_and_presence_speak_of_the_same_sessions() {
    let stack = Stack::start().await;
    let mut gateway = client(&stack).await;
    let mut alice = stack.login("alice", "w", "web").await;
    let asked = PresenceRequest {
        user_ids: vec!["alice".into(), "bob".into()],
    };
    let presence = gateway
        .presence(keyed(asked.clone(), SERVICE_KEY))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(presence.users.len(), 2);
    let device = &presence.users[0].devices[0];
    assert_eq!(
        (device.device_id.as_str(), device.platform.as_str()),
        ("w", "web")
    );
    assert_eq!(device.session_id, alice.session_id);
    assert!(device.connected_at > 0 && !device.node.is_empty());
    assert!(presence.users[1].devices.is_empty());

    let request = KickRequest {
        user_id: "alice".into(),
        reason: "bye".into(),
        ..KickRequest::default()
    };
    assert_eq!(
        gateway
            .kick(keyed(request, SERVICE_KEY))
            .await
            .unwrap()
            .into_inner()
            .kicked,
        1
    );
    assert_eq!(alice.notice("kicked").await["data"]["reason"], "bye");
    assert_eq!(alice.closed().await.0, 4411);
    let presence = gateway
        .presence(keyed(asked, SERVICE_KEY))
        .await
        .unwrap()
        .into_inner();
    assert!(presence.users[0].devices.is_empty());
}

#[tokio::test]
async fn a_back_ends_command_can_push_through_the_gateway() {
    let stack = Stack::start().await;
    let mut admin = stack.login("admin", "w", "web").await;
    let mut bob = stack.login("bob", "w", "web").await;
    let reply = admin
        .command(
            5002,
            &json!({"user_ids": ["bob"], "content": "from the push service"}),
        )
        .await;
    assert_eq!(reply["code"], 200, "{reply}");
    assert_eq!(bob.push().await["data"]["content"], "from the push service");
}

#[tokio::test]
async fn health_and_reflection_are_on_everywhere() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

    let stack = Stack::start().await;
    let mut servers = vec![("mychat.gateway.v1.Gateway", stack.grpc)];
    servers.extend(
        stack
            .services
            .iter()
            .map(|(_, address)| ("mychat.backend.v1.Backend", *address)),
    );
    for (service, address) in servers {
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        for name in ["", service] {
            let request = HealthCheckRequest { service: name.into() };
            let health = HealthClient::new(channel.clone())
                .check(request)
                .await
                .unwrap()
                .into_inner();
            assert_eq!(health.status(), ServingStatus::Serving, "{service}");
        }
        let found = reflected(channel.clone()).await;
        assert!(found.iter().any(|one| one == service), "{found:?}");
        let found = reflected_v1alpha(channel).await;
        assert!(found.iter().any(|one| one == service), "v1alpha: {found:?}");
    }
}

#[tokio::test]
async fn a_kick_may_name_one_device() {
    let stack = Stack::start().await;
    let mut one = stack.login("alice", "one", "android").await;
    let mut two = stack.login("alice", "two", "android").await;
    let request = KickRequest {
        user_id: "alice".into(),
        device_id: "one".into(),
        ..KickRequest::default()
    };
    let kicked = client(&stack)
        .await
        .kick(keyed(request, SERVICE_KEY))
        .await
        .unwrap()
        .into_inner()
        .kicked;
    assert_eq!(kicked, 1);
    assert_eq!(one.closed().await.0, 4411);
    assert!(two.is_alive().await);
}

/// The services that reflection v1 lists.
async fn reflected(channel: Channel) -> Vec<String> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(list))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(found)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services");
    };
    found.service.into_iter().map(|service| service.name).collect()
}

/// The services that reflection v1alpha lists.
async fn reflected_v1alpha(channel: Channel) -> Vec<String> {
    use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(list))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(found)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services");
    };
    found.service.into_iter().map(|service| service.name).collect()
}

#[tokio::test]
async fn compressed_requests_are_read_and_large_ones_are_refused_by_name() {
    let stack = Stack::start().await;
    let mut gateway = client(&stack).await.send_compressed(CompressionEncoding::Gzip);
    let content = "compressible ".repeat(1_000);
    let pushed = gateway
        .push(keyed(order(&["alice"], &content), SERVICE_KEY))
        .await;
    let outcomes = pushed.unwrap().into_inner().outcomes;
    assert_eq!(outcomes[0].outcome(), Outcome::Offline, "{outcomes:?}");
    let large = "x".repeat(5 << 20);
    let refused = gateway
        .push(keyed(order(&["alice"], &large), SERVICE_KEY))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("4194304"), "{refused}");
    let refused = client(&stack)
        .await
        .push(keyed(order(&["alice"], &large), SERVICE_KEY))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert!(refused.message().contains("4194304"), "{refused}");
}
