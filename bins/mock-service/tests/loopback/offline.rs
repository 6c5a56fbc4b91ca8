//! The offline box.

use gateway_codec::proto::{
    backend::{DeliveredRequest, OfflinePush, RecordOfflineRequest, SessionBoundRequest},
    gateway::Push,
};
use mock_service::ServiceKind;

use crate::bench::Bench;

fn record(user: &str, ids: impl IntoIterator<Item = u32>) -> RecordOfflineRequest {
    let one = |id: u32| OfflinePush {
        user_id: user.to_owned(),
        push: Some(Push {
            push_id: format!("p{id}"),
            content: id.to_string(),
            ..Push::default()
        }),
    };
    RecordOfflineRequest {
        pushes: ids.into_iter().map(one).collect(),
    }
}

fn bound(user: &str) -> SessionBoundRequest {
    SessionBoundRequest {
        user_id: user.to_owned(),
        ..SessionBoundRequest::default()
    }
}

#[tokio::test]
async fn what_was_recorded_comes_once_in_order_and_is_gone_when_delivered() {
    let bench = Bench::start().await;
    let mut client = bench.client(ServiceKind::Message).await;
    client.record_offline(record("bob", [1, 2, 3])).await.unwrap();
    client.record_offline(record("bob", [2, 3, 4])).await.unwrap();
    client.record_offline(record("carol", [9])).await.unwrap();
    let waiting = client.session_bound(bound("bob")).await.unwrap().into_inner();
    let ids: Vec<String> = waiting.pushes.into_iter().map(|push| push.push_id).collect();
    assert_eq!(ids, ["p1", "p2", "p3", "p4"]);
    assert!(!waiting.more);
    let delivered = DeliveredRequest {
        user_id: "bob".into(),
        push_ids: ids[..3].to_vec(),
    };
    client.delivered(delivered).await.unwrap();
    client.record_offline(record("bob", [1])).await.unwrap();
    let left = client
        .session_bound(bound("bob"))
        .await
        .unwrap()
        .into_inner()
        .pushes;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].push_id, "p4");
    assert_eq!(
        client
            .session_bound(bound("carol"))
            .await
            .unwrap()
            .into_inner()
            .pushes
            .len(),
        1
    );
    assert!(
        client
            .session_bound(bound("alice"))
            .await
            .unwrap()
            .into_inner()
            .pushes
            .is_empty()
    );
}

#[tokio::test]
async fn more_than_a_thousand_come_in_pages() {
    let bench = Bench::start().await;
    let mut client = bench.client(ServiceKind::Message).await;
    client.record_offline(record("bob", 0..1_500)).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let page = client.session_bound(bound("bob")).await.unwrap().into_inner();
        let ids: Vec<String> = page.pushes.into_iter().map(|push| push.push_id).collect();
        client
            .delivered(DeliveredRequest {
                user_id: "bob".into(),
                push_ids: ids.clone(),
            })
            .await
            .unwrap();
        seen.extend(ids);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..1_500).map(|id| format!("p{id}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_the_message_service_has_one_and_a_push_needs_its_id() {
    let bench = Bench::start().await;
    let status = bench
        .client(ServiceKind::User)
        .await
        .session_bound(bound("bob"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    let nameless = OfflinePush {
        user_id: "bob".into(),
        push: Some(Push::default()),
    };
    let request = RecordOfflineRequest {
        pushes: vec![nameless],
    };
    let status = bench
        .client(ServiceKind::Message)
        .await
        .record_offline(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}
