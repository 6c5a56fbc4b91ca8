//! One address before several nodes, as operators have it: a new connection goes to the ready node with the fewest.
//!
//! It passes bytes on and knows nothing of HTTP. What it goes by is each node's `/readyz`, looked at ten times a second.
//! It notes when connections come.

mod arrivals;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::arrivals::Arrivals;
pub use self::arrivals::Busiest;
use crate::cluster::Node;
use crate::http::Http;

/// Between two looks at `/readyz`, how long an answer may take, and how many may fail to come in a row.
const LOOK: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_millis(500);
const LATE: usize = 3;
/// Bytes under way in each direction; thousands of connections have them each.
const BUFFER: usize = 1_024;
/// How often it is looked whether this process stands still.
const PULSE: Duration = Duration::from_millis(5);

/// Listens on loopback until it is dropped, and everything that goes through it with it.
pub struct Balancer {
    address: SocketAddr,
    nodes: Nodes,
    arrivals: Arc<Mutex<Arrivals>>,
    tasks: JoinSet<()>,
}

type Nodes = Arc<Mutex<Vec<Arc<Backend>>>>;

struct Backend {
    websocket: SocketAddr,
    http: Http,
    is_ready: AtomicBool,
    /// Looks in a row that took too long.
    late: AtomicUsize,
    open: AtomicUsize,
}

impl Balancer {
    /// Before these nodes, on a port of its own.
    pub async fn start(nodes: &[Node]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut balancer = Self {
            address: listener.local_addr().unwrap(),
            nodes: Nodes::default(),
            arrivals: Arc::default(),
            tasks: JoinSet::new(),
        };
        balancer.set(nodes);
        let (nodes, arrivals) = (balancer.nodes.clone(), balancer.arrivals.clone());
        balancer.tasks.spawn(look(nodes.clone()));
        balancer.tasks.spawn(pulse(arrivals.clone()));
        balancer.tasks.spawn(accept(listener, nodes, arrivals));
        balancer
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Those who come from now on are counted, and no others.
    pub fn count_from_now(&self) {
        *self.arrivals.lock().unwrap() = Arrivals::default();
    }

    /// The most connections that came within any one second; it does not matter what became of them.
    pub fn busiest_second(&self) -> Busiest {
        self.arrivals.lock().unwrap().busiest()
    }

    /// Other nodes from now on; those that were there before keep their connections.
    pub fn set(&self, nodes: &[Node]) {
        let mut backends = self.nodes.lock().unwrap();
        *backends = nodes
            .iter()
            .map(|node| {
                let known = backends.iter().find(|known| known.websocket == node.websocket);
                known.cloned().unwrap_or_else(|| {
                    Arc::new(Backend {
                        websocket: node.websocket,
                        http: node.client(),
                        is_ready: AtomicBool::new(false),
                        late: AtomicUsize::new(0),
                        open: AtomicUsize::new(0),
                    })
                })
            })
            .collect();
    }
}

async fn look(nodes: Nodes) {
    loop {
        let backends = nodes.lock().unwrap().clone();
        let looks: JoinSet<()> = backends.into_iter().map(Backend::look).collect();
        looks.join_all().await;
        sleep(LOOK).await;
    }
}

async fn pulse(arrivals: Arc<Mutex<Arrivals>>) {
    loop {
        let begun = Instant::now();
        sleep(PULSE).await;
        let late = begun.elapsed().saturating_sub(PULSE);
        if late >= arrivals::STALL {
            arrivals.lock().unwrap().stalled(late);
        }
    }
}

async fn accept(listener: TcpListener, nodes: Nodes, arrivals: Arc<Mutex<Arrivals>>) {
    let mut pipes = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        arrivals.lock().unwrap().came();
        let ready = |backend: &&Arc<Backend>| backend.is_ready.load(Ordering::Relaxed);
        let fewest = |backend: &&Arc<Backend>| backend.open.load(Ordering::Relaxed);
        let chosen = nodes
            .lock()
            .unwrap()
            .iter()
            .filter(ready)
            .min_by_key(fewest)
            .cloned();
        match chosen {
            Some(backend) => {
                backend.open.fetch_add(1, Ordering::Relaxed);
                pipes.spawn(backend.pipe(client));
            }
            // Its connection is gone, and the client knows.
            None => arrivals.lock().unwrap().turned_away(),
        }
        while pipes.try_join_next().is_some() {}
    }
}

impl Backend {
    async fn look(self: Arc<Self>) {
        let is_ready = match timeout(ANSWER, self.http.try_get("/readyz")).await {
            Ok(answer) => {
                self.late.store(0, Ordering::Relaxed);
                answer.is_some_and(|answer| answer.status == 200)
            }
            // One that is busy for a moment is not gone.
            Err(_) => {
                let late = self.late.fetch_add(1, Ordering::Relaxed) + 1;
                late < LATE && self.is_ready.load(Ordering::Relaxed)
            }
        };
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    async fn pipe(self: Arc<Self>, mut client: TcpStream) {
        if let Ok(mut node) = TcpStream::connect(self.websocket).await {
            let _ = (client.set_nodelay(true), node.set_nodelay(true));
            // However it ends, it has.
            let _ = copy_bidirectional_with_sizes(&mut client, &mut node, BUFFER, BUFFER).await;
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
