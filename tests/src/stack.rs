//! `mock-service` and `gateway-server` as real processes on free ports.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::http::Http;
use crate::ws::WsClient;

/// The secret that the gateway under test signs with.
pub const SECRET: &str = "a-secret-for-tests-of-more-than-32-bytes";
/// The keys that it knows.
pub const SERVICE_KEY: &str = "service-key-of-the-tests-0123456789";
pub const ADMIN_KEY: &str = "admin-key-of-the-tests-0123456789";

/// How long a program may take to start.
const START: Duration = Duration::from_secs(20);

/// A running system; dropped, it is gone.
pub struct Stack {
    pub websocket: SocketAddr,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// The folder of the gateway's configuration.
    pub folder: TempDir,
    /// The back ends, by name.
    pub services: Vec<(String, SocketAddr)>,
    pub gateway: Process,
    pub mock: Option<Process>,
}

/// What differs from the defaults in a test.
pub struct StackBuilder {
    config: Value,
    platforms: Option<Value>,
    routes: Option<Value>,
    mock_args: Vec<String>,
    with_mock: bool,
}

impl Stack {
    /// A system with default settings.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A system with other settings.
    pub fn builder() -> StackBuilder {
        StackBuilder {
            config: json!({
                "server": {"host": "127.0.0.1", "websocket_port": 0, "http_port": 0, "worker_threads": 2},
                "auth": {
                    "jwt_secret": SECRET,
                    "service_keys": [SERVICE_KEY],
                    "admin_keys": [ADMIN_KEY],
                },
                "logging": {"level": "info"},
            }),
            platforms: None,
            routes: None,
            mock_args: Vec::new(),
            with_mock: true,
        }
    }

    /// A client of the HTTP API.
    pub fn http(&self) -> Http {
        Http::new(self.http)
    }

    /// A WebSocket that nobody is logged in on, its welcome read.
    pub async fn connect(&self) -> WsClient {
        let mut client = self.open("").await;
        client.notice("welcome").await;
        client
    }

    /// A WebSocket with a query, nothing read.
    pub async fn open(&self, query: &str) -> WsClient {
        WsClient::connect(self.websocket, &format!("/ws?{query}"), &[])
            .await
            .expect("a handshake that succeeds")
    }

    /// A WebSocket logged in with the password that the made accounts have.
    pub async fn login(&self, user: &str, device_id: &str, platform: &str) -> WsClient {
        let mut client = self.connect().await;
        let reply = client.login(user, device_id, platform).await;
        assert_eq!(reply["code"], 200, "login of {user}: {reply}");
        client
    }

    /// A token pair by HTTP.
    pub async fn tokens(&self, user: &str, device_id: &str, platform: &str) -> Value {
        let body =
            json!({"username": user, "password": "password", "device_id": device_id, "platform": platform});
        let response = self.http().post("/api/auth/login", &[], &body).await;
        assert_eq!(response.status, 200, "login of {user}: {}", response.body);
        response.body
    }
}

impl StackBuilder {
    /// Lays `patch` over the main configuration.
    pub fn config(mut self, patch: Value) -> Self {
        merge(&mut self.config, patch);
        self
    }

    /// The platform rules, whole.
    pub fn platforms(mut self, platforms: Value) -> Self {
        self.platforms = Some(platforms);
        self
    }

