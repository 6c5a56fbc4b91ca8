//! Back ends that behave as gRPC servers commonly do: they end connections, refuse streams, compress, batch.

use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use gateway_codec::proto::backend::SessionBoundRequest;

use super::raw::{Manners, RawServer};
use super::*;

/// Nothing is repeated: whatever fails is told.
const ONCE: CallLimits = CallLimits {
    timeout: Duration::from_secs(10),
    retry_count: 0,
    idempotent: false,
};

fn router_to(servers: &[&RawServer]) -> Arc<Router> {
    let config = Service {
        endpoints: servers
            .iter()
            .map(|server| server.uri().parse().unwrap())
            .collect(),
        ..Service::default()
    };
    let services = BTreeMap::from([(name("message"), config)]);
    Arc::new(Router::new(&Routing::default(), &services).unwrap())
}

async fn well(router: &Router, servers: usize) {
    until(router, "message", &vec![EndpointState::Healthy; servers]).await;
}

/// Sends `count` commands of one session, four at a time; gives those that were not answered with 200.
async fn user(router: Arc<Router>, session: String, count: u64) -> Vec<String> {
    let flow = Flow::new();
    let mut calls = FuturesOrdered::new();
    let mut failed = Vec::new();
    for seq in 0..count {
        calls.push_back(router.call(&flow, &name("message"), request(&session, seq), ONCE));
        if calls.len() == 4 {
            let reply = calls.next().await.unwrap();
            failed.extend(reply.err().map(|error| format!("{session}: {error}")));
        }
    }
    while let Some(reply) = calls.next().await {
        failed.extend(reply.err().map(|error| format!("{session}: {error}")));
    }
    failed
}

#[tokio::test]
async fn connections_that_their_server_ends_at_an_age_cost_no_command_and_no_order() {
    const COUNT: u64 = 1_500;
    let grace = Duration::from_millis(300);
    let manners = Manners {
        age: Some((Duration::from_millis(200), grace)),
        takes: Duration::from_millis(4),
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    well(&router, 1).await;
    let users = (0..8).map(|session| tokio::spawn(user(router.clone(), session.to_string(), COUNT)));
    let mut users = std::pin::pin!(futures_util::future::join_all(users));
    let failed = loop {
        tokio::select! {
            failed = &mut users => break failed,
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                let state = router.health()[0].endpoints[0].state;
                assert_eq!(state, EndpointState::Healthy, "a draining connection is no dead endpoint");
            }
        }
    };
    for failed in failed {
        assert_eq!(failed.unwrap(), Vec::<String>::new());
    }
    let streams = server.seen.streams.load(Ordering::SeqCst);
    assert!(streams >= 5, "{streams} streams: the connections were renewed");
    for (session, seqs) in server.seen.commands.lock().unwrap().iter() {
        assert!(
            seqs.iter().copied().eq(0..COUNT),
            "session {session}: each once and in order"
        );
    }
    // None is cut: those that are open now are announced to end too, and are idle.
    let seen = server.seen.clone();
    eventually(move || seen.ended.load(Ordering::SeqCst) == seen.streams.load(Ordering::SeqCst)).await;
    assert_eq!((router.in_flight(), router.pending()), (0, 0));
}

