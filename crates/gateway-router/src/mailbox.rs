//! The message service's offline box, by unary calls: what is waiting for a device that was bound, what was
//! delivered, what could not be.
//!
//! These calls are rare and idempotent (by push id), so they go over the endpoint's control connection and are repeated
//! a few times on other endpoints while there is time.

mod gathering;

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::proto::backend::backend_client::BackendClient;
use gateway_codec::proto::backend::{
    DeliveredRequest, RecordOfflineRequest, SessionBoundReply, SessionBoundRequest,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use self::gathering::Gathering;
use crate::backoff::Backoff;
use crate::error::RouterError;
use crate::pool::Pool;
use crate::router::Router;

/// Tries of one call, the first included.
const TRIES: u32 = 4;
const RETRY_BASE: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_millis(500);
/// Calls at the same time; more are `Overloaded` at once.
const MAX_CALLS: usize = 1024;
/// An offline box holds up to 1,000 pushes.
const REPLY_BYTES: usize = 64 * 1024 * 1024;

/// The way to the offline boxes.
pub(crate) struct Mailbox {
    pool: Arc<Pool>,
    calls: Semaphore,
    gathering: Gathering,
    tasks: TaskTracker,
}

impl Mailbox {
    /// The way to the boxes behind `pool`; what it begins for several callers runs among `tasks`.
    pub(crate) fn new(pool: Arc<Pool>, tasks: TaskTracker) -> Self {
        Self {
            pool,
            calls: Semaphore::new(MAX_CALLS),
            gathering: Gathering::default(),
            tasks,
        }
    }

    /// Calls until it succeeds, fails for good, has been tried often enough, or `limit` is over.
    async fn call<Q, R, F>(
        &self,
        message: Q,
        limit: Duration,
        send: impl Fn(BackendClient<Channel>, Request<Q>) -> F,
    ) -> Result<R, RouterError>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let _permit = self.calls.try_acquire().map_err(|_| RouterError::Overloaded)?;
        let deadline = Instant::now() + limit;
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
        let mut avoid = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.pool.pick(avoid) {
                None => RouterError::NoEndpoint,
                Some((endpoint, _)) => {
                    avoid = Some(endpoint.id);
                    let client = BackendClient::new(endpoint.control.clone())
                        .accept_compressed(CompressionEncoding::Gzip)
                        .max_decoding_message_size(REPLY_BYTES);
                    let mut request = Request::new(message.clone());
                    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
                    match timeout_at(deadline, send(client, request)).await {
                        Ok(Ok(response)) => return Ok(response.into_inner()),
                        Ok(Err(status)) => {
                            tracing::warn!(
                                endpoint = %endpoint.uri,
                                code = ?status.code(),
                                detail = status.message(),
                                "a call to the message service failed"
                            );
                            RouterError::from_status(&status)
                        }
                        Err(_) => return Err(RouterError::Timeout),
                    }
                }
            };
            let wait = backoff.step();
            if tries == TRIES || !error.is_retryable() || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }
}

impl Router {
    /// Tells the message service that a device is bound, and gets what waits for its user. Repeated while that is
    /// safe, within `limit`. Those that are asked for at nearly the same time go in one call.
    ///
    /// # Errors
    /// [`RouterError`]; `UnknownService` where no message service is configured.
    pub async fn session_bound(
        &self,
        request: SessionBoundRequest,
        limit: Duration,
    ) -> Result<SessionBoundReply, RouterError> {
        self.mailbox()?.session_bound(request, limit).await
    }

    /// Tells the message service that these pushes of the offline box were delivered. Repeated within `limit`.
    ///
    /// # Errors
    /// As [`Router::session_bound`].
    pub async fn delivered(&self, request: DeliveredRequest, limit: Duration) -> Result<(), RouterError> {
        let send =
            |mut client: BackendClient<Channel>, request| async move { client.delivered(request).await };
        self.mailbox()?.call(request, limit, send).await.map(|_| ())
    }

    /// Hands pushes that no device took to the message service. Repeated within `limit`; idempotent by push id.
    ///
    /// # Errors
    /// As [`Router::session_bound`]; the pushes are then not known to be kept.
    pub async fn record_offline(
        &self,
        request: RecordOfflineRequest,
        limit: Duration,
    ) -> Result<(), RouterError> {
        let send =
            |mut client: BackendClient<Channel>, request| async move { client.record_offline(request).await };
        self.mailbox()?.call(request, limit, send).await.map(|_| ())
    }

    fn mailbox(&self) -> Result<&Arc<Mailbox>, RouterError> {
        self.mailbox.as_ref().ok_or(RouterError::UnknownService)
    }
}
