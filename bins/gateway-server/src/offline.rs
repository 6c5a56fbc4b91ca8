//! gateway-conn's offline box at the message service, reached through gateway-router.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway_codec::proto::backend::{self, DeliveredRequest, RecordOfflineRequest, SessionBoundRequest};
use gateway_codec::{PushBody, UserId};
use gateway_conn::{Backlog, OfflineError, OfflinePush, OfflineSink, SessionRecord};
use gateway_router::{Router, RouterError};

/// How long one call may take, its repeats included.
const CALL: Duration = Duration::from_secs(5);

/// The message service's offline box.
pub struct MessageService {
    router: Arc<Router>,
}

impl MessageService {
    /// The box behind `router`.
    pub fn new(router: Arc<Router>) -> Self {
        Self { router }
    }
}

#[async_trait]
impl OfflineSink for MessageService {
    async fn record_offline(&self, pushes: Vec<OfflinePush>) -> Result<(), OfflineError> {
        let pushes = pushes
            .into_iter()
            .map(|one| backend::OfflinePush {
                user_id: one.user_id.to_string(),
                push: Some((&*one.push.body).into()),
            })
            .collect();
        self.router
            .record_offline(RecordOfflineRequest { pushes }, CALL)
            .await
            .map_err(away)?;
        Ok(())
    }

    async fn delivered(&self, user_id: &UserId, push_ids: Vec<String>) -> Result<(), OfflineError> {
        let request = DeliveredRequest {
            user_id: user_id.to_string(),
            push_ids,
        };
        self.router.delivered(request, CALL).await.map_err(away)?;
        Ok(())
    }

    async fn session_bound(&self, session: &SessionRecord) -> Result<Backlog, OfflineError> {
        let request = SessionBoundRequest {
            user_id: session.user_id.to_string(),
            session_id: session.session_id.to_string(),
            device_id: session.device_id.to_string(),
            platform: session.platform.to_string(),
        };
        let reply = self.router.session_bound(request, CALL).await.map_err(away)?;
        let mut pushes = Vec::with_capacity(reply.pushes.len());
        for push in reply.pushes {
            match PushBody::try_from(push) {
                Ok(body) => pushes.push(body),
                Err(error) => {
                    tracing::error!(%error, user_id = %session.user_id, "the offline box holds a push that cannot be made");
                }
            }
        }
        Ok(Backlog {
            pushes,
            more: reply.more,
        })
    }
}

fn away(error: RouterError) -> OfflineError {
    OfflineError::Unavailable(error.to_string())
}
