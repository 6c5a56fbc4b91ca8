//! Real servers for tests, here and in other crates: processes on free ports of loopback, ended with their handles. They
//! keep nothing on disk. Whatever does not come up in time panics, as a test wants it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]

mod proxy;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use self::proxy::LosingProxy;

/// How long a server may take to do what it is asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// One `redis-server`, killed when it is dropped.
pub struct RedisServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl RedisServer {
    /// On any free port.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// On this port, such as that of a server that was killed.
    #[must_use]
    pub fn start_on(port: u16) -> Self {
        Self::start_with(port, &[])
    }

    /// With more settings, such as `["--requirepass", "secret"]`. For TLS `["--port", "0", "--tls-port", port, …]`.
    #[must_use]
    pub fn start_with(port: u16, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            // A master would wait five seconds for more replicas that want the same copy.
            .args(["--repl-diskless-sync-delay", "0", "--dir"])
            .arg(folder.path())
            .args(more);
        Self::spawn(command, port, folder)
    }

    fn spawn(mut command: Command, port: u16, folder: TempDir) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server, which `apt-get install redis-server` brings");
        let mut server = Self {
            child,
            port,
            _folder: folder,
        };
        until(|| {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "redis-server on port {port} ended at once");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    /// Where it listens on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `redis-cli` says to these arguments.
    pub fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }

    /// Closes all connections of these types again and again, until the guard is dropped: `normal`, `pubsub`.
    #[must_use]
    pub fn kill_connections(&self, types: &'static [&'static str], pause: Duration) -> Killing {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (running, stop) = std::sync::mpsc::channel::<()>();
        let closed = Arc::<AtomicUsize>::default();
        let count = closed.clone();
        let thread = std::thread::spawn(move || {
            let mut replies = BufReader::new(connection.try_clone().unwrap());
            // Until the guard drops its end.
            while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                for kind in types {
                    // Not its own, which Redis passes over.
                    writeln!(connection, "CLIENT KILL TYPE {kind}").unwrap();
                    let mut reply = String::new();
                    replies.read_line(&mut reply).unwrap();
                    let closed = reply.trim().trim_start_matches(':').parse().unwrap();
                    count.fetch_add(closed, Ordering::Relaxed);
                }
            }
        });
        Killing {
            running,
            thread,
            closed,
        }
    }

    /// Replicas that have its data and follow it.
    fn replicas(&self) -> usize {
        self.cli(&["INFO", "replication"]).matches("state=online").count()
    }

    /// Sends it a signal by its name: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
    }

    /// Kills it and waits until it is gone; its port, which is free again.
    pub fn kill(mut self) -> u16 {
        self.end();
        self.port
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Closes connections until it is stopped.
pub struct Killing {
    running: Sender<()>,
    thread: JoinHandle<()>,
    closed: Arc<AtomicUsize>,
}

impl Killing {
    /// Connections closed so far.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self.running);
        self.thread.join().unwrap();
    }
}

/// A master, two replicas and three sentinels, which call it `mymaster` and give it up after a second.
pub struct SentinelSet {
    /// The master that was first, then its replicas; one that was killed is not among them.
    pub servers: Vec<RedisServer>,
    /// The sentinels.
    pub sentinels: Vec<RedisServer>,
}

impl SentinelSet {
    /// Returns when all know each other.
    #[must_use]
    pub fn start() -> Self {
        let mut servers = vec![RedisServer::start()];
        let first = servers[0].port.to_string();
        for _ in 0..2 {
            let more = ["--replicaof", "127.0.0.1", &first];
            servers.push(RedisServer::start_with(free_port(), &more));
        }
        until(|| servers[0].replicas() == 2);
        let sentinels: Vec<_> = (0..3).map(|_| sentinel(&first)).collect();
        for sentinel in &sentinels {
            until(|| {
                let seen = sentinel.cli(&["SENTINEL", "MASTER", "mymaster"]);
                let mut lines = seen.lines();
                let mut value = |name| lines.find(|line| *line == name).and_then(|_| lines.next());
                value("num-slaves") == Some("2") && value("num-other-sentinels") == Some("2")
            });
        }
        Self { servers, sentinels }
    }

    /// The sentinels, as `host:port`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.sentinels)
    }

    /// The port of the master, as the first sentinel says.
    #[must_use]
    pub fn master(&self) -> u16 {
        let answer = self.sentinels[0].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
        let port = answer.lines().nth(1).and_then(|port| port.trim().parse().ok());
        port.unwrap()
    }

    /// Kills the master, and waits for nothing.
    pub fn kill_master(&mut self) {
        let master = self.master();
        self.servers.retain(|server| server.port != master);
    }

    /// Kills the master and waits until another server is.
    pub fn failover(&mut self) {
        let master = self.master();
        self.kill_master();
        until(|| self.master() != master);
    }

    /// Adds a replica in the place of a server that was killed, and waits until the master knows it.
    pub fn add_replica(&mut self) {
        let master = self.master();
        let more = ["--replicaof", "127.0.0.1", &master.to_string()];
        self.servers.push(RedisServer::start_with(free_port(), &more));
        let replicas = self.servers.len() - 1;
        let server = self.servers.iter().find(|server| server.port == master);
        until(|| server.is_some_and(|server| server.replicas() == replicas));
    }
}

fn sentinel(master: &str) -> RedisServer {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = folder.path().join("sentinel.conf");
    let settings = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n",
        folder.path().display()
    );
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new("redis-server");
    command.arg(&file).arg("--sentinel");
    RedisServer::spawn(command, port, folder)
}

/// Three masters, each with a replica. A master is given up after two seconds.
pub struct ClusterSet {
    /// The masters first, as long as nothing failed over.
    pub servers: Vec<RedisServer>,
}

impl ClusterSet {
    /// Returns when all slots are served and every replica is known.
    #[must_use]
    pub fn start() -> Self {
        let more = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        ];
        let servers: Vec<_> = (0..6)
            .map(|_| RedisServer::start_with(free_port(), &more))
            .collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses(&servers))
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        for server in &servers {
            until(|| server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
            until(|| server.cli(&["CLUSTER", "NODES"]).matches("slave ").count() == 3);
            // A replica without a copy does not take its master's place.
            until(|| {
                !server
                    .cli(&["INFO", "replication"])
                    .contains("master_link_status:down")
            });
        }
        Self { servers }
    }

    /// All nodes, as `host:port`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.servers)
    }
}

fn addresses(servers: &[RedisServer]) -> Vec<String> {
    let address = |server: &RedisServer| format!("127.0.0.1:{}", server.port);
    servers.iter().map(address).collect()
}

fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "a server did not get there in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago, and so was the one 10,000 above it, which the bus of a Cluster takes.
#[must_use]
pub fn free_port() -> u16 {
    const PORTS: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries run side by side: each begins elsewhere. Below the ports that the system gives away by itself.
    let start = (std::process::id() % 60) as u16 * 200;
    (0..PORTS)
        .map(|_| 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS)
        .find(|port| {
            [*port, *port + 10_000]
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        })
        .expect("a free port")
}
