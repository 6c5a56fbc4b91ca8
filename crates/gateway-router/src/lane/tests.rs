use std::task::Context;
use std::time::Duration;

use futures_util::FutureExt;
use gateway_codec::proto::backend::{CommandReply, CommandRequest, Reply};
use prost::Message;

use super::*;
use crate::backend::Backend;
use crate::flow::call::{Call, RepeatPace};
use crate::flow::{CallLimits, Flow, Parcel};

/// A back end with this one lane, which no task serves.
struct Only(Arc<GrpcLane>);

impl Backend for Only {
    fn lane(&self, _avoid: Option<EndpointId>) -> Result<Arc<dyn Lane>, RouterError> {
        Ok(self.0.clone())
    }
}

fn lane() -> Arc<GrpcLane> {
    let endpoint = Endpoint::new(
        EndpointId(0),
        "http://127.0.0.1:9".to_owned(),
        Duration::from_secs(1),
    )
    .unwrap();
    Arc::new(GrpcLane::new(
        Arc::new(endpoint),
        Arc::new(Telemetry::new("test")),
        Arc::new(Pace::new()),
    ))
}

fn call(lane: &Arc<GrpcLane>, body: usize, timeout: Duration) -> Call {
    let request = CommandRequest {
        body: vec![0; body].into(),
        ..Default::default()
    };
    let parcel = Parcel {
        request: request.encode_to_vec().into(),
        deadline: Instant::now() + timeout,
    };
    let limits = CallLimits {
        timeout,
        retry_count: 0,
        idempotent: false,
    };
    Call::place(
        &Flow::new(),
        0,
        Arc::new(Only(lane.clone())),
        parcel,
        limits,
        RepeatPace::DEFAULT,
    )
}

fn batch(lane: &GrpcLane) -> Option<Vec<u64>> {
    let stream = lane.inner().stream;
    match lane.poll_batch(stream, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(batch) => batch.map(|batch| {
            batch
                .commands
                .iter()
                .map(|command| command.correlation_id)
                .collect()
        }),
        Poll::Pending => Some(Vec::new()),
    }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_batch_is_what_has_gathered_up_to_256_commands() {
    let lane = lane();
    assert_eq!(batch(&lane), Some(vec![]));
    let _calls: Vec<_> = (0..300).map(|_| call(&lane, 10, LONG)).collect();
    assert_eq!(batch(&lane), Some((0..256).collect()));
    assert_eq!(batch(&lane), Some((256..300).collect()));
    assert_eq!(batch(&lane), Some(vec![]));
}

#[tokio::test]
async fn a_batch_stops_before_512_kib_and_a_larger_command_travels_alone() {
    let lane = lane();
    let sizes = [200, 200, 200, 1024, 1, 1].map(|kib| kib * 1024);
    let _calls: Vec<_> = sizes.into_iter().map(|size| call(&lane, size, LONG)).collect();
    assert_eq!(batch(&lane), Some(vec![0, 1]));
    assert_eq!(batch(&lane), Some(vec![2]));
    assert_eq!(batch(&lane), Some(vec![3]));
    assert_eq!(batch(&lane), Some(vec![4, 5]));
}

#[tokio::test]
async fn cancelled_and_expired_commands_do_not_leave() {
    let lane = lane();
    let cancelled = call(&lane, 1000, LONG);
    let _expired = call(&lane, 10, Duration::ZERO);
    let _sent = call(&lane, 10, LONG);
    drop(cancelled);
    assert_eq!(batch(&lane), Some(vec![2]));
    assert_eq!(lane.inner().queue_bytes, 0);
    assert_eq!(lane.pending(), 2);
}

#[tokio::test]
async fn the_time_left_is_told() {
    let lane = lane();
    let _call = call(&lane, 10, LONG);
    let Poll::Ready(Some(batch)) = lane.poll_batch(0, &mut Context::from_waker(Waker::noop())) else {
        panic!("nothing to send")
    };
    assert!(
        (29_000..=30_000).contains(&batch.commands[0].timeout_ms),
        "{}",
        batch.commands[0].timeout_ms
    );
}

#[tokio::test]
async fn a_broken_stream_loses_what_was_written_and_an_old_stream_gets_nothing_more() {
    let lane = lane();
    let written = call(&lane, 10, LONG);
    assert_eq!(batch(&lane), Some(vec![0]));
    let unwritten = call(&lane, 10, LONG);
    lane.fail_all(Unanswered::Lost, &RouterError::Disconnected, State::Open);
    assert_eq!(
        written.run(|| {}).now_or_never().unwrap().unwrap_err(),
        RouterError::Disconnected
    );
    assert!(unwritten.run(|| {}).now_or_never().is_none(), "it is placed anew");
    assert!(matches!(
        lane.poll_batch(0, &mut Context::from_waker(Waker::noop())),
        Poll::Ready(None)
    ));
    assert_eq!(lane.pending(), 0);
}

#[tokio::test]
async fn replies_that_nobody_waits_for_are_dropped_and_empty_ones_are_bad() {
    let lane = lane();
    let first = call(&lane, 10, LONG);
    let second = call(&lane, 10, LONG);
    assert_eq!(batch(&lane), Some(vec![0, 1]));
    let ok = Some(CommandReply {
        code: 200,
        ..Default::default()
    });
    let whole = vec![
        Reply {
            correlation_id: 99,
            reply: ok.clone(),
        },
        Reply {
            correlation_id: 1,
            reply: ok.clone(),
        },
        Reply {
            correlation_id: 1,
            reply: ok,
        },
        Reply {
            correlation_id: 0,
            reply: None,
        },
    ];
    lane.answered(Replies {
        whole,
        oversized: Vec::new(),
    });
    assert_eq!(second.run(|| {}).now_or_never().unwrap().unwrap().code, 200);
    assert_eq!(
        first.run(|| {}).now_or_never().unwrap().unwrap_err(),
        RouterError::BadReply
    );
    assert_eq!(lane.pending(), 0);
}

#[tokio::test]
async fn a_full_queue_is_overload() {
    let lane = lane();
    let calls: Vec<_> = (0..33).map(|_| call(&lane, 1024 * 1024, LONG)).collect();
    let mut ends = calls.into_iter().map(|call| call.run(|| {}).now_or_never());
    assert!(ends.by_ref().take(31).all(|end| end.is_none()));
    assert_eq!(
        ends.last().flatten().unwrap().unwrap_err(),
        RouterError::Overloaded
    );
}

#[tokio::test]
async fn a_closed_lane_takes_nothing() {
    let lane = lane();
    lane.fail_all(Unanswered::Lost, &RouterError::Disconnected, State::Closed);
    assert!(lane.is_closed());
    assert!(
        call(&lane, 1, LONG).run(|| {}).now_or_never().is_none(),
        "it looks for another lane"
    );
    assert_eq!(lane.pending(), 0);
}