    /// The router configuration, whole.
    pub fn routes(mut self, routes: Value) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Further arguments of `mock-service`.
    pub fn mock(mut self, args: &[&str]) -> Self {
        self.mock_args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// No back ends at all: their configured ports refuse.
    pub fn without_mock(mut self) -> Self {
        self.with_mock = false;
        self
    }

    /// Starts both programs and waits until the gateway is ready.
    pub async fn start(self) -> Stack {
        let stack = self.start_unready().await;
        stack.ready().await;
        stack
    }

    /// Starts both programs and waits until they have told where they listen.
    pub async fn start_unready(mut self) -> Stack {
        let folder = tempfile::tempdir().unwrap();
        let grpc_port = free_port();
        merge(
            &mut self.config,
            json!({
                "server": {"grpc_port": grpc_port},
                "auth": {"revocation_file": folder.path().join("revoked")},
            }),
        );
        let names = ["user", "message", "friend", "group", "push"];
        let mut services = Vec::new();
        let mut mock = None;
        if self.with_mock {
            let mut args: Vec<String> = ["--base-port", "0", "--gateway"].map(str::to_owned).into();
            args.push(format!("http://127.0.0.1:{grpc_port}"));
            args.extend(std::mem::take(&mut self.mock_args));
            let mut process = Process::start("mock-service", &args, &[("MOCK_SERVICE_KEY", SERVICE_KEY)]);
            for name in names {
                let line = process.line(&format!("{name} service listening on ")).await;
                services.push((name.to_owned(), line.parse().unwrap()));
            }
            mock = Some(process);
        } else {
            services
                .extend(names.map(|name| (name.to_owned(), SocketAddr::from(([127, 0, 0, 1], free_port())))));
        }
        for (name, address) in &services {
            let service = json!({"services": {name: {"endpoints": [format!("http://{address}")]}}});
            // A test that names its own endpoints keeps them.
            if self.config["services"][name].is_null() {
                merge(&mut self.config, service);
            }
        }
        write(&folder, "gateway_config.json", Some(&self.config));
        write(&folder, "platform_strategy.json", self.platforms.as_ref());
        write(&folder, "router_config.json", self.routes.as_ref());
        let config = folder
            .path()
            .join("gateway_config.json")
            .to_string_lossy()
            .into_owned();
        let mut gateway = Process::start(
            "gateway-server",
            &["serve".into(), "--config".into(), config],
            &[],
        );
        let websocket = gateway.line("websocket listening on ").await.parse().unwrap();
        let http = gateway.line("http listening on ").await.parse().unwrap();
        let grpc = gateway.line("grpc listening on ").await.parse().unwrap();
        Stack {
            websocket,
            http,
            grpc,
            folder,
            services,
            gateway,
            mock,
        }
    }
}

impl Stack {
    async fn ready(&self) {
        let deadline = tokio::time::Instant::now() + START;
        loop {
            if let Some(response) = self.http().try_get("/readyz").await
                && response.status == 200
            {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not ready in time:\n{}",
                self.gateway.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One program, its output kept; killed when dropped.
pub struct Process {
    child: Child,
    output: watch::Receiver<String>,
    readers: tokio::task::JoinSet<()>,
}

impl Process {
    /// Starts a program of this workspace.
    pub fn start(name: &str, args: &[String], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program(name));
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // What the machine has set must not reach the programs under test.
        for (key, _) in
            std::env::vars().filter(|(key, _)| key.starts_with("GATEWAY__") || key.starts_with("REDIS_"))
        {
            command.env_remove(key);
        }
        command.envs(env.iter().copied());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (output, received) = watch::channel(String::new());
        let mut readers = tokio::task::JoinSet::new();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let keep = output.clone();
        readers.spawn(collect(BufReader::new(stdout), keep));
        readers.spawn(collect(BufReader::new(stderr), output));
        Self {
            child,
            output: received,
            readers,
        }
    }

    /// Waits for a line that begins with `start` and returns the rest of it.
    pub async fn line(&mut self, start: &str) -> String {
        let mut output = self.output.clone();
        let find = |text: &String| text.lines().any(|line| line.starts_with(start));
        let found = tokio::time::timeout(START, output.wait_for(find)).await;
        match found {
            Ok(Ok(text)) => text
                .lines()
                .find_map(|line| line.strip_prefix(start))
                .unwrap()
                .trim()
                .to_owned(),
            _ => panic!("no line {start:?} in:\n{}", self.log()),
        }
    }

    /// Waits until the output holds `text`.
    pub async fn says(&self, text: &str) -> bool {
        let mut output = self.output.clone();
        tokio::time::timeout(START, output.wait_for(|all| all.contains(text)))
            .await
            .is_ok_and(|found| found.is_ok())
    }

    /// Everything it has written.
    pub fn log(&self) -> String {
        self.output.borrow().clone()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Sends it a signal by name (`TERM`, `INT`, `STOP`, `CONT`, `KILL`).
    pub async fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status()
            .await
            .unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Waits for its end and returns its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(START, self.child.wait())
            .await
            .expect("a program that ends")
            .unwrap();
        while self.readers.join_next().await.is_some() {}
        status.code()
    }
}

async fn collect(mut lines: BufReader<impl tokio::io::AsyncRead + Unpin>, output: watch::Sender<String>) {
    let mut line = String::new();
    while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        output.send_modify(|all| all.push_str(&line));
        line.clear();
    }
}

/// A program of this workspace, beside the folder of the test that runs.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --profile ci -p {name}",
        path.display()
    );
    path
}

/// A port that was free a moment ago, below those that the system gives to outgoing connections, and not given to any
/// other test of this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 9_000) as u16;
    (0..9_000)
        .map(|_| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed) % 9_000) % 9_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn write(folder: &TempDir, name: &str, value: Option<&Value>) {
    if let Some(value) = value {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
}

pub fn merge(base: &mut Value, patch: Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, patch) => *base = patch,
    }
}
