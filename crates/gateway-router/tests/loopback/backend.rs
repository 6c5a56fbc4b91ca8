//! A business service on a runtime of its own, so that it can be killed with all its connections.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_codec::proto::backend::backend_server::{Backend, BackendServer};
use gateway_codec::proto::backend::*;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// What the service saw, and how it behaves; outlives the server.
#[derive(Default)]
pub(crate) struct Record {
    /// Sequence numbers by session, in the order of arrival.
    pub(crate) seen: Mutex<HashMap<String, Vec<u32>>>,
    pub(crate) count: AtomicUsize,
    pub(crate) largest_batch: AtomicUsize,
    /// Answers nothing.
    pub(crate) hang: AtomicBool,
    /// Answers this code instead of 200 if it is not 0.
    pub(crate) code: AtomicU32,
    /// Stops answering after that many commands if it is not 0.
    pub(crate) answer_only: AtomicUsize,
    pub(crate) streams: AtomicUsize,
    pub(crate) timeouts: Mutex<Vec<u32>>,
    /// Unary calls that fail before one succeeds.
    pub(crate) unary_failures: AtomicUsize,
    pub(crate) recorded: Mutex<Vec<OfflinePush>>,
    /// Most binds that one call is answered for; 0: such calls are not known here.
    pub(crate) together: AtomicUsize,
    /// How many binds each call told.
    pub(crate) bound: Mutex<Vec<usize>>,
}

pub(crate) struct Server {
    pub(crate) record: Arc<Record>,
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), Arc::default(), true)
    }

    pub(crate) fn with_one_stream_per_connection() -> Self {
        Self::start_with("127.0.0.1:0".parse().unwrap(), Arc::default(), true, Some(1))
    }

    pub(crate) fn without_health() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), Arc::default(), false)
    }

    pub(crate) fn start_on(address: SocketAddr, record: Arc<Record>, health: bool) -> Self {
        Self::start_with(address, record, health, None)
    }

    fn start_with(
        address: SocketAddr,
        record: Arc<Record>,
        health: bool,
        streams: impl Into<Option<u32>> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = BackendServer::new(Fake(record.clone())).max_decoding_message_size(4 * 1024 * 1024);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut server = tonic::transport::Server::builder()
                .tcp_nodelay(true)
                .max_concurrent_streams(streams);
            let routes = if health {
                let (reporter, health) = tonic_health::server::health_reporter();
                reporter.set_serving::<BackendServer<Fake>>().await;
                server.add_service(service).add_service(health)
            } else {
                server.add_service(service)
            };
            routes
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self {
            record,
            address,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it with all its connections.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // In a thread of its own: a runtime may not wait for another one's threads.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(1)))
                .join()
                .unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        *self = Self::start_on(self.address, self.record.clone(), true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) struct Fake(Arc<Record>);

impl Record {
    /// The reply to a command, if there is one.
    fn answer(&self, request: CommandRequest) -> Option<CommandReply> {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen
            .lock()
            .unwrap()
            .entry(request.session_id)
            .or_default()
            .push(u32::try_from(request.seq).unwrap());
        let answer_only = self.answer_only.load(Ordering::SeqCst);
        if self.hang.load(Ordering::SeqCst) || (answer_only > 0 && count > answer_only) {
            return None;
        }
        let code = match self.code.load(Ordering::SeqCst) {
            0 => 200,
            code => code,
        };
        Some(CommandReply {
            code,
            body: request.body,
            ..Default::default()
        })
    }

    fn unary(&self) -> Result<(), Status> {
        let failing = self
            .unary_failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        if failing {
            Err(Status::unavailable("told to fail"))
        } else {
            Ok(())
        }
    }
}

#[tonic::async_trait]
impl Backend for Fake {
    async fn call(&self, _request: Request<CommandRequest>) -> Result<Response<CommandReply>, Status> {
        Err(Status::unimplemented("commands come by stream"))
    }

    type StreamStream = Pin<Box<dyn Stream<Item = Result<ReplyBatch, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<CommandBatch>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let record = self.0.clone();
        record.streams.fetch_add(1, Ordering::SeqCst);
        let mut batches = request.into_inner();
        let (replies, stream) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok(Some(batch)) = batches.message().await {
                record
                    .largest_batch
                    .fetch_max(batch.commands.len(), Ordering::SeqCst);
                let mut answers = Vec::new();
                for command in batch.commands {
                    record.timeouts.lock().unwrap().push(command.timeout_ms);
                    if let Some(reply) = record.answer(command.request.unwrap()) {
                        answers.push(Reply {
                            correlation_id: command.correlation_id,
                            reply: Some(reply),
                        });
                    }
                }
                if replies.send(Ok(ReplyBatch { replies: answers })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn session_bound(
        &self,
        request: Request<SessionBoundRequest>,
    ) -> Result<Response<SessionBoundReply>, Status> {
        self.0.unary()?;
        self.0.bound.lock().unwrap().push(1);
        let more = request.into_inner().user_id == "alice";
        Ok(Response::new(SessionBoundReply {
            pushes: Vec::new(),
            more,
        }))
    }

    async fn sessions_bound(
        &self,
        request: Request<SessionsBoundRequest>,
    ) -> Result<Response<SessionsBoundReply>, Status> {
        let together = self.0.together.load(Ordering::SeqCst);
        if together == 0 {
            return Err(Status::unimplemented("one by one"));
        }
        let sessions = request.into_inner().sessions;
        self.0.bound.lock().unwrap().push(sessions.len());
        let reply = |session: SessionBoundRequest| SessionBoundReply {
            pushes: Vec::new(),
            more: session.user_id == "alice",
        };
        let replies = sessions.into_iter().take(together).map(reply).collect();
        Ok(Response::new(SessionsBoundReply { replies }))
    }

    async fn delivered(&self, _: Request<DeliveredRequest>) -> Result<Response<DeliveredReply>, Status> {
        self.0.unary()?;
        Ok(Response::new(DeliveredReply {}))
    }

    async fn record_offline(
        &self,
        request: Request<RecordOfflineRequest>,
    ) -> Result<Response<RecordOfflineReply>, Status> {
        self.0.unary()?;
        self.0
            .recorded
            .lock()
            .unwrap()
            .extend(request.into_inner().pushes);
        Ok(Response::new(RecordOfflineReply {}))
    }
}
