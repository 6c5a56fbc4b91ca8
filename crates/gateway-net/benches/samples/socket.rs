//! A connection with a real socket and a silent client at its other end, polled by hand.
//!
//! Everything runs on the calling thread, so that the same instructions are executed each time.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gateway_net::{End, Frame, Message, Outbound, SessionHandler, WsSettings, lone_connection};
use tokio::runtime::{Builder, Runtime};

/// How long the client waits for what was to be written already.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers each message.
struct Answer {
    outbound: Arc<OnceLock<Outbound>>,
    answer: Frame,
}

impl SessionHandler for Answer {
    fn opened(&mut self, outbound: Outbound) {
        // Called once.
        let _ = self.outbound.set(outbound);
    }

    fn message(&mut self, _: Message<'_>) {
        if let Some(outbound) = self.outbound.get() {
            // The client shows at the end whether all came.
            let _ = outbound.send(self.answer.clone());
        }
    }

    fn closed(&mut self, _: End) {}
}

/// See the module.
pub(crate) struct Socket {
    pub(crate) outbound: Outbound,
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
    client: TcpStream,
    runtime: Runtime,
}

impl Socket {
    /// An open, idle connection that answers with `answer`, of less than 126 bytes. Its first words, after which its queue
    /// goes once, have been said.
    ///
    /// # Panics
    /// Where the loopback device gives no pair of sockets.
    #[expect(clippy::expect_used, reason = "there is nobody to hand the error to")]
    pub(crate) fn open(answer: &Frame) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a client");
        client
            .set_read_timeout(Some(PATIENCE))
            .expect("a client that does not wait for ever");
        let (server, _) = listener.accept().expect("its other end");
        server.set_nonblocking(true).expect("a non-blocking socket");
        let opened = Arc::new(OnceLock::new());
        let handler = Answer {
            outbound: Arc::clone(&opened),
            answer: answer.clone(),
        };
        let connection = {
            let _context = runtime.enter();
            let server = tokio::net::TcpStream::from_std(server).expect("a socket of the runtime");
            lone_connection(&WsSettings::default(), server, handler).expect("a connected socket")
        };
        let mut connection = Box::pin(connection);
        turn(connection.as_mut());
        let mut socket = Self {
            outbound: opened.get().expect("opened in the first turn").clone(),
            connection,
            client,
            runtime,
        };
        socket.settle();
        socket.outbound.send(answer.clone()).expect("an empty queue");
        socket.turn();
        socket.sent(2 + answer.payload.len());
        socket
    }

    /// What the client sends; it is there to be read when this returns.
    ///
    /// # Panics
    /// Where the socket takes it no more.
    #[expect(clippy::expect_used, reason = "there is nobody to hand the error to")]
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).expect("a socket with room");
        self.runtime.block_on(tick());
    }

    /// One turn of the connection: reads, handles and writes what there is.
    pub(crate) fn turn(&mut self) {
        turn(self.connection.as_mut());
    }

    /// What has come to the client, up to `bytes`.
    ///
    /// # Panics
    /// Where less has come.
    #[expect(clippy::expect_used, reason = "there is nobody to hand the error to")]
    pub(crate) fn sent(&mut self, bytes: usize) -> Vec<u8> {
        let mut sent = vec![0; bytes];
        self.client.read_exact(&mut sent).expect("all of it");
        sent
    }

    /// Lets the runtime see what its sockets can do, and the connection find that there is nothing to do.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.runtime.block_on(tick());
            self.turn();
        }
    }
}

fn turn(connection: Pin<&mut (dyn Future<Output = ()> + Send)>) {
    let ended = connection.poll(&mut Context::from_waker(Waker::noop()));
    assert!(ended.is_pending(), "the connection has ended");
}

/// One look of the runtime at its sockets: it takes one whenever nothing else is to be done.
async fn tick() {
    let mut passed = false;
    poll_fn(|cx| {
        if passed {
            return Poll::Ready(());
        }
        passed = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
