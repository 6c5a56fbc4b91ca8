//! Instructions of frames, of the outbound queue and of a connection's turn, counted under callgrind: repeatable where
//! times are not.
//!
//! Run by `cargo xtask instructions`, which holds them against the recorded figures. What the system does in a call is
//! not in them. Inputs are made outside of what is counted, and everything is returned, so that it is freed outside too.

#[path = "samples/frames.rs"]
mod frames;
#[path = "samples/socket.rs"]
mod socket;

use std::hint::black_box;
use std::ops::ControlFlow;

use gateway_net::Frame;
use gateway_net::protocol::{Decoder, OpCode, ProtocolError, encode_header};
use gungraun::prelude::*;

use frames::text_frames;
use socket::Socket;

/// Bytes of a small message.
const SMALL: usize = 60;
const LIMIT: usize = 1 << 20;

/// A decoder that has seen such input before, and that input.
fn input(count: usize, bytes: usize) -> (Decoder, Vec<u8>) {
    let mut decoder = Decoder::new(LIMIT);
    let warmed = read((&mut decoder, &mut text_frames(count, bytes)));
    assert_eq!(warmed, Ok(count));
    (decoder, text_frames(count, bytes))
}

fn read((decoder, input): (&mut Decoder, &mut Vec<u8>)) -> Result<usize, ProtocolError> {
    let mut events = 0;
    decoder.decode(input, |event| {
        black_box(event);
        events += 1;
        ControlFlow::Continue(())
    })?;
    Ok(events)
}

#[library_benchmark]
#[bench::one_of_60(input(1, SMALL))]
#[bench::sixteen_of_60(input(16, SMALL))]
#[bench::one_of_4096(input(1, 4096))]
fn decode_frames(input: (Decoder, Vec<u8>)) -> (Result<usize, ProtocolError>, Decoder, Vec<u8>) {
    let (mut decoder, mut bytes) = black_box(input);
    let events = black_box(read((&mut decoder, &mut bytes)));
    (events, decoder, bytes)
}

#[library_benchmark]
#[bench::length_60(Vec::with_capacity(64), SMALL)]
#[bench::length_4096(Vec::with_capacity(64), 4096)]
fn write_head(mut out: Vec<u8>, length: usize) -> Vec<u8> {
    encode_header(black_box(&mut out), OpCode::Text, black_box(length));
    black_box(out)
}

library_benchmark_group!(name = frame, benchmarks = [decode_frames, write_head]);

fn push() -> Frame {
    Frame::text("x".repeat(SMALL))
}

/// A connection whose queue was in use before, and frames to be queued.
fn idle(count: usize) -> (Socket, Vec<Frame>) {
    let mut socket = Socket::open(&push());
    let frames = vec![push(); count];
    append(&socket, frames.clone());
    socket.turn();
    socket.sent(count * (2 + SMALL));
    (socket, frames)
}

fn append(socket: &Socket, frames: Vec<Frame>) {
    for frame in frames {
        // The turn after it shows whether it was taken.
        let _ = black_box(socket.outbound.push(frame));
    }
}

#[library_benchmark]
#[bench::one(idle(1))]
#[bench::eight(idle(8))]
fn append_pushes((socket, frames): (Socket, Vec<Frame>)) -> Socket {
    append(&socket, black_box(frames));
    socket
}

/// Outside of what is counted: the client has got that many messages.
fn came((mut socket, count): (Socket, usize)) {
    socket.sent(count * (2 + SMALL));
}

// The turn that follows looks for input too, finds none, and writes once.
#[library_benchmark(teardown = came)]
#[bench::one(idle(1))]
#[bench::eight(idle(8))]
fn append_and_write((mut socket, frames): (Socket, Vec<Frame>)) -> (Socket, usize) {
    let count = frames.len();
    append(&socket, black_box(frames));
    socket.turn();
    (socket, count)
}

library_benchmark_group!(name = queue, benchmarks = [append_pushes, append_and_write]);

/// A connection to which that many requests have come, as they did once before.
fn asked(count: usize) -> (Socket, usize) {
    let mut socket = Socket::open(&push());
    socket.receive(&text_frames(count, SMALL));
    socket.turn();
    socket.sent(count * (2 + SMALL));
    socket.receive(&text_frames(count, SMALL));
    (socket, count)
}

// Reads all requests, answers each, writes all answers at once.
#[library_benchmark(teardown = came)]
#[bench::one(asked(1))]
#[bench::sixteen(asked(16))]
fn answer((mut socket, count): (Socket, usize)) -> (Socket, usize) {
    socket.turn();
    (socket, count)
}

library_benchmark_group!(name = turn, benchmarks = [answer]);

main!(library_benchmark_groups = frame, queue, turn);
