//! Faults, changed while it runs.

use std::time::{Duration, Instant};

use gateway_codec::Code;
use mock_service::{FaultSettings, Options, ServiceKind};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn each_service_has_its_own_control_command() {
    let bench = Bench::start().await;
    for cmd_id in [1999, 2999, 3999, 4999, 5999] {
        let shown = bench.json("", cmd_id, json!({})).await;
        let still =
            json!({"latency_ms": 0, "error_rate": 0.0, "hang_rate": 0.0, "error_code": 500, "serving": true});
        assert_eq!((shown.code, shown.data), (200, still), "{cmd_id}");
    }
    let changed = bench
        .json("", 2999, json!({"error_rate": 1.0, "error_code": 503}))
        .await;
    assert_eq!(changed.data["error_code"], 503);
    assert_eq!(
        bench.json("alice", 2002, json!({"chat_id": "bob"})).await.code,
        503
    );
    assert_eq!(bench.json("alice", 4003, json!({})).await.code, 200);
    assert_eq!(bench.json("", 2999, json!({"error_rate": 7})).await.code, 400);
    assert_eq!(bench.json("", 2999, json!({"error_rate": 0})).await.code, 200);
    assert_eq!(
        bench.json("alice", 2002, json!({"chat_id": "bob"})).await.code,
        200
    );
}

#[tokio::test]
async fn a_made_up_error_is_not_remembered_for_its_request() {
    let bench = Bench::with(Options {
        error_rate: 1.0,
        ..Options::default()
    })
    .await;
    let request = bench.json_request("alice", 2001, &json!({"to_user": "bob", "content": "x"}));
    assert_eq!(bench.call(ServiceKind::Message, request.clone()).await.code, 500);
    bench.json("", 2999, json!({"error_rate": 0})).await;
    assert_eq!(bench.call(ServiceKind::Message, request).await.code, 200);
}

#[tokio::test]
async fn latency_and_silence_are_felt() {
    let bench = Bench::start().await;
    bench.json("", 4999, json!({"latency_ms": 120})).await;
    let begun = Instant::now();
    assert_eq!(bench.json("alice", 4003, json!({})).await.code, 200);
    assert!(begun.elapsed() >= Duration::from_millis(120));

    bench
        .json("", 4999, json!({"latency_ms": 0, "hang_rate": 1}))
        .await;
    let mut request = tonic::Request::new(bench.json_request("alice", 4003, &json!({})));
    request.set_timeout(Duration::from_millis(100));
    let status = bench
        .client(ServiceKind::Group)
        .await
        .call(request)
        .await
        .unwrap_err();
    assert!(
        matches!(
            status.code(),
            tonic::Code::Cancelled | tonic::Code::DeadlineExceeded
        ),
        "{status:?}"
    );
}

#[tokio::test]
async fn faults_are_set_in_process_within_their_bounds() {
    let bench = Bench::start().await;
    let settings = FaultSettings {
        error_rate: 1.0,
        error_code: Code::Unavailable,
        ..FaultSettings::default()
    };
    bench
        .running
        .set_faults(ServiceKind::User, settings)
        .await
        .unwrap();
    assert_eq!(bench.running.faults(ServiceKind::User), Some(settings));
    assert_eq!(bench.json("alice", 1004, json!({})).await.code, 503);
    let wild = FaultSettings {
        hang_rate: -0.1,
        ..settings
    };
    assert!(bench.running.set_faults(ServiceKind::User, wild).await.is_err());
    assert_eq!(bench.running.faults(ServiceKind::User), Some(settings));
}
