//! Every message goes to a back end over one TCP connection, each with its length before it, and comes back.
//!
//! The back end is a thread of the same process, so that its CPU is counted with the front's, as the gateway's is
//! counted with its back end's.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener as StdListener, TcpStream as StdStream};
use std::thread;

use anyhow::{Context, Result};
use mio::net::TcpStream;
use mio::{Interest, Registry};

use super::server::{Connections, SERVICE, Service};
use crate::frame;
use crate::intake::{self, Intake, Peer};

/// Length of the rest, number of the connection, opcode.
const HEAD: usize = 9;

/// The front's side of the hop.
pub(super) struct Hop {
    stream: TcpStream,
    intake: Intake,
    rest: Vec<u8>,
    pending: Vec<u8>,
    /// What has gathered in this turn.
    out: Vec<u8>,
    frame: Vec<u8>,
}

impl Hop {
    pub(super) fn start(registry: &Registry) -> Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening for the hop")?;
        let stream = StdStream::connect(listener.local_addr()?)?;
        let (back_end, _) = listener.accept()?;
        back_end.set_nodelay(true)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        // Ends with its connection, which ends with the process.
        thread::Builder::new()
            .name("hop".to_owned())
            .spawn(move || answer(back_end))?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, SERVICE, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            intake: Intake::new(),
            rest: Vec::new(),
            pending: Vec::new(),
            out: Vec::new(),
            frame: Vec::new(),
        })
    }
}

impl Service for Hop {
    fn message(&mut self, from: usize, opcode: u8, payload: &[u8], _: &mut Vec<u8>) {
        if opcode == frame::TEXT || opcode == frame::BINARY {
            let length = u32::try_from(payload.len() + HEAD - 4).unwrap_or(u32::MAX);
            self.out.extend_from_slice(&length.to_be_bytes());
            self.out.extend_from_slice(&(from as u32).to_be_bytes());
            self.out.push(opcode);
            self.out.extend_from_slice(payload);
        }
    }

    fn ready(&mut self, connections: &mut Connections) -> io::Result<()> {
        let (frame, mut last) = (&mut self.frame, None);
        frame.clear();
        let peer = self
            .intake
            .read(&mut self.stream, &mut self.rest, true, |bytes| {
                records(bytes, |record| {
                    let (head, payload) = record.split_at(HEAD);
                    let number = head.get(4..8).and_then(|bytes| bytes.first_chunk());
                    let number = number.map(|bytes| u32::from_be_bytes(*bytes) as usize);
                    // What follows for the same connection goes with it.
                    if last != number {
                        if let Some(last) = last {
                            connections.write(last, frame);
                        }
                        frame.clear();
                        last = number;
                    }
                    frame::put(frame, head[8], None, payload);
                })
            })?;
        if let Some(last) = last {
            connections.write(last, frame);
        }
        if peer == Peer::Ended {
            return Err(ErrorKind::ConnectionReset.into());
        }
        intake::write(&mut self.stream, &mut self.pending, &[])
    }

    fn turn_done(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            intake::write(&mut self.stream, &mut self.pending, &self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// Gives each whole record to `each`; says how many bytes they were.
fn records(bytes: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<usize> {
    let mut used = 0;
    while let Some(length) = bytes[used..].first_chunk() {
        let end = used + 4 + u32::from_be_bytes(*length) as usize;
        let Some(record) = bytes.get(used..end) else { break };
        if record.len() < HEAD {
            return Err(ErrorKind::InvalidData.into());
        }
        each(record);
        used = end;
    }
    Ok(used)
}

/// The back end: cuts what it reads into records and writes them back in one call.
fn answer(mut stream: StdStream) -> io::Result<()> {
    let (mut buffer, mut filled, mut out) = (vec![0; 256 * 1024], 0, Vec::new());
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        out.clear();
        let used = records(&buffer[..filled], |record| out.extend_from_slice(record))?;
        stream.write_all(&out)?;
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}
