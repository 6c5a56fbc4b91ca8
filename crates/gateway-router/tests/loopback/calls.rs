//! When all is well.

use std::sync::atomic::Ordering;

use gateway_codec::proto::backend::{
    DeliveredRequest, OfflinePush, RecordOfflineRequest, SessionBoundRequest,
};

use super::*;

#[tokio::test]
async fn ten_thousand_pipelined_commands_of_three_sessions_arrive_in_order() {
    let server = Server::start();
    let router = router_with(&[("message", &[&server])], |service| {
        service.max_in_flight = 20_000
    });
    let sessions = ["a", "b", "c"].map(|session| (session, Flow::new()));
    let mut calls = Vec::new();
    for seq in 0..3_334 {
        for (session, flow) in &sessions {
            calls.push(router.call(flow, &name("message"), request(session, seq), LIMITS));
        }
    }
    for call in calls {
        assert_eq!(call.await.unwrap().code, 200);
    }
    let seen = server.record.seen.lock().unwrap();
    for (session, flow) in &sessions {
        assert!(seen[*session].iter().copied().eq(0..3_334), "session {session}");
        assert_eq!(flow.in_flight(), 0);
    }
    assert!(
        server.record.largest_batch.load(Ordering::SeqCst) > 1,
        "they travelled in batches"
    );
    assert!(server.record.largest_batch.load(Ordering::SeqCst) <= 256);
    assert!(
        server
            .record
            .timeouts
            .lock()
            .unwrap()
            .iter()
            .all(|timeout| (1..=10_000).contains(timeout))
    );
    assert_eq!((router.in_flight(), router.pending()), (0, 0));
}

#[tokio::test]
async fn sessions_are_spread_over_healthy_endpoints_and_none_changes_sides_in_flight() {
    let servers = [Server::start(), Server::start()];
    let router = router(&[("message", &[&servers[0], &servers[1]])]);
    until(&router, "message", &[EndpointState::Healthy; 2]).await;
    let mut calls = Vec::new();
    let flows: Vec<_> = (0..10)
        .map(|session| (session.to_string(), Flow::new()))
        .collect();
    for seq in 0..20 {
        for (session, flow) in &flows {
            calls.push(router.call(flow, &name("message"), request(session, seq), LIMITS));
        }
    }
    for call in calls {
        call.await.unwrap();
    }
    for server in &servers {
        let seen = server.record.seen.lock().unwrap();
        assert_eq!(seen.len(), 5);
        assert!(seen.values().all(|seqs| seqs.iter().copied().eq(0..20)));
    }
}

#[tokio::test]
async fn bodies_of_one_mebibyte_pass_both_ways() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    let flow = Flow::new();
    let body: bytes::Bytes = vec![7; 1024 * 1024].into();
    let calls: Vec<_> = (0..8)
        .map(|seq| {
            let request = CommandRequest {
                body: body.clone(),
                ..request("s", seq)
            };
            router.call(&flow, &name("message"), request, LIMITS)
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().body, body);
    }
}

#[tokio::test]
async fn a_server_without_health_service_is_healthy_while_it_answers() {
    let mut server = Server::without_health();
    let router = router(&[("user", &[&server])]);
    until(&router, "user", &[EndpointState::Healthy]).await;
    assert_eq!(call_once(&router, "user", LIMITS).await.unwrap().code, 200);
    server.kill();
    until(&router, "user", &[EndpointState::Unhealthy]).await;
}

#[tokio::test]
async fn workers_have_lanes_of_their_own() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    call_once(&router, "message", LIMITS).await.unwrap();
    for _ in 0..2 {
        let router = router.clone();
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            for _ in 0..3 {
                runtime.block_on(call_once(&router, "message", LIMITS)).unwrap();
            }
        });
        tokio::task::spawn_blocking(move || worker.join().unwrap())
            .await
            .unwrap();
    }
    assert_eq!(server.record.streams.load(Ordering::SeqCst), 3);
    assert_eq!(
        call_once(&router, "message", LIMITS).await.unwrap().code,
        200,
        "others' ends change nothing"
    );
}

