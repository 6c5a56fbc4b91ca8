//! A running mock-service and short ways to ask it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use gateway_codec::proto::backend::{
    CommandReply, CommandRequest, ContentType, backend_client::BackendClient,
};
use mock_service::{MockService, Options, Running, ServiceKind};
use prost::Message;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Bench {
    pub(crate) running: Running,
    next: AtomicU64,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let running = MockService::start(options).await.expect("the services start");
        Self {
            running,
            next: AtomicU64::new(1),
        }
    }

    pub(crate) async fn channel(&self, address: SocketAddr) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        endpoint.connect().await.expect("the service accepts")
    }

    pub(crate) async fn client(&self, kind: ServiceKind) -> BackendClient<Channel> {
        BackendClient::new(self.channel(self.running.addresses[kind.name()]).await)
    }

    pub(crate) fn request(&self, user: &str, cmd_id: u32) -> CommandRequest {
        CommandRequest {
            request_id: format!("{:032x}", self.next.fetch_add(1, Ordering::Relaxed)),
            cmd_id,
            user_id: user.to_owned(),
            session_id: format!("session-of-{user}"),
            ..CommandRequest::default()
        }
    }

    pub(crate) fn json_request(&self, user: &str, cmd_id: u32, data: &Value) -> CommandRequest {
        CommandRequest {
            content_type: ContentType::Json.into(),
            body: data.to_string().into(),
            ..self.request(user, cmd_id)
        }
    }

    pub(crate) async fn call(&self, kind: ServiceKind, request: CommandRequest) -> CommandReply {
        self.client(kind)
            .await
            .call(request)
            .await
            .expect("an answer")
            .into_inner()
    }

    pub(crate) async fn json(&self, user: &str, cmd_id: u32, data: Value) -> Json {
        let kind = ServiceKind::ALL[(cmd_id / 1000 - 1) as usize];
        let reply = self.call(kind, self.json_request(user, cmd_id, &data)).await;
        let data = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Json {
            code: reply.code,
            data,
            reply,
        }
    }

    pub(crate) async fn protobuf(
        &self,
        user: &str,
        cmd_id: u32,
        type_name: &str,
        message: impl Message,
    ) -> CommandReply {
        let kind = ServiceKind::ALL[(cmd_id / 1000 - 1) as usize];
        let request = CommandRequest {
            content_type: ContentType::Protobuf.into(),
            type_name: type_name.to_owned(),
            body: message.encode_to_vec().into(),
            ..self.request(user, cmd_id)
        };
        self.call(kind, request).await
    }
}

/// A reply in JSON.
pub(crate) struct Json {
    pub(crate) code: u32,
    pub(crate) data: Value,
    pub(crate) reply: CommandReply,
}

impl Json {
    /// Who is pushed to, and what.
    pub(crate) fn push(&self) -> (&[String], &gateway_codec::proto::gateway::Push) {
        let [order] = self.reply.pushes.as_slice() else {
            panic!("one push order, not {:?}", self.reply.pushes)
        };
        (&order.user_ids, order.push.as_ref().expect("a push"))
    }
}