#[tokio::test]
async fn an_idle_connection_that_its_server_ends_is_replaced_with_the_next_command() {
    let manners = Manners {
        age: Some((Duration::from_millis(50), Duration::from_millis(50))),
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    for round in 1..=3 {
        assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
        assert_eq!(server.seen.streams.load(Ordering::SeqCst), round);
        let seen = server.seen.clone();
        eventually(move || seen.ended.load(Ordering::SeqCst) == round).await;
    }
}

#[tokio::test]
async fn refused_streams_and_streams_above_the_last_of_a_go_away_are_sent_again() {
    let server = RawServer::start(Manners::default()).await;
    let router = router_to(&[&server]);
    well(&router, 1).await;
    server.seen.refuse.store(2, Ordering::SeqCst);
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
    assert_eq!(server.seen.streams.load(Ordering::SeqCst), 3);
    drop(router);

    let router = router_to(&[&server]);
    well(&router, 1).await;
    // The next connections are the lane's: this server has no health service, which is asked every two seconds.
    server.seen.go_away.store(2, Ordering::SeqCst);
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
    assert_eq!(server.seen.commands.lock().unwrap()["s"], [1, 1]);
}

#[tokio::test]
async fn a_reply_over_the_limit_fails_alone() {
    let manners = Manners {
        // One reply of 17 MiB, ten of 2 MiB, all in one batch.
        body: Some(|seq| if seq == 3 { 17 << 20 } else { 2 << 20 }),
        batch: 11,
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    well(&router, 1).await;
    let flow = Flow::new();
    let calls: Vec<_> = (0..11)
        .map(|seq| router.call(&flow, &name("message"), request("s", seq), ONCE))
        .collect();
    for (seq, call) in calls.into_iter().enumerate() {
        let reply = call.await.map(|reply| reply.body.len());
        if seq == 3 {
            assert_eq!(reply, Err(RouterError::ReplyTooLarge));
        } else {
            assert_eq!(reply, Ok(2 << 20), "command {seq}");
        }
    }
    assert_eq!(
        server.seen.streams.load(Ordering::SeqCst),
        1,
        "the stream goes on"
    );
}

#[tokio::test]
async fn replies_that_are_compressed_with_gzip_are_read() {
    let manners = Manners {
        encoding: Some("gzip"),
        body: Some(|seq| seq as usize * 300_000),
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    let flow = Flow::new();
    for seq in 0..8 {
        let reply = router
            .call(&flow, &name("message"), request("s", seq), ONCE)
            .await;
        assert_eq!(reply.unwrap().body.len(), seq as usize * 300_000);
    }
    assert_eq!(server.seen.streams.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn replies_in_another_compression_are_the_back_ends_fault() {
    let manners = Manners {
        encoding: Some("deflate"),
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    let error = call_once(&router, "message", ONCE).await.unwrap_err();
    assert_eq!(error, RouterError::BadReply);
}

#[tokio::test]
async fn headers_that_come_with_the_first_reply_and_unknown_fields_do_no_harm() {
    let manners = Manners {
        late_headers: true,
        unknown_fields: true,
        body: Some(|_| 40_000),
        takes: Duration::from_millis(20),
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    let flow = Flow::new();
    let calls: Vec<_> = (0..20)
        .map(|seq| router.call(&flow, &name("message"), request("s", seq), ONCE))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().body.len(), 40_000);
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_stream_is_said_so() {
    let manners = Manners {
        status: Some(12),
        ..Manners::default()
    };
    let server = RawServer::start(manners).await;
    let router = router_to(&[&server]);
    let error = call_once(&router, "message", ONCE).await.unwrap_err();
    assert_eq!(error.code(), gateway_codec::Code::Internal, "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_by_its_commands_and_taken_back() {
    let server = RawServer::start(Manners::default()).await;
    let router = router_to(&[&server]);
    well(&router, 1).await;
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
    server.seen.frozen.store(true, Ordering::SeqCst);
    let limits = CallLimits {
        timeout: Duration::from_millis(200),
        ..ONCE
    };
    let error = call_once(&router, "message", limits).await.unwrap_err();
    assert_eq!(error, RouterError::Timeout);
    until(&router, "message", &[EndpointState::Unhealthy]).await;
    server.seen.frozen.store(false, Ordering::SeqCst);
    until(&router, "message", &[EndpointState::Healthy]).await;
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
}

#[tokio::test]
async fn no_ping_is_sent_while_a_connection_is_idle() {
    let server = RawServer::start(Manners::default()).await;
    let router = router_to(&[&server]);
    well(&router, 1).await;
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
    // Longer than HTTP/2 keep-alives of clients commonly are; servers allow one in five minutes.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
    assert_eq!(server.seen.pings.load(Ordering::SeqCst), 0);
    assert_eq!(server.seen.streams.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_stream_per_connection_is_enough() {
    let server = Server::with_one_stream_per_connection();
    let router = router(&[("message", &[&server])]);
    until(&router, "message", &[EndpointState::Healthy]).await;
    assert_eq!(call_once(&router, "message", ONCE).await.unwrap().code, 200);
    let bound = SessionBoundRequest {
        user_id: "alice".to_owned(),
        ..Default::default()
    };
    let bound = router.session_bound(bound, Duration::from_secs(5)).await;
    assert!(bound.unwrap().more);
}
