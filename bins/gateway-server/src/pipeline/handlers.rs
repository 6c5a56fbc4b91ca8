//! Handlers that an embedding program registers for commands of its own.
//!
//! They run on the services' runtime, so a slow one delays no socket, and within bounds: so many at once, so
//! many waiting for a place, so long each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway_codec::{Code, Payload, Request, SessionId, UserId};
use gateway_config::Processing;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::fault::Fault;
use crate::upstream::{Answer, Caller};

/// What a handler is given.
#[derive(Debug, Clone)]
pub struct Command {
    /// Command number.
    pub cmd_id: u32,
    /// The client's own number of the message.
    pub seq: u64,
    /// Who asks; `None` only where the command's route is public.
    pub user_id: Option<UserId>,
    /// The session it came by; `None` by HTTP.
    pub session_id: Option<SessionId>,
    /// Full name of the protobuf type of `data`; empty for JSON.
    pub type_name: String,
    /// The payload, untouched.
    pub data: Bytes,
}

impl Command {
    pub(crate) fn new(request: &Request<'_>, caller: Caller<'_>) -> Self {
        let (type_name, data) = match &request.payload {
            Payload::Json(json) => (String::new(), Bytes::copy_from_slice(json.as_bytes())),
            Payload::Protobuf { type_name, body } => ((*type_name).to_owned(), Bytes::copy_from_slice(body)),
        };
        Self {
            cmd_id: request.cmd_id,
            seq: request.seq,
            user_id: caller.identity.map(|identity| identity.user_id().clone()),
            session_id: caller.session_id,
            type_name,
            data,
        }
    }
}

/// What a handler answers.
#[derive(Debug, Clone, Default)]
pub struct CommandAnswer {
    /// Empty for JSON; else the full name of the protobuf type of `data`.
    pub type_name: String,
    /// Reply data; empty is no data.
    pub data: Bytes,
}

impl CommandAnswer {
    /// Reply data in JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        Self {
            type_name: String::new(),
            data: value.to_string().into(),
        }
    }
}

/// A handler's no.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} {message}", code.json())]
pub struct CommandError {
    /// What the client gets.
    pub code: Code,
    /// Shown to the client.
    pub message: String,
}

type Handler = dyn Fn(Command) -> BoxFuture<'static, Result<CommandAnswer, CommandError>> + Send + Sync;

/// Handlers by command, while the gateway is being built.
#[derive(Default)]
pub struct HandlerTable(HashMap<u32, Arc<Handler>>);

impl HandlerTable {
    /// Registers a handler; the last one for a command counts.
    pub fn insert<F, Fut>(&mut self, cmd_id: u32, handler: F)
    where
        F: Fn(Command) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CommandAnswer, CommandError>> + Send + 'static,
    {
        self.0
            .insert(cmd_id, Arc::new(move |command| handler(command).boxed()));
    }
}

/// Handlers by command, and the bounds they run within.
pub struct Handlers {
    table: HashMap<u32, Arc<Handler>>,
    places: Arc<Semaphore>,
    /// Running and waiting together.
    room: Arc<Semaphore>,
    timeout: Duration,
    services: Handle,
}

impl Handlers {
    /// The handlers of `table`, run on `services` within `bounds`.
    pub fn new(table: HandlerTable, bounds: &Processing, services: Handle) -> Self {
        Self {
            table: table.0,
            places: Arc::new(Semaphore::new(bounds.max_concurrent_tasks)),
            room: Arc::new(Semaphore::new(
                bounds.max_concurrent_tasks + bounds.task_queue_size,
            )),
            timeout: bounds.task_timeout,
            services,
        }
    }

    /// Whether a command has a handler.
    pub fn contains(&self, cmd_id: u32) -> bool {
        self.table.contains_key(&cmd_id)
    }

    /// Runs a command's handler: 503 where no more may wait, 504 where it takes too long, waiting included,
    /// 500 where it panics.
    pub fn call(
        &self,
        cmd_id: u32,
        command: Command,
    ) -> impl Future<Output = Result<Answer, Fault>> + Send + 'static + use<> {
        let handler = self.table.get(&cmd_id).cloned();
        let room = self.room.clone().try_acquire_owned();
        let (places, timeout, services) = (self.places.clone(), self.timeout, self.services.clone());
        async move {
            let handler = handler.ok_or_else(|| Fault::rule(Code::NotFound, "no such command"))?;
            let _room = room.map_err(|_| Fault::rule(Code::Unavailable, "too many commands are waiting"))?;
            let run = async move {
                let _place = places.acquire_owned().await;
                handler(command).await
            };
            // Spawned, so that it runs on the services' runtime; dropped with this future, so that nobody is
            // forgotten.
            let mut task = tokio::task::JoinSet::new();
            task.spawn_on(tokio::time::timeout(timeout, run), &services);
            match task.join_next().await {
                Some(Ok(Ok(Ok(answer)))) => Ok(Answer {
                    type_name: answer.type_name,
                    body: answer.data,
                    identity: None,
                }),
                Some(Ok(Ok(Err(error)))) => Err(Fault::Refused {
                    code: error.code,
                    message: error.message,
                }),
                Some(Ok(Err(_))) => Err(Fault::rule(Code::GatewayTimeout, Code::GatewayTimeout.text())),
                Some(Err(_)) | None => {
                    tracing::error!(cmd_id, "a registered handler panicked");
                    Err(Fault::rule(Code::Internal, Code::Internal.text()))
                }
            }
        }
    }
}
