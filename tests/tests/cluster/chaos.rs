//! Nothing that was answered 200 is lost, whatever single node or Redis dies, hangs or comes back meanwhile.
//!
//! `CHAOS_ROUNDS` makes it longer than the one round that CI plays.

use std::time::Duration;

use gateway_redis::testing::RedisServer;
use gateway_tests::ClusterStack;
use gateway_tests::crowd::{Account, Crowd, Habits};
use gateway_tests::stack::free_port;
use tokio::time::sleep;

fn told(account: &Account) {
    println!(
        "promised {}, received {}, lost {}, repeats dropped by push id {}, twice {}, overtaken {}, refused {:?}, \
         unanswered {}, sent again {}, connections made {}",
        account.promised,
        account.received,
        account.lost.len(),
        account.repeats,
        account.twice,
        account.overtaken,
        account.refused,
        account.unanswered,
        account.retried,
        account.reconnects
    );
}

fn sockets(stack: &ClusterStack) -> Vec<std::net::SocketAddr> {
    stack.nodes.iter().map(|node| node.websocket).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_while_nodes_and_redis_die_hang_and_return() {
    let rounds = std::env::var("CHAOS_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(1);
    let mut stack = ClusterStack::start(3).await;
    let habits = Habits {
        clients: 200,
        pause: Duration::from_millis(1_000),
        retry_restarted: true,
    };
    let crowd = Crowd::start(sockets(&stack), habits).await;
    let calm = Duration::from_secs(4); // longer than a lease
    for _ in 0..rounds {
        sleep(calm).await;
        // A node dies, and another process takes its place.
        stack.nodes[1].process.signal("KILL").await;
        sleep(calm).await;
        let reborn = stack.launch("n1", free_port()).await;
        stack.nodes[1] = reborn;
        crowd.set_nodes(sockets(&stack));
        sleep(calm).await;
        // A node hangs for longer than its lease.
        stack.nodes[2].process.signal("STOP").await;
        sleep(calm).await;
        stack.nodes[2].process.signal("CONT").await;
        sleep(calm).await;
        // Redis dies and comes back empty.
        let port = stack.redis.take().unwrap().kill();
        sleep(Duration::from_secs(2)).await;
        stack.redis = Some(RedisServer::start_on(port));
        sleep(calm).await;
    }
    let account = crowd.account(Duration::from_secs(30)).await;
    told(&account);
    assert!(
        account.promised > 1_000 * rounds,
        "too little was promised to show anything"
    );
    assert_eq!(account.lost, [], "lost");
    assert_eq!(account.twice, 0, "one message under two push ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_command_and_keeps_to_its_rate() {
    let rate = 60;
    let patch = serde_json::json!({"cluster": {"drain_rate": rate}});
    let mut stack = ClusterStack::start_with(3, patch).await;
    let habits = Habits {
        clients: 240,
        pause: Duration::from_millis(1_000),
        retry_restarted: true,
    };
    let crowd = Crowd::start(sockets(&stack), habits).await;
    let mut busiest = 0;
    for index in 0..3 {
        let before_drain = crowd.reconnects();
        stack.nodes[index].process.signal("TERM").await;
        let mut last = before_drain;
        let code = {
            let mut ended = std::pin::pin!(stack.nodes[index].process.ended());
            loop {
                tokio::select! {
                    code = &mut ended => break code,
                    () = sleep(Duration::from_secs(1)) => {
                        let now = crowd.reconnects();
                        busiest = busiest.max(now - last);
                        last = now;
                    }
                }
            }
        };
        assert_eq!(code, Some(0));
        let reborn = stack.launch(&format!("n{index}"), free_port()).await;
        stack.nodes[index] = reborn;
        stack.nodes[index].ready().await;
        crowd.set_nodes(sockets(&stack));
    }
    sleep(Duration::from_secs(2)).await;
    let account = crowd.account(Duration::from_secs(20)).await;
    told(&account);
    println!("most reconnects in a second: {busiest}, configured {rate}");
    assert_eq!(account.lost, [], "lost");
    assert_eq!(
        account.unanswered, 0,
        "commands without an answer that may not be sent again"
    );
    assert_eq!((account.twice, account.overtaken), (0, 0));
    assert!(
        busiest <= rate + rate / 10 + 1,
        "{busiest} reconnects in a second"
    );
}
