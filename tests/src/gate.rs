//! A gate before a server: from a chosen request on its answers are held back until the gate is opened.
//!
//! What a node has caused and does not know yet is a state of its own; this keeps it there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BUFFER: usize = 64 * 1_024;

/// On loopback until it is dropped, and every connection through it with it.
pub struct Gate {
    address: SocketAddr,
    watch: Arc<Watch>,
    _tasks: JoinSet<()>,
}

struct Watch {
    closes_at: Mutex<Option<String>>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate before this server, on a port of its own.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let watch = Arc::new(Watch {
            closes_at: Mutex::default(),
            is_open: watch::Sender::new(true),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, watch.clone()));
        Self {
            address,
            watch,
            _tasks: tasks,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next request with this text in it goes through and closes the gate to all answers, its own among them.
    pub fn close_at(&self, text: &str) {
        *self.watch.closes_at.lock().unwrap() = Some(text.to_owned());
    }

    /// What was held goes on.
    pub fn open(&self) {
        self.watch.is_open.send_replace(true);
    }
}

impl Watch {
    fn saw(&self, request: &[u8]) {
        let mut closes_at = self.closes_at.lock().unwrap();
        let is_it = |text: &mut String| request.windows(text.len()).any(|part| part == text.as_bytes());
        if closes_at.take_if(is_it).is_some() {
            self.is_open.send_replace(false);
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, watch: Arc<Watch>) {
    let mut pipes = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        pipes.spawn(pipe(client, server, watch.clone()));
        while pipes.try_join_next().is_some() {}
    }
}

async fn pipe(client: TcpStream, server: SocketAddr, watch: Arc<Watch>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            watch.saw(&buffer[..length]);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let answers = async {
        let mut buffer = vec![0; BUFFER];
        let mut is_open = watch.is_open.subscribe();
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if is_open.wait_for(|is_open| *is_open).await.is_err()
                || to_client.write_all(&buffer[..length]).await.is_err()
            {
                return;
            }
        }
    };
    // Whoever ends first ends both.
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
