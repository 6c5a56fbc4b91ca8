//! Any bytes, cut anywhere: the decoder must not panic, and the cuts must not change what it says.
#![no_main]

use std::ops::ControlFlow;

use gateway_net::protocol::Decoder;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = Decoder::new(LIMIT);
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let result = decoder.decode(&mut piece, |event| {
            seen.push(format!("{event:?}"));
            ControlFlow::Continue(())
        });
        if let Err(error) = result {
            seen.push(error.to_string());
            break;
        }
    }
    seen
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (step, bytes) = input;
    let whole = events(std::iter::once(&bytes[..]));
    assert_eq!(whole, events(bytes.chunks(usize::from(step).max(1))));
    assert_eq!(whole, events(bytes.chunks(1)));
});
