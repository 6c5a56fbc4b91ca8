//! Many commands on one stream.

use std::{collections::BTreeMap, time::Duration};

use gateway_codec::proto::backend::{Command, CommandBatch, CommandReply, CommandRequest};
use mock_service::{FaultSettings, Options, ServiceKind};
use serde_json::json;
use tokio_stream::{StreamExt as _, iter, wrappers::ReceiverStream};

use crate::bench::Bench;

fn command(correlation_id: u64, request: CommandRequest) -> Command {
    Command {
        correlation_id,
        timeout_ms: 5_000,
        request: Some(request),
    }
}

/// Replies of a stream that ends after these batches, by correlation id and in the order they came.
async fn exchange(bench: &Bench, batches: Vec<Vec<Command>>) -> (Vec<u64>, BTreeMap<u64, CommandReply>) {
    let batches = batches.into_iter().map(|commands| CommandBatch { commands });
    let mut client = bench.client(ServiceKind::Message).await;
    let mut replies = client
        .stream(iter(batches.collect::<Vec<_>>()))
        .await
        .unwrap()
        .into_inner();
    let (mut order, mut by_id) = (Vec::new(), BTreeMap::new());
    while let Some(batch) = replies.next().await {
        for reply in batch.unwrap().replies {
            order.push(reply.correlation_id);
            assert!(
                by_id.insert(reply.correlation_id, reply.reply.unwrap()).is_none(),
                "answered twice"
            );
        }
    }
    (order, by_id)
}

#[tokio::test]
async fn a_thousand_commands_of_one_session_keep_their_order() {
    let bench = Bench::start().await;
    let send = |number: u64| {
        let data = json!({"to_user": "bob", "content": number.to_string()});
        command(number, bench.json_request("alice", 2001, &data))
    };
    let batches = (0..10)
        .map(|ten| (0..100).map(|one| send(ten * 100 + one)).collect())
        .collect();
    let (order, replies) = exchange(&bench, batches).await;
    assert_eq!(order, (0..1_000).collect::<Vec<_>>());
    assert!(replies.values().all(|reply| reply.code == 200));
    let page = bench
        .json("bob", 2002, json!({"chat_id": "alice", "limit": 1_000}))
        .await;
    let contents: Vec<u64> = page.data["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(contents, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_quick_does_not_overtake_what_is_slow_in_its_session() {
    let bench = Bench::start().await;
    let control = |number, data| {
        command(
            number,
            bench.json_request("alice", 2999, &json!({"latency_ms": data})),
        )
    };
    let echo = |number, user| command(number, bench.json_request(user, 2998, &json!({"number": number})));
    let batches = vec![
        vec![
            control(1, 60),
            echo(2, "alice"),
            echo(3, "alice"),
            control(4, 0),
            echo(5, "alice"),
        ],
        (6..100).map(|number| echo(number, "alice")).collect(),
    ];
    let (order, replies) = exchange(&bench, batches).await;
    assert_eq!(order, (1..100).collect::<Vec<_>>());
    assert!(replies.values().all(|reply| reply.code == 200));
}

#[tokio::test]
async fn different_sessions_do_not_wait_for_each_other() {
    let bench = Bench::with(Options {
        latency: Duration::from_millis(200),
        accounts: 20,
        ..Options::default()
    })
    .await;
    let one_each = (1..=20).map(|number| {
        let data = json!({"to_user": "bob", "content": "x"});
        command(number, bench.json_request(&format!("user{number}"), 2001, &data))
    });
    let begun = std::time::Instant::now();
    let (_, replies) = exchange(&bench, vec![one_each.collect()]).await;
    assert_eq!(replies.len(), 20);
    // One after the other they would take four seconds.
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_command_past_its_time_is_not_done() {
    let bench = Bench::with(Options {
        latency: Duration::from_millis(60),
        ..Options::default()
    })
    .await;
    let data = json!({"to_user": "bob", "content": "too late"});
    let mut late = command(1, bench.json_request("alice", 2001, &data));
    late.timeout_ms = 20;
    let nothing = Command {
        correlation_id: 2,
        timeout_ms: 0,
        request: None,
    };
    let (_, replies) = exchange(&bench, vec![vec![late, nothing]]).await;
    assert_eq!((replies[&1].code, replies[&2].code), (504, 400));
    let page = bench.json("bob", 2002, json!({"chat_id": "alice"})).await;
    assert_eq!(page.data, json!({"messages": []}));
}

#[tokio::test]
async fn a_hanging_command_holds_up_neither_its_session_nor_the_stream() {
    let bench = Bench::start().await;
    let mut client = bench.client(ServiceKind::Message).await;
    let (tell, batches) = tokio::sync::mpsc::channel(4);
    let mut replies = client
        .stream(ReceiverStream::new(batches))
        .await
        .unwrap()
        .into_inner();
    let data = json!({"chat_id": "bob"});
    let set = |hang_rate: f64| FaultSettings {
        hang_rate,
        ..FaultSettings::default()
    };

    bench
        .running
        .set_faults(ServiceKind::Message, set(1.0))
        .await
        .unwrap();
    let hung = command(1, bench.json_request("alice", 2002, &data));
    tell.send(CommandBatch { commands: vec![hung] }).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(150), replies.next())
            .await
            .is_err()
    );
    bench
        .running
        .set_faults(ServiceKind::Message, set(0.0))
        .await
        .unwrap();
    let next = command(2, bench.json_request("alice", 2002, &data));
    tell.send(CommandBatch { commands: vec![next] }).await.unwrap();
    let batch = replies.next().await.unwrap().unwrap();
    assert_eq!(batch.replies[0].correlation_id, 2);
}
