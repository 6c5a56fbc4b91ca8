//! How many bytes a second are decoded and encoded, by criterion: where instructions do not tell, as in vector code, time
//! does.
//!
//! Not part of CI: times on a shared machine say too little. Run by `cargo bench --bench time`.

#[path = "samples/messages.rs"]
mod messages;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway_codec::{
    Body, Code, Reply, ReplyTo, SessionId, Timestamp, decode_envelope, decode_json, encode_reply,
};

use messages::{envelope, json_body, json_request};

/// Bytes of a whole message where it is decoded, of a body where one is encoded.
const SIZES: [usize; 3] = [60, 1024, 16 * 1024];

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for bytes in SIZES {
        group.throughput(Throughput::Bytes(bytes as u64));
        for (name, data_as_json) in [("data as JSON", true), ("data as string", false)] {
            let text = json_request(bytes, data_as_json);
            group.bench_with_input(BenchmarkId::new(name, bytes), text.as_str(), |bencher, text| {
                bencher.iter(|| decode_json(black_box(text)));
            });
        }
        let message = envelope(bytes);
        group.bench_with_input(
            BenchmarkId::new("envelope", bytes),
            &message[..],
            |bencher, bytes| {
                bencher.iter(|| decode_envelope(black_box(bytes)));
            },
        );
    }
    group.finish();
}

fn reply(body: Body<'_>) -> Reply<'_> {
    Reply {
        code: Code::Success,
        message: "".into(),
        session_id: Some(SessionId::from_random([7; 16])),
        user_id: "alice",
        platform: "android",
        timestamp: Timestamp::from_millis(1_767_868_200_123),
        body,
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for bytes in SIZES {
        group.throughput(Throughput::Bytes(bytes as u64));
        let json = json_body(bytes);
        let protobuf = Body::Protobuf {
            type_name: "im.message.SendMessageResponse",
            body: json.as_bytes(),
        };
        let json = Body::Json(json.as_bytes());
        for (name, to, body) in [
            ("data as JSON", ReplyTo::json(3001, 7, false), json),
            ("data as string", ReplyTo::json(3001, 7, true), json),
            (
                "envelope",
                ReplyTo::protobuf(3001, 7, "1.0", "alice", "bob"),
                protobuf,
            ),
        ] {
            group.bench_with_input(BenchmarkId::new(name, bytes), &reply(body), |bencher, reply| {
                bencher.iter(|| encode_reply(black_box(&to), black_box(reply)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
