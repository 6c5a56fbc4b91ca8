//! The way to the gateway's gRPC listener, with the service key in `x-api-key`.
//!
//! Connected at the first use and again after a failure, because gateway and back ends start in any order.
//! A gateway that cannot be reached, or does not take the key, is 503 for whoever asked.

use std::time::Duration;

use gateway_codec::{
    Code,
    proto::gateway::{
        BroadcastRequest, BroadcastResponse, KickRequest, PresenceRequest, Push, PushRequest, PushResponse,
        UserPresence, gateway_client::GatewayClient,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::error::ServiceError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// On top of what a push may wait for its outcomes.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway's URL or the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Not an `http://host:port` URL.
    #[error("the gateway's address is not a URL")]
    Address,
    /// A key with characters that metadata cannot carry.
    #[error("the service key holds characters that gRPC metadata cannot carry")]
    Key,
}

/// A client of the gateway.
pub(crate) struct GatewayLink {
    client: GatewayClient<Channel>,
    key: Option<MetadataValue<Ascii>>,
}

impl GatewayLink {
    /// Needs a runtime to be running; connects to nothing yet.
    pub(crate) fn new(address: &str, key: Option<&str>) -> Result<Self, LinkError> {
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| LinkError::Address)?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect_lazy();
        let key = key
            .map(MetadataValue::try_from)
            .transpose()
            .map_err(|_| LinkError::Key)?;
        let key = key.map(|mut key| {
            key.set_sensitive(true);
            key
        });
        Ok(Self {
            client: GatewayClient::new(channel),
            key,
        })
    }

    pub(crate) async fn push(&self, push: PushRequest) -> Result<PushResponse, ServiceError> {
        let wait = CALL_TIMEOUT + Duration::from_millis(push.wait_ms.into());
        let mut client = self.client.clone();
        Ok(client
            .push(self.request(push, wait))
            .await
            .map_err(refused)?
            .into_inner())
    }

    pub(crate) async fn broadcast(&self, push: Push) -> Result<BroadcastResponse, ServiceError> {
        let mut client = self.client.clone();
        let request = self.request(BroadcastRequest { push: Some(push) }, CALL_TIMEOUT);
        Ok(client.broadcast(request).await.map_err(refused)?.into_inner())
    }

    pub(crate) async fn kick(&self, kick: KickRequest) -> Result<u32, ServiceError> {
        let mut client = self.client.clone();
        Ok(client
            .kick(self.request(kick, CALL_TIMEOUT))
            .await
            .map_err(refused)?
            .into_inner()
            .kicked)
    }

    pub(crate) async fn presence(&self, user_ids: Vec<String>) -> Result<Vec<UserPresence>, ServiceError> {
        let mut client = self.client.clone();
        let request = self.request(PresenceRequest { user_ids }, CALL_TIMEOUT);
        Ok(client
            .presence(request)
            .await
            .map_err(refused)?
            .into_inner()
            .users)
    }

    fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("x-api-key", key.clone());
        }
        request
    }
}

fn refused(status: Status) -> ServiceError {
    use tonic::Code as Grpc;
    tracing::warn!(code = ?status.code(), message = status.message(), "the gateway did not take a call");
    match status.code() {
        Grpc::InvalidArgument => ServiceError::bad("the gateway does not accept this push"),
        Grpc::Unauthenticated | Grpc::PermissionDenied => {
            ServiceError::unavailable("the gateway does not accept the service key")
        }
        Grpc::DeadlineExceeded | Grpc::Cancelled => ServiceError::new(Code::GatewayTimeout, ""),
        Grpc::Unavailable | Grpc::ResourceExhausted => {
            ServiceError::unavailable("the gateway is not reachable")
        }
        _ => ServiceError::unavailable("the gateway failed"),
    }
}
