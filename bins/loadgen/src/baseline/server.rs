//! One thread that accepts, shakes hands and reads frames; what becomes of them is the [`Service`]'s.

use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use sha1::{Digest, Sha1};

use crate::intake::{self, Intake, Peer};

const LISTENER: Token = Token(usize::MAX - 1);
/// Where a service may register a socket of its own.
pub(super) const SERVICE: Token = Token(usize::MAX - 2);
/// Appended to the key (RFC 6455, 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What becomes of messages.
pub(super) trait Service {
    /// A message of connection `from`; what is to be written to it now goes to `out`.
    fn message(&mut self, from: usize, opcode: u8, payload: &[u8], out: &mut Vec<u8>);

    /// The service's own socket is ready.
    ///
    /// # Errors
    /// The socket's; the baseline ends with it.
    fn ready(&mut self, connections: &mut Connections) -> io::Result<()> {
        let _ = connections;
        Ok(())
    }

    /// All that was there has been read.
    ///
    /// # Errors
    /// As [`Service::ready`].
    fn turn_done(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The open connections by number.
#[derive(Default)]
pub(super) struct Connections {
    all: Vec<Option<Connection>>,
    free: Vec<usize>,
}

struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
    pending: Vec<u8>,
    open: bool,
}

impl Connections {
    fn insert(&mut self, connection: Connection) -> usize {
        if let Some(number) = self.free.pop() {
            self.all[number] = Some(connection);
            return number;
        }
        self.all.push(Some(connection));
        self.all.len() - 1
    }

    fn remove(&mut self, number: usize) {
        if self.all.get_mut(number).and_then(Option::take).is_some() {
            self.free.push(number);
        }
    }

    /// Writes to one; a connection that fails is found out by its next event.
    pub(super) fn write(&mut self, number: usize, bytes: &[u8]) {
        if let Some(Some(connection)) = self.all.get_mut(number) {
            let _ = intake::write(&mut connection.stream, &mut connection.pending, bytes);
        }
    }

    /// The bare loop of sends.
    fn write_all(&mut self, frame: &[u8]) -> usize {
        let mut count = 0;
        for connection in self.all.iter_mut().flatten().filter(|connection| connection.open) {
            let _ = intake::write(&mut connection.stream, &mut connection.pending, frame);
            count += 1;
        }
        count
    }
}

/// Serves until epoll fails.
pub(super) fn serve<S: Service>(
    listen: SocketAddr,
    service: impl FnOnce(&Registry) -> Result<S>,
) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut service = service(poll.registry())?;
    let mut listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("baseline ws://{}", listener.local_addr()?);
    io::stdout().flush()?;
    let (mut events, mut intake, mut out) = (Events::with_capacity(1024), Intake::new(), Vec::new());
    let mut connections = Connections::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            done => done?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, poll.registry(), &mut connections)?,
                SERVICE => service.ready(&mut connections)?,
                Token(number) => {
                    out.clear();
                    let ended = turn(number, &mut connections, &mut intake, &mut service, &mut out);
                    if ended.unwrap_or(true) {
                        connections.remove(number);
                    }
                }
            }
        }
        service.turn_done()?;
    }
}

fn accept(listener: &TcpListener, registry: &Registry, connections: &mut Connections) -> io::Result<()> {
    loop {
        let (stream, _) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let number = connections.insert(Connection {
            stream,
            rest: Vec::new(),
            pending: Vec::new(),
            open: false,
        });
        if let Some(Some(connection)) = connections.all.get_mut(number) {
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut connection.stream, Token(number), interest)?;
        }
    }
}

/// Reads all, handles all, writes once. True: the connection is over.
fn turn(
    number: usize,
    connections: &mut Connections,
    intake: &mut Intake,
    service: &mut impl Service,
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    let Some(Some(connection)) = connections.all.get_mut(number) else {
        return Ok(false);
    };
    let Connection {
        stream,
        rest,
        pending,
        open,
    } = connection;
    let mut everybody = Vec::new();
    let peer = intake.read(stream, rest, true, |bytes| {
        let mut used = 0;
        if !*open {
            match handshake(bytes, out)? {
                Greeting::Incomplete => return Ok(0),
                Greeting::WebSocket(length) => (used, *open) = (length, true),
                Greeting::Push { length, body } => {
                    everybody.push(body);
                    return Ok(length);
                }
            }
        }
        let framed = intake::frames(&mut bytes[used..], |head, payload| {
            service.message(number, head.opcode, payload, out);
        })?;
        Ok(used + framed)
    })?;
    if !out.is_empty() || !pending.is_empty() {
        intake::write(stream, pending, out)?;
    }
    for frame in everybody {
        let count = connections.write_all(&frame);
        let body = format!("{count}\n");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        connections.write(number, answer.as_bytes());
    }
    Ok(peer == Peer::Ended)
}

enum Greeting {
    Incomplete,
    /// An upgrade; its answer has been put out.
    WebSocket(usize),
    /// The body as a frame, for everybody.
    Push {
        length: usize,
        body: Vec<u8>,
    },
}

fn handshake(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<Greeting> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(Greeting::Incomplete);
    };
    let (head, end) = (&bytes[..end], end + 4);
    let text = std::str::from_utf8(head).map_err(|_| ErrorKind::InvalidData)?;
    let value = |wanted: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    if text.starts_with("POST /push ") {
        let length: usize = value("content-length")
            .and_then(|length| length.parse().ok())
            .ok_or(ErrorKind::InvalidData)?;
        let Some(payload) = bytes.get(end..end + length) else {
            return Ok(Greeting::Incomplete);
        };
        let mut body = Vec::with_capacity(length + 10);
        crate::frame::put(&mut body, crate::frame::TEXT, None, payload);
        return Ok(Greeting::Push {
            length: end + length,
            body,
        });
    }
    let key = value("sec-websocket-key").ok_or(ErrorKind::InvalidData)?;
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(MAGIC);
    let accept = STANDARD.encode(digest.finalize());
    write!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    Ok(Greeting::WebSocket(end))
}