#[tokio::test]
async fn the_offline_box_is_reached_and_its_calls_are_repeated() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    let limit = Duration::from_secs(5);
    server.record.unary_failures.store(2, Ordering::SeqCst);
    let bound = SessionBoundRequest {
        user_id: "alice".to_owned(),
        ..Default::default()
    };
    assert!(router.session_bound(bound, limit).await.unwrap().more);
    server.record.unary_failures.store(1, Ordering::SeqCst);
    router
        .delivered(DeliveredRequest::default(), limit)
        .await
        .unwrap();
    let push = OfflinePush {
        user_id: "bob".to_owned(),
        push: None,
    };
    router
        .record_offline(RecordOfflineRequest { pushes: vec![push] }, limit)
        .await
        .unwrap();
    assert_eq!(server.record.recorded.lock().unwrap()[0].user_id, "bob");
    server.record.unary_failures.store(100, Ordering::SeqCst);
    let error = router
        .delivered(DeliveredRequest::default(), limit)
        .await
        .unwrap_err();
    assert_eq!(error, RouterError::Disconnected);
}

/// Tells of 300 binds at once, every third of them alice's, and checks each reply.
async fn tell_of_300_binds(router: &Router) {
    let replies = (0..300).map(|number| {
        let user_id = if number % 3 == 0 { "alice" } else { "bob" };
        let bound = SessionBoundRequest {
            user_id: user_id.to_owned(),
            ..Default::default()
        };
        router.session_bound(bound, Duration::from_secs(5))
    });
    for (number, reply) in futures_util::future::join_all(replies)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(reply.unwrap().more, number % 3 == 0, "reply {number}");
    }
}

#[tokio::test]
async fn binds_at_the_same_time_are_told_together() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    server.record.together.store(1_000, Ordering::SeqCst);
    tell_of_300_binds(&router).await;
    let mut calls = server.record.bound.lock().unwrap().clone();
    calls.sort_unstable();
    assert_eq!(calls, [44, 256]);
}

#[tokio::test]
async fn binds_that_a_reply_had_no_room_for_are_told_again() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    server.record.together.store(100, Ordering::SeqCst);
    tell_of_300_binds(&router).await;
    let mut calls = server.record.bound.lock().unwrap().clone();
    calls.sort_unstable();
    assert_eq!(calls, [44, 56, 156, 256]);
}

#[tokio::test]
async fn a_service_that_knows_no_common_calls_is_told_of_each_bind() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    tell_of_300_binds(&router).await;
    assert_eq!(*server.record.bound.lock().unwrap(), [1; 300]);
}

#[tokio::test]
async fn shutdown_waits_for_what_is_in_flight_and_takes_no_more() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(router.call(&Flow::new(), &name("message"), request("s", 1), LIMITS)))
        .collect();
    router.shutdown(Duration::from_secs(5)).await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().code, 200);
    }
    assert_eq!(
        call_once(&router, "message", LIMITS).await.unwrap_err(),
        RouterError::ShuttingDown
    );
}

#[tokio::test]
async fn a_reload_swaps_the_routes_and_calls_under_way_do_not_notice() {
    let server = Server::start();
    let router = router(&[("message", &[&server])]);
    let rule = |commands, service, retry_count| RouteRule {
        commands,
        handler: Handler::Service(name(service)),
        timeout: Duration::from_secs(3),
        retry_count,
        sensitivity: Sensitivity::Normal,
        idempotent: false,
    };
    let routes = vec![rule(2001..=2999, "message", 1), rule(2001..=2001, "message", 2)];
    router.reload(&Routing {
        routes,
        ..Routing::default()
    });
    let route = router.route(2001).unwrap();
    assert_eq!(
        (route.retry_count, router.route(2002).unwrap().retry_count),
        (2, 1)
    );
    let call = router.call(&Flow::new(), &name("message"), request("s", 1), route.limits());
    router.reload(&Routing {
        routes: vec![rule(7..=7, "user", 0)],
        ..Routing::default()
    });
    assert!(router.route(2001).is_none() && router.route(7).is_some());
    assert_eq!(call.await.unwrap().code, 200);
}
