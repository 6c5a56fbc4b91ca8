//! Contract section 3, `last_push_id`: who comes back gets what it missed, in order and once, or is told of the gap.

use std::time::Duration;

use gateway_client::{Client, Event, Persistent, ReconnectPolicy};
use gateway_codec::proto::im::push::PushRequest;
use gateway_tests::envelope::{header, json_envelope};
use gateway_tests::raw::RawSocket;
use gateway_tests::stack::SERVICE_KEY;
use gateway_tests::token::{claims, token};
use gateway_tests::{Stack, WsClient};
use serde_json::{Value, json};

fn bobs_token() -> String {
    token(&claims("bob", "d1", "web"))
}

/// Pushes p`from` to p`to`, the last not among them, each settled before the next.
async fn push(stack: &Stack, numbers: std::ops::Range<u32>, outcome: &str) {
    for n in numbers {
        let body =
            json!({"user_id": "bob", "push_id": format!("p{n}"), "content": n.to_string(), "wait_ms": 5000});
        let answer = stack
            .http()
            .post("/api/push", &[("x-api-key", SERVICE_KEY)], &body)
            .await;
        assert_eq!(answer.body["outcomes"][0]["outcome"], outcome, "{}", answer.body);
    }
}

/// A connection that does not acknowledge and never reads: what is written to it is lost when it is dropped, which with
/// unread bytes in its buffers is a reset.
async fn deaf(stack: &Stack, query: &str) -> RawSocket {
    RawSocket::connect(stack.websocket, &format!("/ws?token={}{query}", bobs_token())).await
}

async fn bound(stack: &Stack) {
    let admin = [("x-api-key", gateway_tests::stack::ADMIN_KEY)];
    for _ in 0..200 {
        let online = stack.http().get("/api/connections/online", &admin).await;
        if online.body["total"] == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody is bound");
}

async fn ids(client: &mut WsClient, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let push = client.push().await;
        ids.push(push["data"]["push_id"].as_str().unwrap().to_owned());
    }
    ids
}

fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("p{n}")).collect()
}

async fn counter(stack: &Stack, name: &str) -> f64 {
    let answer = stack.http().get("/metrics", &[]).await;
    let text = answer.body.as_str().unwrap_or_default().to_owned();
    text.lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test]
async fn what_was_in_the_buffers_of_a_dead_socket_comes_again_by_query_and_by_1002() {
    let stack = Stack::start().await;
    let lost = deaf(&stack, "").await;
    bound(&stack).await;
    push(&stack, 0..10, "written").await;
    drop(lost);

    // The client has got p3; of the others it knows nothing.
    let mut bob = stack
        .open(&format!("token={}&last_push_id=p3", bobs_token()))
        .await;
    bob.notice("welcome").await;
    assert_eq!(ids(&mut bob, 6).await, expected(4..10));
    push(&stack, 10..12, "written").await;
    assert_eq!(ids(&mut bob, 2).await, expected(10..12));
    assert!(bob.no_push_for(Duration::from_millis(300)).await);
    drop(bob);

    let mut bob = stack.connect().await;
    let seq = bob
        .send_command(1002, &json!({"token": bobs_token(), "last_push_id": "p7"}))
        .await;
    assert_eq!(bob.reply(seq).await["code"], 200);
    assert_eq!(ids(&mut bob, 4).await, expected(8..12));
    assert!(bob.no_push_for(Duration::from_millis(300)).await);
    assert_eq!(counter(&stack, "gateway_resumed_pushes_total").await, 10.0);
    assert_eq!(
        counter(&stack, "gateway_resumes_total{result=\"whole\"}").await,
        2.0
    );
    assert_eq!(
        counter(&stack, "gateway_resumes_total{result=\"gap\"}").await,
        0.0
    );
}

#[tokio::test]
async fn what_is_remembered_comes_before_what_came_while_nobody_was_there_and_no_one_twice() {
    let stack = Stack::start().await;
    let lost = deaf(&stack, "").await;
    bound(&stack).await;
    push(&stack, 0..5, "written").await;
    drop(lost);
    tokio::time::sleep(Duration::from_millis(300)).await;
    push(&stack, 5..8, "offline").await;
    let mut bob = stack
        .open(&format!("token={}&last_push_id=p1", bobs_token()))
        .await;
    assert_eq!(ids(&mut bob, 6).await, expected(2..8));
    assert!(bob.no_push_for(Duration::from_millis(300)).await);
    drop(bob);
    // Nothing is left in the box, and nothing is missing.
    let mut bob = stack
        .open(&format!("token={}&last_push_id=p7", bobs_token()))
        .await;
    bob.notice("welcome").await;
    assert!(bob.no_push_for(Duration::from_millis(500)).await);
    assert_eq!(
        counter(&stack, "gateway_resumes_total{result=\"whole\"}").await,
        2.0
    );
}

