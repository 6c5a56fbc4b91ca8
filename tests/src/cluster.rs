//! Several `gateway-server`s on one Redis, over one `mock-service`, all of them real processes.

use std::net::SocketAddr;
use std::time::Duration;

use gateway_redis::testing::{RedisServer, SentinelSet};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::http::Http;
use crate::stack::{ADMIN_KEY, Process, SECRET, SERVICE_KEY, free_port, merge};
use crate::ws::WsClient;

/// What the nodes know each other by.
const CLUSTER_SECRET: &str = "what-the-nodes-of-the-tests-know-each-other-by";

/// How long a cluster may take for what it is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One gateway.
pub struct Node {
    pub name: String,
    pub websocket: SocketAddr,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub process: Process,
    folder: TempDir,
}

/// The nodes, their Redis and their back ends; dropped, all are gone.
pub struct ClusterStack {
    pub redis: Option<RedisServer>,
    pub nodes: Vec<Node>,
    pub mock: Process,
    services: Vec<(String, SocketAddr)>,
    patch: Value,
    redis_section: Value,
}

impl ClusterStack {
    /// So many nodes on a Redis of their own.
    pub async fn start(count: usize) -> Self {
        Self::start_with(count, json!({})).await
    }

    /// The same with `patch` laid over every node's configuration.
    pub async fn start_with(count: usize, patch: Value) -> Self {
        let redis = RedisServer::start();
        let section = json!({"host": "127.0.0.1", "port": redis.port()});
        let mut stack = Self::start_on(count, section, patch).await;
        stack.redis = Some(redis);
        stack
    }

    /// So many nodes on a Redis that is there.
    pub async fn start_on(count: usize, redis_section: Value, patch: Value) -> Self {
        let grpc = free_port();
        let mut args: Vec<String> = ["--base-port", "0", "--accounts", "5000", "--gateway"]
            .map(str::to_owned)
            .into();
        args.push(format!("http://127.0.0.1:{grpc}"));
        let mut mock = Process::start("mock-service", &args, &[("MOCK_SERVICE_KEY", SERVICE_KEY)]);
        let mut services = Vec::new();
        for name in ["user", "message", "friend", "group", "push"] {
            let line = mock.line(&format!("{name} service listening on ")).await;
            services.push((name.to_owned(), line.parse().unwrap()));
        }
        let mut stack = Self {
            redis: None,
            nodes: Vec::new(),
            mock,
            services,
            patch,
            redis_section,
        };
        for index in 0..count {
            let grpc = if index == 0 { grpc } else { free_port() };
            let node = stack.launch(&format!("n{index}"), grpc).await;
            stack.nodes.push(node);
        }
        for node in &stack.nodes {
            node.ready().await;
        }
        stack.linked(count).await;
        stack
    }

    /// Starts a node with this name and waits until it has said where it listens.
    pub async fn launch(&self, name: &str, grpc: u16) -> Node {
        self.launch_with(name, grpc, json!({})).await
    }

    /// The same with something of its own laid over its configuration.
    pub async fn launch_with(&self, name: &str, grpc: u16, own: Value) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({
            "server": {"host": "127.0.0.1", "websocket_port": 0, "http_port": 0, "grpc_port": grpc, "worker_threads": 1},
            "auth": {"jwt_secret": SECRET, "service_keys": [SERVICE_KEY], "admin_keys": [ADMIN_KEY]},
            "logging": {"level": "info"},
            "redis": self.redis_section.clone(),
            "cluster": {"node_id": name, "secret": CLUSTER_SECRET, "lease_seconds": 3, "renew_interval_seconds": 1,
                "session_ttl_seconds": 6, "peer_timeout_ms": 1000},
        });
        for (service, address) in &self.services {
            let endpoints = json!({"services": {service: {"endpoints": [format!("http://{address}")]}}});
            merge(&mut config, endpoints);
        }
        merge(&mut config, self.patch.clone());
        merge(&mut config, own);
        let file = folder.path().join("gateway_config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let args = [
            "serve".into(),
            "--config".into(),
            file.to_string_lossy().into_owned(),
        ];
        let mut process = Process::start("gateway-server", &args, &[]);
        let websocket = process.line("websocket listening on ").await.parse().unwrap();
        let http = process.line("http listening on ").await.parse().unwrap();
        let grpc = process.line("grpc listening on ").await.parse().unwrap();
        Node {
            name: name.to_owned(),
            websocket,
            http,
            grpc,
            process,
            folder,
        }
    }

    /// Waits until every node is linked to all `count`, itself among them.
    pub async fn linked(&self, count: usize) {
        for node in &self.nodes {
            let what = format!("links of {}", node.name);
            until(&what, async || {
                node.process.log().matches("linked to a node").count() >= count
            })
            .await;
        }
    }

    /// Kills the master and waits until another server is and every node is ready again.
    pub async fn fail_over(&self, mut set: SentinelSet) -> SentinelSet {
        let failing = tokio::task::spawn_blocking(move || {
            set.failover();
            set
        });
        let set = failing.await.unwrap();
        for node in &self.nodes {
            node.ready().await;
        }
        set
    }

    /// A counter of a node; 0 where it has not counted yet.
    pub async fn counter(&self, node: usize, name: &str) -> f64 {
        self.nodes[node].counter(name).await
    }
}

impl Node {
    pub fn client(&self) -> Http {
        Http::new(self.http)
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        let ready = async || self.readyz().await == Some(200);
        until(&format!("{} ready:\n{}", self.name, self.process.log()), ready).await;
    }

    /// The status of its `/readyz`; `None` where it does not answer.
    pub async fn readyz(&self) -> Option<u16> {
        let answer = tokio::time::timeout(Duration::from_secs(3), self.client().try_get("/readyz")).await;
        answer.ok().flatten().map(|answer| answer.status)
    }

    pub async fn counter(&self, name: &str) -> f64 {
        let answer = self.client().get("/metrics", &[]).await;
        let text = answer.body.as_str().unwrap_or_default().to_owned();
        text.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// A WebSocket logged in by password, acknowledging pushes.
    pub async fn login(&self, user: &str, device_id: &str, platform: &str) -> WsClient {
        let mut client = WsClient::connect(self.websocket, "/ws?ack=1", &[])
            .await
            .expect("a handshake");
        client.notice("welcome").await;
        let reply = client.login(user, device_id, platform).await;
        assert_eq!(reply["code"], 200, "login of {user} on {}: {reply}", self.name);
        client
    }

    /// A push by HTTP.
    pub async fn push(&self, body: &Value) -> Value {
        let answer = self
            .client()
            .post("/api/push", &[("x-api-key", SERVICE_KEY)], body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// A call of an administrator's.
    pub async fn admin(&self, path: &str) -> Value {
        let answer = self.client().get(path, &[("x-api-key", ADMIN_KEY)]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Where its configuration lies.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// Waits until something is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
