//! Start, health, reflection, end.

use std::time::{Duration, Instant};

use mock_service::{MockService, Options, ServiceKind, StartError};
use serde_json::json;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::bench::Bench;

#[tokio::test]
async fn only_the_services_asked_for_listen() {
    let services = vec![ServiceKind::Push, ServiceKind::User];
    let bench = Bench::with(Options {
        services,
        ..Options::default()
    })
    .await;
    assert_eq!(
        bench.running.addresses.keys().collect::<Vec<_>>(),
        ["push", "user"]
    );
}

#[tokio::test]
async fn health_is_told_and_can_be_made_to_say_no() {
    let bench = Bench::start().await;
    let address = bench.running.addresses["friend"];
    let mut health = HealthClient::new(bench.channel(address).await);
    let mut check = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        health.check(request).await.unwrap().into_inner().status()
    };
    for service in ["", "mychat.backend.v1.Backend"] {
        assert_eq!(check(service).await, ServingStatus::Serving);
    }
    bench.json("", 3999, json!({"serving": false})).await;
    for service in ["", "mychat.backend.v1.Backend"] {
        assert_eq!(check(service).await, ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn reflection_names_the_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let bench = Bench::start().await;
    let address = bench.running.addresses["user"];
    let mut client = ServerReflectionClient::new(bench.channel(address).await);
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut answers = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("another answer")
    };
    assert!(
        list.service
            .iter()
            .any(|service| service.name == "mychat.backend.v1.Backend")
    );
}

#[tokio::test]
async fn stopping_is_quick_and_frees_the_ports_also_with_open_streams() {
    let bench = Bench::start().await;
    let address = bench.running.addresses["message"];
    let mut health = HealthClient::new(bench.channel(address).await);
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut client = bench.client(ServiceKind::Message).await;
    let commands = tokio_stream::pending();
    let stream = client.stream(commands).await.unwrap();
    bench.json("", 1999, json!({"hang_rate": 1})).await;
    let request = bench.json_request("alice", 1004, &json!({}));
    let mut user = bench.client(ServiceKind::User).await;
    let hung = tokio::spawn(async move { user.call(request).await });
    tokio::time::sleep(Duration::from_millis(50)).await;

    let begun = Instant::now();
    bench.running.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(hung.await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
    while let Ok(Some(_)) = watch.message().await {}
    drop(stream);
    tokio::net::TcpListener::bind(address)
        .await
        .expect("the port is free");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_port = taken.local_addr().unwrap().port();
    let error = MockService::start(Options {
        base_port,
        ..Options::default()
    })
    .await
    .unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Bind {
                service: ServiceKind::User,
                ..
            }
        ),
        "{error}"
    );
    let error = MockService::start(Options {
        base_port: 65_533,
        services: vec![ServiceKind::Push],
        ..Options::default()
    });
    assert!(matches!(
        error.await.unwrap_err(),
        StartError::Port {
            service: ServiceKind::Push,
            ..
        }
    ));
    let error = MockService::start(Options {
        error_rate: 2.0,
        ..Options::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, StartError::Faults(_)));
    let gateway = "not a url".to_owned();
    let error = MockService::start(Options {
        gateway,
        ..Options::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, StartError::Gateway(_)));
}
