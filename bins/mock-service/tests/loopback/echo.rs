//! The echo command, and what its cost tells: many commands of many sessions on few streams.

use std::collections::BTreeMap;

use gateway_codec::proto::{
    backend::{Command, CommandBatch, ContentType},
    im::base::BaseRequest,
};
use mock_service::ServiceKind;
use serde_json::json;
use tokio_stream::{StreamExt as _, iter};

use crate::bench::Bench;

#[tokio::test]
async fn each_service_gives_json_back_byte_by_byte_to_anybody() {
    let bench = Bench::start().await;
    for kind in ServiceKind::ALL {
        let mut request = bench.json_request("", kind.echo_command(), &json!({}));
        request.body = " {\"a\" : 1.0,\"a\":2}\n".into();
        let reply = bench.call(kind, request.clone()).await;
        assert_eq!((reply.code, reply.type_name.as_str()), (200, ""));
        assert_eq!(reply.body, request.body);
    }
    assert_eq!(ServiceKind::ALL.map(ServiceKind::echo_command)[0], 1998);
}

#[tokio::test]
async fn wrapped_json_comes_back_as_json_and_other_protobuf_as_its_type() {
    let bench = Bench::start().await;
    let wrapped = BaseRequest {
        payload: b"{\"a\":1}".to_vec().into(),
    };
    let reply = bench.protobuf("", 2998, "im.base.BaseRequest", wrapped).await;
    assert_eq!((reply.code, reply.type_name.as_str()), (200, ""));
    assert_eq!(reply.body, &b"{\"a\":1}"[..]);

    let mut request = bench.request("alice", 4998);
    request.content_type = ContentType::Protobuf.into();
    request.type_name = "im.user.LoginRequest".to_owned();
    request.body = b"\x0a\x03bob".to_vec().into();
    let reply = bench.call(ServiceKind::Group, request.clone()).await;
    assert_eq!(
        (reply.code, reply.type_name, reply.body),
        (200, request.type_name, request.body)
    );
}

#[tokio::test]
async fn a_repeated_id_gets_its_own_echo() {
    let bench = Bench::start().await;
    let mut request = bench.json_request("alice", 3998, &json!({"n": 1}));
    bench.call(ServiceKind::Friend, request.clone()).await;
    request.body = "{\"n\":2}".into();
    let reply = bench.call(ServiceKind::Friend, request).await;
    assert_eq!(reply.body, "{\"n\":2}");
}

/// Echoes sent as batches of 100 on one stream, by session, in the order in which they came back.
async fn echo_all(bench: &Bench, sessions: usize, each: usize) -> (usize, BTreeMap<usize, Vec<String>>) {
    let command = |number: usize| {
        let user = format!("user{}", number % sessions);
        let mut request = bench.json_request(&user, 2998, &json!({}));
        request.body = (number / sessions).to_string().into();
        Command {
            correlation_id: number as u64,
            timeout_ms: 5_000,
            request: Some(request),
        }
    };
    let commands: Vec<Command> = (0..sessions * each).map(command).collect();
    let batches: Vec<CommandBatch> = commands
        .chunks(100)
        .map(|chunk| CommandBatch {
            commands: chunk.to_vec(),
        })
        .collect();
    let mut client = bench.client(ServiceKind::Message).await;
    let mut replies = client.stream(iter(batches)).await.unwrap().into_inner();
    let (mut came, mut by_session) = (0, BTreeMap::<usize, Vec<String>>::new());
    while let Some(batch) = replies.next().await {
        came += 1;
        for reply in batch.unwrap().replies {
            let session = usize::try_from(reply.correlation_id).unwrap() % sessions;
            let reply = reply.reply.unwrap();
            assert_eq!(reply.code, 200, "{}", reply.message);
            let body = String::from_utf8(reply.body.to_vec()).unwrap();
            by_session.entry(session).or_default().push(body);
        }
    }
    (came, by_session)
}

#[tokio::test]
async fn ten_thousand_commands_of_a_hundred_sessions_come_back_in_order_batch_for_batch() {
    let bench = Bench::start().await;
    let (batches, by_session) = echo_all(&bench, 100, 100).await;
    // A batch of commands is one batch of replies.
    assert_eq!(batches, 100);
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(by_session.len(), 100);
    assert!(by_session.values().all(|bodies| *bodies == expected));
}

#[tokio::test]
async fn large_replies_leave_in_batches_that_a_peer_can_take() {
    let bench = Bench::start().await;
    let commands = (0..30).map(|number| {
        let mut request = bench.json_request("alice", 2998, &json!({}));
        request.body = vec![b'1'; 500 << 10].into();
        Command {
            correlation_id: number,
            timeout_ms: 0,
            request: Some(request),
        }
    });
    let batches = [CommandBatch {
        commands: commands.collect(),
    }];
    let mut client = bench.client(ServiceKind::Message).await;
    let mut replies = client.stream(iter(batches)).await.unwrap().into_inner();
    let mut sizes = Vec::new();
    while let Some(batch) = replies.next().await {
        // tonic's client takes 4 MiB.
        sizes.push(batch.unwrap().replies.len());
    }
    assert_eq!(sizes, [3; 10]);
}

#[tokio::test]
async fn sixteen_thousand_commands_in_flight_on_two_streams_are_all_done() {
    let bench = Bench::start().await;
    let (one, other) = tokio::join!(echo_all(&bench, 500, 16), echo_all(&bench, 500, 16));
    for (_, by_session) in [one, other] {
        assert_eq!(by_session.values().map(Vec::len).sum::<usize>(), 8_000);
    }
}
