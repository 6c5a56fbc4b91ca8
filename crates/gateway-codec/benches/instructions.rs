//! Instructions of decoding and encoding, counted under callgrind: repeatable where times are not.
//!
//! Run by `cargo xtask instructions`, which holds them against the recorded figures. Inputs are made outside of what is
//! counted, and results are returned, so that they are freed outside of it too. Everything is done once before it is
//! counted: the first call finds out what the processor can do, and the allocator has nothing at hand.

#[path = "samples/messages.rs"]
mod messages;

use std::hint::black_box;

use bytes::Bytes;
use gateway_codec::{
    Body, Code, ConversationType, EncodeError, Encoded, EncodedPush, Encoding, PushBody, PushType, Reply,
    ReplyTo, Request, SessionId, Timestamp, Unreadable, decode_envelope, decode_json, encode_reply,
};
use gungraun::prelude::*;

use messages::{envelope, json_body, json_request};

const SHORT: usize = 60;
const LONG: usize = 4096;
const NOW: Timestamp = Timestamp::from_millis(1_767_868_200_123);

/// Lives as long as the benchmark's process, so that what is decoded may refer to it.
fn json(bytes: usize, data_as_json: bool) -> &'static str {
    let text = json_request(bytes, data_as_json).leak();
    assert!(decode_json(text).is_ok());
    text
}

fn sealed(bytes: usize) -> &'static [u8] {
    let bytes = envelope(bytes).to_vec().leak();
    assert!(decode_envelope(bytes).is_ok());
    bytes
}

#[library_benchmark]
#[bench::data_as_json_60(json(SHORT, true))]
#[bench::data_as_json_4096(json(LONG, true))]
#[bench::data_as_string_60(json(SHORT, false))]
#[bench::data_as_string_4096(json(LONG, false))]
fn decode_json_request(text: &'static str) -> Result<Request<'static>, Unreadable> {
    black_box(decode_json(black_box(text)))
}

#[library_benchmark]
#[bench::body_60(sealed(SHORT))]
#[bench::body_4096(sealed(LONG))]
fn decode_envelope_request(bytes: &'static [u8]) -> Result<Request<'static>, Unreadable> {
    black_box(decode_envelope(black_box(bytes)))
}

library_benchmark_group!(
    name = decode,
    benchmarks = [decode_json_request, decode_envelope_request]
);

/// A reply of a logged-in session.
fn reply(to: ReplyTo, body: Body<'static>) -> (ReplyTo, Reply<'static>) {
    let reply = Reply {
        code: Code::Success,
        message: "".into(),
        session_id: Some(SessionId::from_random([7; 16])),
        user_id: "alice",
        platform: "android",
        timestamp: NOW,
        body,
    };
    assert!(encode_reply(&to, &reply).is_ok());
    (to, reply)
}

fn json_reply(bytes: usize, as_string: bool) -> (ReplyTo, Reply<'static>) {
    let body = Body::Json(json_body(bytes).leak().as_bytes());
    reply(ReplyTo::json(3001, 7, as_string), body)
}

fn protobuf_reply(bytes: usize) -> (ReplyTo, Reply<'static>) {
    let body = Body::Protobuf {
        type_name: "im.message.SendMessageResponse",
        body: vec![b'x'; bytes].leak(),
    };
    reply(ReplyTo::protobuf(3001, 7, "1.0", "alice", "bob"), body)
}

#[library_benchmark]
#[bench::data_as_json_60(json_reply(SHORT, false))]
#[bench::data_as_json_4096(json_reply(LONG, false))]
#[bench::data_as_string_60(json_reply(SHORT, true))]
#[bench::data_as_string_4096(json_reply(LONG, true))]
#[bench::envelope_60(protobuf_reply(SHORT))]
#[bench::envelope_4096(protobuf_reply(LONG))]
fn write_reply(call: (ReplyTo, Reply<'static>)) -> (Result<Encoded, EncodeError>, impl Sized) {
    let (to, reply) = black_box(&call);
    (black_box(encode_reply(to, reply)), call)
}

/// A push that is not encoded yet, as one was that is forgotten.
fn push(encoding: Encoding) -> (EncodedPush, Encoding) {
    let body = PushBody {
        push_id: "0190d9a4-7a8c-7cc1-b2a4-52c2f8a3a001".to_owned(),
        push_type: PushType::Message,
        content: "x".repeat(SHORT),
        message_id: "1234567890".to_owned(),
        sender_uid: "alice".to_owned(),
        conversation_type: ConversationType::Direct,
        conversation_id: "alice".to_owned(),
    };
    assert!(!EncodedPush::new(body.clone(), NOW).bytes(encoding).is_empty());
    (EncodedPush::new(body, NOW), encoding)
}

#[library_benchmark]
#[bench::json(push(Encoding::Json))]
#[bench::envelope(push(Encoding::Protobuf))]
fn write_push((push, encoding): (EncodedPush, Encoding)) -> (Bytes, EncodedPush) {
    let bytes = black_box(&push).bytes(encoding).clone();
    (black_box(bytes), push)
}

library_benchmark_group!(name = encode, benchmarks = [write_reply, write_push]);

main!(library_benchmark_groups = decode, encode);