#[tokio::test]
async fn an_acknowledging_client_gets_what_it_has_not_acknowledged_once() {
    let stack = Stack::builder()
        .config(json!({"delivery": {"push_ack_timeout_ms": 1000}}))
        .start()
        .await;
    let mut bob = stack.open(&format!("ack=1&token={}", bobs_token())).await;
    bob.notice("welcome").await;
    let body = |n: u32| json!({"user_id": "bob", "push_id": format!("p{n}"), "content": "x"});
    for n in 0..4 {
        stack
            .http()
            .post("/api/push", &[("x-api-key", SERVICE_KEY)], &body(n))
            .await;
    }
    assert_eq!(bob.push_and_ack().await["data"]["push_id"], "p0");
    assert_eq!(bob.push_and_ack().await["data"]["push_id"], "p1");
    assert!(bob.is_alive().await, "the acknowledgements have arrived");
    drop(bob);
    let mut bob = stack
        .open(&format!("ack=1&token={}&last_push_id=p1", bobs_token()))
        .await;
    for id in ["p2", "p3"] {
        assert_eq!(bob.push_and_ack().await["data"]["push_id"], id);
    }
    assert!(bob.no_push_for(Duration::from_millis(1_500)).await);
    bob.close().await;
    let mut bob = stack.open(&format!("ack=1&token={}", bobs_token())).await;
    bob.notice("welcome").await;
    assert!(
        bob.no_push_for(Duration::from_millis(500)).await,
        "the box is empty"
    );
}

#[tokio::test]
async fn what_memory_has_outgrown_is_announced_with_its_number_in_both_encodings() {
    let stack = Stack::builder()
        .config(json!({"delivery": {"resume_pushes_per_device": 4}}))
        .start()
        .await;
    let lost = deaf(&stack, "").await;
    bound(&stack).await;
    push(&stack, 0..10, "written").await;
    drop(lost);
    let mut bob = stack
        .open(&format!("token={}&last_push_id=p0", bobs_token()))
        .await;
    assert_eq!(
        bob.notice("gap").await["data"],
        json!({"event": "gap", "count": 5})
    );
    assert_eq!(ids(&mut bob, 4).await, expected(6..10));
    assert_eq!(counter(&stack, "gateway_gap_pushes_total").await, 5.0);
    drop(bob);

    let mut bob = stack.connect().await;
    let data = json!({"token": bobs_token(), "last_push_id": "never-sent"});
    bob.send_binary(&json_envelope(&header(1002, 7), &data)).await;
    bob.envelope_reply(7).await;
    let notice = bob.envelope_of(2).await;
    let base: gateway_codec::proto::im::base::BaseResponse = notice.body("im.base.BaseResponse");
    let data: Value = serde_json::from_slice(&base.payload).unwrap();
    assert_eq!(data, json!({"event": "gap", "count": 0}), "of unknown size");
    push(&stack, 10..11, "written").await;
    let push: PushRequest = bob.envelope_of(5001).await.body("im.push.PushRequest");
    assert_eq!(push.body.unwrap().push_id, "p10");
}

#[tokio::test]
async fn a_protobuf_client_is_sent_again_what_a_json_client_lost() {
    let stack = Stack::start().await;
    let lost = deaf(&stack, "").await;
    bound(&stack).await;
    push(&stack, 0..5, "written").await;
    drop(lost);
    let mut bob = stack.connect().await;
    let data = json!({"token": bobs_token(), "last_push_id": "p1"});
    bob.send_binary(&json_envelope(&header(1002, 7), &data)).await;
    for n in 2..5 {
        let push: PushRequest = bob.envelope_of(5001).await.body("im.push.PushRequest");
        assert_eq!(push.body.unwrap().push_id, format!("p{n}"));
    }
}

#[tokio::test]
async fn a_client_of_the_library_that_is_cut_off_and_returns_by_itself_misses_nothing() {
    let stack = Stack::start().await;
    let relay = Relay::start(stack.websocket).await;
    let builder = Client::builder(&format!("ws://{}/ws", relay.address)).token(&bobs_token());
    let policy = ReconnectPolicy {
        base: Duration::from_millis(50),
        ..ReconnectPolicy::default()
    };
    let client = Persistent::connect(builder, policy).await.unwrap();
    let mut events = client.events();
    let mut got = Vec::new();
    for round in 0..4 {
        let body = |n: u32| json!({"user_id": "bob", "push_id": format!("p{n}"), "content": "x"});
        for n in round * 10..round * 10 + 10 {
            if n % 10 == 5 {
                relay.cut();
            }
            stack
                .http()
                .post("/api/push", &[("x-api-key", SERVICE_KEY)], &body(n))
                .await;
        }
        while got.len() < (round as usize + 1) * 10 {
            let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
            match event.unwrap().unwrap() {
                Event::Push(push) => got.push(push.push_id),
                Event::Notice(notice) => assert_ne!(notice.event, "gap"),
                _ => {}
            }
        }
    }
    let mut sorted: Vec<u32> = got.iter().map(|id| id[1..].parse().unwrap()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>(), "all, each once: {got:?}");
    assert!(counter(&stack, "gateway_resumes_total{result=\"whole\"}").await >= 3.0);
    assert_eq!(
        counter(&stack, "gateway_resumes_total{result=\"gap\"}").await,
        0.0
    );
}

/// Passes bytes on until it is told to cut all connections.
struct Relay {
    address: std::net::SocketAddr,
    cut: tokio::sync::watch::Sender<u32>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Relay {
    async fn start(to: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, told) = tokio::sync::watch::channel(0);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut told = told.clone();
                told.mark_unchanged();
                connections.spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = told.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            cut,
            _tasks: tasks,
        }
    }

    fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }
}
