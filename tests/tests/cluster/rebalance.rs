//! A node with far more than its share sends idle sessions to the others.

use std::time::{Duration, Instant};

use gateway_tests::ClusterStack;
use gateway_tests::cluster::until;
use gateway_tests::ws::{Event, WsClient};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Waits until it is closed, or nobody wants to know any more.
async fn until_closed(mut client: WsClient, enough: CancellationToken) -> (WsClient, Option<(u16, String)>) {
    while !enough.is_cancelled() {
        if let Ok(Event::Closed { code, reason }) = timeout(Duration::from_millis(500), client.next()).await {
            return (client, Some((code, reason)));
        }
    }
    (client, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_node_sheds_idle_sessions_at_its_rate_down_to_the_mean() {
    const ALL: u32 = 40;
    let settings = json!({
        "delivery": {"push_ack_timeout_ms": 120_000},
        "cluster": {"rebalance": {"enabled": true, "threshold_percent": 120, "min_sessions": ALL, "rate": 10,
            "idle_seconds": 1, "hold_seconds": 2, "pause_seconds": 3}},
    });
    let stack = ClusterStack::start_with(2, settings).await;
    let (full, other) = (&stack.nodes[0], &stack.nodes[1]);
    let enough = CancellationToken::new();
    let (mut idle, mut waiting, mut talking) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for n in 1..=ALL {
        let mut client = full.login(&format!("user{n}"), "d", "web").await;
        let enough = enough.clone();
        match n {
            // A push that is not acknowledged.
            1..=5 => {
                let push = json!({"user_ids": [format!("user{n}")], "content": "take me"});
                full.push(&push).await;
                client.push().await;
                waiting.spawn(until_closed(client, enough));
            }
            // Somebody who is there.
            6..=10 => drop(talking.spawn(async move {
                while !enough.is_cancelled() {
                    assert!(client.is_alive().await);
                    sleep(Duration::from_millis(200)).await;
                }
            })),
            _ => {
                let address = other.websocket;
                idle.spawn(async move {
                    let token = client.token.clone();
                    let (_client, end) = until_closed(client, enough).await;
                    let (code, reason) = end?;
                    let at = Instant::now();
                    // As a load balancer would have it.
                    let path = format!("/ws?ack=1&token={token}");
                    let mut back = WsClient::connect(address, &path, &[]).await.unwrap();
                    back.notice("welcome").await;
                    Some((code, reason, at, back))
                });
            }
        }
    }
    until("both nodes have as many", async || {
        let half = f64::from(ALL / 2);
        full.counter("gateway_sessions_bound").await == half
            && other.counter("gateway_sessions_bound").await == half
    })
    .await;
    // It has rested, and finds nothing more to do.
    sleep(Duration::from_secs(7)).await;
    assert_eq!(full.counter("gateway_sessions_shed_total").await, 20.0);
    assert_eq!(full.counter("gateway_rebalances_total").await, 1.0);
    assert_eq!(other.counter("gateway_rebalances_total").await, 0.0);
    enough.cancel();
    let mut ends: Vec<_> = idle.join_all().await.into_iter().flatten().collect();
    assert_eq!(ends.len(), 20);
    for (code, reason, _, back) in &mut ends {
        assert_eq!(*code, 1012);
        let wait: u64 = reason.strip_prefix("retry_after_ms=").unwrap().parse().unwrap();
        assert!((1..=1_000).contains(&wait), "{wait}");
        assert!(back.is_alive().await);
    }
    let times = || ends.iter().map(|(_, _, at, _)| *at);
    let took = times().max().unwrap() - times().min().unwrap();
    assert!(
        took >= Duration::from_millis(1_600),
        "20 at 10 a second took {took:?}"
    );
    for (_, end) in waiting.join_all().await {
        assert_eq!(end, None, "a session with a push under way stays");
    }
    talking.join_all().await;
}
