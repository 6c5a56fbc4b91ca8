//! The task of a lane: connect when there is work, carry it, and start over when the stream breaks.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use gateway_codec::proto::backend::ReplyBatch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use crate::backoff::Backoff;
use crate::error::RouterError;
use crate::lane::wire::RawBatch;
use crate::lane::{GrpcLane, State};

const STREAM_PATH: &str = "/mychat.backend.v1.Backend/Stream";
/// A back end may put many large replies into one batch.
const REPLY_BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Between connections of one lane.
const RECONNECT_BASE: Duration = Duration::from_millis(20);
const RECONNECT_CAP: Duration = Duration::from_secs(1);

/// Why a stream ended.
enum Ended {
    Stopped,
    NotConnected,
    Broken(RouterError),
}

/// Runs the lane until `stop`. If the runtime drops the task instead, even unpolled, the lane closes all the same.
pub(crate) async fn run(served: Served, stop: CancellationToken) {
    let lane = &served.0;
    tokio::select! {
        () = serve(lane, &stop) => {}
        never = lane.keep_deadlines() => match never {},
    }
}

async fn serve(lane: &Arc<GrpcLane>, stop: &CancellationToken) {
    let mut backoff = Backoff::new(RECONNECT_BASE, RECONNECT_CAP);
    let mut not_before = Instant::now();
    let mut streams = 0_u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = lane.work() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(not_before) => {}
        }
        if streams > 0 {
            lane.telemetry.reconnects.increment(1);
        }
        streams += 1;
        match carry(lane, stop, &mut backoff).await {
            Ended::Stopped => return,
            Ended::NotConnected => {
                lane.endpoint.unreachable();
                lane.fail_all(&RouterError::Disconnected, State::Open);
            }
            Ended::Broken(error) => {
                lane.endpoint.doubt();
                lane.fail_all(&error, State::Open);
            }
        }
        not_before = Instant::now() + backoff.step();
    }
}

/// One connection with one stream on it, from connecting to its end.
async fn carry(lane: &Arc<GrpcLane>, stop: &CancellationToken, backoff: &mut Backoff) -> Ended {
    let channel = tokio::select! {
        () = stop.cancelled() => return Ended::Stopped,
        channel = lane.endpoint.connect() => channel,
    };
    let Some(channel) = channel else {
        return Ended::NotConnected;
    };
    let mut client =
        tonic::client::Grpc::<Channel>::new(channel).max_decoding_message_size(REPLY_BATCH_BYTES);
    if client.ready().await.is_err() {
        return Ended::NotConnected;
    }
    let batches = Batches {
        lane: lane.clone(),
        stream: lane.inner().stream,
    };
    let codec = ProstCodec::<RawBatch, ReplyBatch>::new();
    let opened = client.streaming(
        tonic::Request::new(batches),
        PathAndQuery::from_static(STREAM_PATH),
        codec,
    );
    // Commands leave while this waits: some servers send their headers with the first reply only.
    let mut replies = tokio::select! {
        () = stop.cancelled() => return Ended::Stopped,
        opened = opened => match opened {
            Ok(response) => response.into_inner(),
            Err(status) => return broken(lane, &status),
        },
    };
    let mut stopped = pin!(stop.cancelled());
    loop {
        let message = tokio::select! {
            biased;
            message = replies.message() => message,
            () = &mut stopped => return Ended::Stopped,
        };
        match message {
            Ok(Some(batch)) => {
                backoff.reset();
                lane.answered(batch.replies);
            }
            Ok(None) => return Ended::Broken(RouterError::Disconnected),
            Err(status) => return broken(lane, &status),
        }
    }
}

fn broken(lane: &GrpcLane, status: &tonic::Status) -> Ended {
    tracing::warn!(
        endpoint = %lane.endpoint.uri,
        code = ?status.code(),
        detail = status.message(),
        "the stream to a back end broke"
    );
    Ended::Broken(RouterError::from_status(status))
}

/// The request side of a stream: whatever has gathered each time the connection asks.
struct Batches {
    lane: Arc<GrpcLane>,
    stream: u64,
}

impl Stream for Batches {
    type Item = RawBatch;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RawBatch>> {
        self.lane.poll_batch(self.stream, cx)
    }
}

/// Ends the lane with its task, also when a worker's runtime is torn down.
pub(crate) struct Served(Arc<GrpcLane>);

impl Served {
    pub(crate) fn new(lane: Arc<GrpcLane>) -> Self {
        Self(lane)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fail_all(&RouterError::Disconnected, State::Closed);
    }
}
