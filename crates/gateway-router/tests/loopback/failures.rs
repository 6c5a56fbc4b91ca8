//! When back ends die, hang, refuse or are too slow.

use std::sync::atomic::Ordering;

use super::*;

const HEALTHY: EndpointState = EndpointState::Healthy;

#[tokio::test]
async fn an_endpoint_killed_in_mid_flight_costs_no_command_and_no_order() {
    let mut servers = [Server::start(), Server::start()];
    for server in &servers {
        server.record.answer_only.store(300, Ordering::SeqCst);
    }
    let router = router(&[("message", &[&servers[0], &servers[1]])]);
    until(&router, "message", &[HEALTHY; 2]).await;
    let flows: Vec<_> = (0..3).map(|session| (session.to_string(), Flow::new())).collect();
    let mut calls = Vec::new();
    for seq in 0..500 {
        for (session, flow) in &flows {
            calls.push(tokio::spawn(router.call(
                flow,
                &name("message"),
                request(session, seq),
                LIMITS,
            )));
        }
    }
    let (doomed, other) = (servers[0].record.clone(), servers[1].record.clone());
    eventually(|| doomed.count.load(Ordering::SeqCst) + other.count.load(Ordering::SeqCst) == 1500).await;
    let before = doomed.seen.lock().unwrap().clone();
    assert!(
        !before.is_empty(),
        "some sessions were on the endpoint that is killed"
    );
    other.answer_only.store(0, Ordering::SeqCst);
    servers[0].kill();
    let moved: Vec<_> = before.keys().cloned().collect();
    for (nth, call) in calls.into_iter().enumerate() {
        let (session, seq) = ((nth % 3).to_string(), nth / 3);
        if moved.contains(&session) {
            let reply = call.await.unwrap();
            assert_eq!(reply.unwrap().code, 200, "session {session}, command {seq}");
        } else {
            call.abort();
        }
    }
    let seen = other.seen.lock().unwrap();
    for session in &moved {
        let seqs = &seen[session];
        assert!(
            seqs.is_sorted_by(|earlier, later| earlier < later),
            "session {session}: {seqs:?}"
        );
        assert_eq!(seqs.last(), Some(&499));
    }
}

#[tokio::test]
async fn lost_commands_that_are_not_idempotent_fail_and_later_ones_go_on() {
    let mut servers = [Server::start(), Server::start()];
    servers[0].record.hang.store(true, Ordering::SeqCst);
    let router = router(&[("message", &[&servers[0], &servers[1]])]);
    until(&router, "message", &[HEALTHY; 2]).await;
    let limits = CallLimits {
        idempotent: false,
        ..LIMITS
    };
    let flows = [Flow::new(), Flow::new()];
    let calls = flows
        .each_ref()
        .map(|flow| router.call(flow, &name("message"), request("s", 1), limits));
    let hanging = servers[0].record.clone();
    eventually(|| hanging.count.load(Ordering::SeqCst) == 1).await;
    servers[0].kill();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.map(|reply| reply.code));
    }
    assert!(
        results.contains(&Ok(200)) && results.contains(&Err(RouterError::Disconnected)),
        "{results:?}"
    );
    assert_eq!(call_once(&router, "message", limits).await.unwrap().code, 200);
}

#[tokio::test]
async fn with_all_endpoints_dead_the_answer_comes_at_once() {
    let mut servers = [Server::start(), Server::start()];
    let router = router(&[("message", &[&servers[0], &servers[1]])]);
    until(&router, "message", &[HEALTHY; 2]).await;
    for server in &mut servers {
        server.kill();
    }
    until(&router, "message", &[EndpointState::Unhealthy; 2]).await;
    let started = Instant::now();
    assert_eq!(
        call_once(&router, "message", LIMITS).await.unwrap_err(),
        RouterError::NoEndpoint
    );
    assert!(
        started.elapsed() < Duration::from_millis(50),
        "{:?}",
        started.elapsed()
    );
    assert!(!router.health()[0].is_available());
}

