use std::time::Duration;

use super::*;

fn pool(count: u32, lanes_per_worker: usize) -> Pool {
    let endpoint = |id| {
        let uri = format!("http://127.0.0.1:{}", 1 + id);
        Arc::new(Endpoint::new(EndpointId(id), uri, Duration::from_secs(1)).unwrap())
    };
    Pool::new(
        (0..count).map(endpoint).collect(),
        lanes_per_worker,
        Arc::new(Telemetry::new("test")),
        TaskTracker::new(),
        CancellationToken::new(),
    )
}

fn picks(pool: &Pool, avoid: Option<u32>) -> Vec<u32> {
    let mut ids: Vec<_> = (0..6)
        .filter_map(|_| {
            pool.pick(avoid.map(EndpointId))
                .map(|(endpoint, _)| endpoint.id.0)
        })
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn healthy_endpoints_take_turns_and_unhealthy_ones_get_nothing() {
    let pool = pool(3, 1);
    assert_eq!(picks(&pool, None), [0, 0, 1, 1, 2, 2], "nothing is known yet");
    pool.endpoints()[0].mark(EndpointState::Healthy);
    assert_eq!(picks(&pool, None), [0; 6]);
    pool.endpoints()[2].mark(EndpointState::Healthy);
    assert_eq!(picks(&pool, None), [0, 0, 0, 2, 2, 2]);
    assert_eq!(picks(&pool, Some(0)), [2; 6]);
    pool.endpoints()[2].mark(EndpointState::Unhealthy);
    assert_eq!(picks(&pool, Some(0)), [0; 6], "better the same again than none");
    pool.endpoints()[0].mark(EndpointState::Unhealthy);
    assert_eq!(picks(&pool, None), [1; 6]);
    pool.endpoints()[1].mark(EndpointState::Unhealthy);
    assert!(picks(&pool, None).is_empty());
    assert!(matches!(pool.lane(None), Err(RouterError::NoEndpoint)));
}

#[tokio::test]
async fn a_broken_stream_puts_a_healthy_endpoint_in_doubt_only() {
    let pool = pool(1, 1);
    let endpoint = &pool.endpoints()[0];
    endpoint.mark(EndpointState::Healthy);
    endpoint.doubt();
    assert_eq!(endpoint.state(), EndpointState::Unknown);
    endpoint.unreachable();
    endpoint.doubt();
    assert_eq!(endpoint.state(), EndpointState::Unhealthy);
}

#[tokio::test]
async fn there_are_as_many_lanes_per_runtime_and_endpoint_as_configured() {
    let pool = Arc::new(pool(2, 2));
    for _ in 0..20 {
        pool.lane(None).unwrap();
    }
    assert_eq!(pool.lanes.len(), 4);
    let other = pool.clone();
    let ended = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let lane = runtime.block_on(async { other.lane(None).unwrap() });
        runtime.block_on(tokio::task::yield_now());
        assert_eq!(other.lanes.len(), 5);
        drop(runtime);
        lane
    });
    let lane = ended.join().unwrap();
    assert!(
        pool.lanes.pin().values().any(|lane| lane.is_closed()),
        "a lane ends with its runtime"
    );
    drop(lane);
}
