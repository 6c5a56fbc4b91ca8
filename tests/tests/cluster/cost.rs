//! What Redis is asked for: commands and round trips of a login, a heartbeat, a message and a push (`docs/redis.md`).

use gateway_tests::ClusterStack;
use gateway_tests::ws::WsClient;
use serde_json::json;

struct Cost {
    commands: f64,
    round_trips: f64,
    scripts: f64,
}

/// What `times` of something cost each, over what the node does by itself meanwhile: nothing, its clocks set to hours.
async fn cost(stack: &ClusterStack, times: u32, mut work: impl AsyncFnMut(u32)) -> Cost {
    let redis = stack.redis.as_ref().unwrap();
    let scripts = || -> f64 {
        let stats = redis.cli(&["INFO", "commandstats"]);
        let of = |name: &str| -> f64 {
            let line = stats
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default();
            let calls = line
                .split("calls=")
                .nth(1)
                .and_then(|rest| rest.split(',').next());
            calls.and_then(|calls| calls.parse().ok()).unwrap_or(0.0)
        };
        of("cmdstat_evalsha")
    };
    let counted = async || {
        (
            stack.counter(0, "gateway_redis_commands_total").await,
            stack.counter(0, "gateway_redis_round_trips_total").await,
            scripts(),
        )
    };
    let before = counted().await;
    for n in 0..times {
        work(n).await;
    }
    let after = counted().await;
    let each = |after: f64, before: f64| (after - before) / f64::from(times);
    Cost {
        commands: each(after.0, before.0),
        round_trips: each(after.1, before.1),
        scripts: each(after.2, before.2),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_is_one_script_a_command_nothing_and_a_push_one_look() {
    // The node's own upkeep is out of the way: a lease every 100 s, renewals every 30 s.
    let quiet =
        json!({"cluster": {"lease_seconds": 300, "renew_interval_seconds": 30, "session_ttl_seconds": 600}});
    let stack = ClusterStack::start_with(1, quiet).await;
    let node = &stack.nodes[0];
    let mut alice = node.login("alice", "d", "web").await;
    let mut bob = node.login("bob", "d", "web").await;

    let heartbeat = cost(&stack, 200, async |_| drop(alice.command(1, &json!({})).await)).await;
    // The canary alone, one a second.
    assert!(
        heartbeat.commands < 0.05,
        "a heartbeat costs nothing: {}",
        heartbeat.commands
    );
    let history = json!({"chat_id": "bob", "limit": 1});
    let command = cost(&stack, 200, async |_| drop(alice.command(2002, &history).await)).await;
    assert!(
        command.commands < 0.05,
        "a command costs nothing: {}",
        command.commands
    );

    let message = json!({"to_user": "bob", "content": "x"});
    let message = cost(&stack, 200, async |_| {
        alice.command(2001, &message).await;
        bob.push_and_ack().await;
    })
    .await;
    assert!(
        (0.9..1.2).contains(&message.commands),
        "one look-up a message: {}",
        message.commands
    );
    assert!(message.round_trips < 1.2, "{}", message.round_trips);

    // By token: a login by password opens a refresh family too.
    let tokens: Vec<_> = {
        let mut tokens = Vec::new();
        for n in 1..=50 {
            tokens.push(node.login(&format!("user{n}"), "d", "web").await.token);
        }
        tokens
    };
    let mut open = Vec::new();
    let bind = cost(&stack, 50, async |n| {
        let token = &tokens[n as usize];
        let mut client = WsClient::connect(node.websocket, &format!("/ws?token={token}"), &[])
            .await
            .unwrap();
        client.notice("welcome").await;
        open.push(client);
    })
    .await;
    assert!(
        (0.9..1.1).contains(&bind.scripts),
        "one script a bind: {}",
        bind.scripts
    );
    println!(
        "heartbeat {:.2}, command {:.2}, message {:.2} commands in {:.2} round trips, bind {:.2} commands in {:.2} round \
         trips, {:.2} of them scripts",
        heartbeat.commands,
        command.commands,
        message.commands,
        message.round_trips,
        bind.commands,
        bind.round_trips,
        bind.scripts
    );
}
