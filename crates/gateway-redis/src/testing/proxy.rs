//! A proxy before a server that loses replies: the server has carried a command out, and whoever asked sees a connection
//! that was closed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Ends with its handle, and all connections through it.
pub struct LosingProxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Plan {
    /// The reply to a command that holds this is lost.
    marker: Option<Vec<u8>>,
    lost: usize,
}

impl LosingProxy {
    /// On any free port, before the server on this one.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let plan = Arc::<Mutex<Plan>>::default();
        let accept = accept(listener, server, plan.clone());
        let accepting = tokio::spawn(accept).abort_handle();
        Ok(Self {
            address,
            plan,
            accepting,
        })
    }

    /// Where it listens on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Loses the next reply to a command that holds these bytes, and closes its connection.
    pub fn lose_reply_to(&self, marker: &str) {
        lock(&self.plan).marker = Some(marker.as_bytes().to_vec());
    }

    /// Replies lost so far.
    #[must_use]
    pub fn lost(&self) -> usize {
        lock(&self.plan).lost
    }
}

impl Drop for LosingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(plan: &Mutex<Plan>) -> std::sync::MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the reply to this is to be lost; once.
fn takes(plan: &Mutex<Plan>, asked: &[u8]) -> bool {
    let mut plan = lock(plan);
    let holds = plan
        .marker
        .as_ref()
        .is_some_and(|marker| asked.windows(marker.len()).any(|part| part == marker.as_slice()));
    if holds {
        plan.marker = None;
        plan.lost += 1;
    }
    holds
}

async fn accept(listener: TcpListener, server: u16, plan: Arc<Mutex<Plan>>) {
    // Dropped with this task, and with it all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(pass(client, server, plan.clone()));
    }
}

/// Passes bytes on until either side ends, or a reply is lost.
async fn pass(mut client: TcpStream, server: u16, plan: Arc<Mutex<Plan>>) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    let (mut asked, mut replied) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut losing = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let length = read?;
                if length == 0 {
                    return Ok(());
                }
                losing |= takes(&plan, &asked[..length]);
                server.write_all(&asked[..length]).await?;
            }
            read = server.read(&mut replied) => {
                let length = read?;
                if length == 0 || losing {
                    return Ok(());
                }
                client.write_all(&replied[..length]).await?;
            }
        }
    }
}
