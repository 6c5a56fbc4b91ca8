//! How many bytes a second the frame decoder takes in, unmasking and the check of UTF-8 included, by criterion: where
//! instructions do not tell, as in vector code, time does.
//!
//! Not part of CI: times on a shared machine say too little. Run by `cargo bench --bench time`.

#[path = "samples/frames.rs"]
mod frames;

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway_net::protocol::Decoder;

use frames::text_frames;

/// Bytes of one message's payload.
const SIZES: [usize; 3] = [64, 4096, 64 * 1024];
const LIMIT: usize = 1 << 20;

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for bytes in SIZES {
        let frame = text_frames(1, bytes);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_with_input(BenchmarkId::new("text frame", bytes), &frame, |bencher, frame| {
            let mut decoder = Decoder::new(LIMIT);
            bencher.iter_batched_ref(
                // Decoding unmasks in place, so each time needs a frame of its own.
                || frame.clone(),
                |input| {
                    decoder.decode(input, |event| {
                        black_box(event);
                        ControlFlow::Continue(())
                    })
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