#[tokio::test]
async fn before_the_first_health_answer_connecting_is_tried() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    assert_eq!(call_once(&router, "message", LIMITS).await.unwrap().code, 200);
    let mut dead = Server::start();
    dead.kill();
    let router = super::router(&[("message", &[&dead])]);
    let error = call_once(
        &router,
        "message",
        CallLimits {
            retry_count: 0,
            ..LIMITS
        },
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, RouterError::NoEndpoint | RouterError::Disconnected),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_hangs_times_out_leaks_nothing_and_slows_nobody_else() {
    let (hanging, well) = (Server::start(), Server::start());
    hanging.record.hang.store(true, Ordering::SeqCst);
    let router = router(&[("message", &[&hanging]), ("user", &[&well])]);
    until(&router, "message", &[HEALTHY]).await;
    until(&router, "user", &[HEALTHY]).await;
    let limits = CallLimits {
        timeout: Duration::from_millis(400),
        ..LIMITS
    };
    let flow = Flow::new();
    let calls: Vec<_> = (0..200)
        .map(|seq| tokio::spawn(router.call(&flow, &name("message"), request("s", seq), limits)))
        .collect();
    for seq in 0..50 {
        let started = Instant::now();
        router
            .call(&flow, &name("user"), request("s", seq), LIMITS)
            .await
            .unwrap();
        assert!(
            started.elapsed() < Duration::from_millis(200),
            "{:?}",
            started.elapsed()
        );
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err(), RouterError::Timeout);
    }
    assert_eq!(
        (router.in_flight(), router.pending(), flow.in_flight()),
        (0, 0, 0)
    );
    hanging.record.hang.store(false, Ordering::SeqCst);
    assert_eq!(
        call_once(&router, "message", LIMITS).await.unwrap().code,
        200,
        "the same stream goes on"
    );
    assert_eq!(hanging.record.streams.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dropping_the_future_frees_the_slot() {
    let server = Server::start();
    server.record.hang.store(true, Ordering::SeqCst);
    let router = router_with(&[("message", &[&server])], |service| service.max_in_flight = 2);
    let (flow, message) = (Flow::new(), name("message"));
    let first = router.call(&flow, &message, request("s", 1), LIMITS);
    let second = router.call(&flow, &message, request("s", 2), LIMITS);
    let started = Instant::now();
    let third = router.call(&flow, &message, request("s", 3), LIMITS).await;
    assert_eq!(third.unwrap_err(), RouterError::Overloaded);
    assert!(started.elapsed() < Duration::from_millis(50));
    drop(first);
    server.record.hang.store(false, Ordering::SeqCst);
    assert_eq!(
        router
            .call(&flow, &message, request("s", 4), LIMITS)
            .await
            .unwrap()
            .code,
        200
    );
    drop(second);
    assert_eq!((router.in_flight(), router.pending()), (0, 0));
}

#[tokio::test]
async fn lanes_come_back_after_a_restart() {
    let mut server = Server::start();
    let router = router(&[("message", &[&server])]);
    until(&router, "message", &[HEALTHY]).await;
    for round in 1..=3 {
        let started = Instant::now();
        while let Err(error) = call_once(&router, "message", LIMITS).await {
            assert!(
                matches!(error, RouterError::NoEndpoint | RouterError::Disconnected),
                "round {round}: {error}"
            );
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "round {round}: {error}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(server.record.streams.load(Ordering::SeqCst) >= round);
        server.restart();
    }
}

#[tokio::test]
async fn codes_are_checked_and_a_503_is_repeated() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    until(&router, "message", &[HEALTHY]).await;
    server.record.code.store(418, Ordering::SeqCst);
    assert_eq!(
        call_once(&router, "message", LIMITS).await.unwrap_err(),
        RouterError::BadReply
    );
    assert_eq!(server.record.count.load(Ordering::SeqCst), 1);
    server.record.code.store(503, Ordering::SeqCst);
    let limits = CallLimits {
        retry_count: 2,
        ..LIMITS
    };
    assert_eq!(call_once(&router, "message", limits).await.unwrap().code, 503);
    assert_eq!(server.record.count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_unknown_service_is_said_so() {
    let router = router(&[]);
    assert_eq!(
        call_once(&router, "message", LIMITS).await.unwrap_err(),
        RouterError::UnknownService
    );
}
