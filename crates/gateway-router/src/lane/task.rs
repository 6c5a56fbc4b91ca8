//! The task of a lane: connect when there is work, carry it, start over when the stream breaks, and make room for a
//! successor when the server announces the end of the connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::RouterError;
use crate::lane::link::{End, GoingAway, Link};
use crate::lane::{GrpcLane, State, Unanswered};

/// How often a draining lane looks whether all its commands are answered.
const DRAIN_LOOK: Duration = Duration::from_millis(25);
/// How long a server may take to end a stream after our half has ended.
const LINGER: Duration = Duration::from_secs(1);

/// How serving one connection ended.
enum Ended {
    Stopped,
    NotConnected,
    Over {
        unanswered: Unanswered,
        error: RouterError,
        /// The server had announced it: the lane's successor goes on.
        drained: bool,
    },
}

/// What happened on a connection.
enum Event {
    GoingAway(GoingAway),
    Ended(End),
}

/// Runs the lane until `stop` or until its server has drained it. If the runtime drops the task instead, even
/// unpolled, the lane closes all the same.
pub(crate) async fn run(served: Served, stop: CancellationToken) {
    let lane = &served.0;
    tokio::select! {
        () = serve(lane, &stop) => {}
        never = lane.keep_deadlines() => match never {},
    }
}

async fn serve(lane: &Arc<GrpcLane>, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = lane.work() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(lane.pace.not_before()) => {}
        }
        if lane.pace.connects() {
            lane.telemetry.reconnects.increment(1);
        }
        let ended = tokio::select! {
            biased;
            ended = carry(lane) => ended,
            () = stop.cancelled() => Ended::Stopped,
        };
        match ended {
            Ended::Stopped => return,
            Ended::NotConnected => {
                lane.endpoint.unreachable();
                lane.fail_all(Unanswered::Lost, &RouterError::Disconnected, State::Open);
            }
            Ended::Over {
                unanswered,
                error,
                drained: true,
            } => return lane.fail_all(unanswered, &error, State::Closed),
            Ended::Over {
                unanswered,
                error,
                drained: false,
            } => {
                lane.endpoint.doubt();
                lane.fail_all(unanswered, &error, State::Open);
            }
        }
        lane.pace.failed();
    }
}

/// One connection with one stream on it, from connecting to its end.
async fn carry(lane: &GrpcLane) -> Ended {
    let mut link = match Link::connect(&lane.endpoint).await {
        Ok(link) => link,
        Err(error) => {
            tracing::debug!(endpoint = %lane.endpoint.uri, %error, "connecting failed");
            return Ended::NotConnected;
        }
    };
    let stream = lane.inner().stream;
    let mut fresh = true;
    match poll_fn(|cx| step(lane, &mut link, Some(stream), &mut fresh, cx)).await {
        Event::Ended(end) => over(lane, &end, false),
        Event::GoingAway(going) => {
            announce(lane, &going);
            lane.drain();
            drain(lane, &mut link).await
        }
    }
}

/// Answers what comes, and sends what has gathered for `stream`; without one, sends nothing.
fn step(
    lane: &GrpcLane,
    link: &mut Link,
    stream: Option<u64>,
    fresh: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    link.drive(cx);
    if let Some(going) = link.going_away(cx) {
        return Poll::Ready(Event::GoingAway(going));
    }
    // Commands leave before the first reply: some servers send their headers with it only.
    loop {
        match link.poll_replies(cx) {
            Poll::Ready(Ok(replies)) => {
                if std::mem::take(fresh) {
                    lane.pace.succeeded();
                }
                lane.answered(replies);
            }
            Poll::Ready(Err(end)) => return Poll::Ready(Event::Ended(end)),
            Poll::Pending => break,
        }
    }
    let Some(stream) = stream else {
        return Poll::Pending;
    };
    while link.poll_room(cx).is_ready() {
        match lane.poll_batch(stream, cx) {
            Poll::Ready(Some(batch)) => link.send(batch.frame()),
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    Poll::Pending
}

/// Waits for the replies that are still to come, then ends our half of the stream: a back end may take its end for
/// the end of our interest in replies. Commands have deadlines, so this ends.
async fn drain(lane: &GrpcLane, link: &mut Link) -> Ended {
    let mut fresh = true;
    loop {
        tokio::select! {
            biased;
            end = ended(lane, link, &mut fresh) => return over(lane, &end, true),
            () = sleep(DRAIN_LOOK) => {}
        }
        if lane.pending() == 0 {
            break;
        }
    }
    link.finish();
    if timeout(LINGER, ended(lane, link, &mut fresh)).await.is_err() {
        tracing::debug!(endpoint = %lane.endpoint.uri, "the back end did not end a drained stream; it is cut");
    }
    Ended::Over {
        unanswered: Unanswered::Lost,
        error: RouterError::Disconnected,
        drained: true,
    }
}

/// Takes replies, without sending commands, until the stream ends.
async fn ended(lane: &GrpcLane, link: &mut Link, fresh: &mut bool) -> End {
    loop {
        // A server announces an end once; the last stream that it names later is ours.
        if let Event::Ended(end) = poll_fn(|cx| step(lane, link, None, fresh, cx)).await {
            return end;
        }
    }
}

/// Logs that the server closes the connection.
fn announce(lane: &GrpcLane, going: &GoingAway) {
    let (service, endpoint) = (lane.telemetry.service(), &lane.endpoint.uri);
    lane.telemetry.drains.increment(1);
    if going.reason == Reason::NO_ERROR {
        tracing::debug!(service, %endpoint, "a back end closes a connection; new commands use another one");
        return;
    }
    tracing::warn!(service, %endpoint, detail = going.detail, "a back end closes a connection because of an error");
    if going.reason == Reason::ENHANCE_YOUR_CALM {
        lane.pace.calm();
    }
}

fn over(lane: &GrpcLane, end: &End, drained: bool) -> Ended {
    let (service, endpoint) = (lane.telemetry.service(), &lane.endpoint.uri);
    let unanswered = match end {
        End::Refused(_) => Unanswered::Unprocessed,
        End::Status(_) | End::NoStatus | End::NotGrpc { .. } | End::Unreadable(_) | End::Broken(_) => {
            Unanswered::Lost
        }
    };
    let pending = lane.pending();
    if drained && pending == 0 {
        tracing::debug!(service, %endpoint, %end, "a drained stream to a back end ended");
    } else {
        tracing::warn!(service, %endpoint, %end, pending, "the stream to a back end broke");
    }
    Ended::Over {
        unanswered,
        error: end.error(),
        drained,
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
        self.0
            .fail_all(Unanswered::Lost, &RouterError::Disconnected, State::Closed);
    }
}
