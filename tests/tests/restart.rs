//! One node after the other is replaced by another process while clients go on.
//!
//! A test program of its own, so that nothing runs beside it: what it counts are reconnects within a second.
//! `RESTART_CLIENTS` makes them more or fewer than 5,000.

use std::time::{Duration, Instant};

use gateway_client::ReconnectPolicy;
use gateway_tests::ClusterStack;
use gateway_tests::balancer::Balancer;
use gateway_tests::crowd::{Crowd, Habits};
use gateway_tests::stack::free_port;
use serde_json::json;
use tokio::time::sleep;

/// Closes a second, and so the reconnects that the other nodes are to see.
const RATE: u32 = 250;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_command_and_keeps_to_its_rate() {
    let clients = std::env::var("RESTART_CLIENTS")
        .ok()
        .and_then(|clients| clients.parse().ok())
        .unwrap_or(5_000);
    // As it is by default; the harness's are shorter, for nodes that die.
    let patch = json!({"cluster": {"drain_rate": RATE, "lease_seconds": 10, "renew_interval_seconds": 20,
        "session_ttl_seconds": 90}});
    let mut stack = ClusterStack::start_with(3, patch).await;
    let balancer = Balancer::start(&stack.nodes).await;
    let habits = Habits {
        clients,
        pause: Duration::from_secs(20),
        silence: Duration::from_secs(90),
        policy: ReconnectPolicy::default(),
    };
    let begun = Instant::now();
    let crowd = Crowd::start(balancer.address(), habits).await;
    balancer.count_from_now();
    println!("{clients} clients bound after {:.1?}", begun.elapsed());
    for index in 0..3 {
        let (begun, before) = (Instant::now(), crowd.reconnects());
        stack.nodes[index].process.signal("TERM").await;
        assert_eq!(stack.nodes[index].process.ended().await, Some(0));
        let reborn = stack.launch(&format!("n{index}"), free_port()).await;
        stack.nodes[index] = reborn;
        stack.nodes[index].ready().await;
        balancer.set(&stack.nodes);
        println!(
            "n{index} replaced in {:.1?}, {} reconnects",
            begun.elapsed(),
            crowd.reconnects() - before
        );
    }
    sleep(Duration::from_secs(2)).await;
    let busiest = balancer.busiest_second();
    let account = crowd.account(Duration::from_secs(30)).await;
    println!("{account}");
    println!("most connections within any second: {busiest:?}, configured {RATE}");
    assert!(
        account.promised >= clients as usize,
        "too little was promised to show anything"
    );
    assert!(
        account.carried_over > 0,
        "nothing was under way when a node closed"
    );
    assert_eq!(account.lost, [], "lost");
    assert!(
        account.unanswered.is_empty() && account.refused.is_empty(),
        "{account}"
    );
    assert!(account.given_up.is_empty(), "{account}");
    assert_eq!((account.known_ids, account.twice, account.overtaken), (0, 0, 0));
    assert!(busiest.rate <= f64::from(RATE) * 1.1, "{busiest:?}");
}
