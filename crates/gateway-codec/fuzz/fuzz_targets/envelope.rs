//! No bytes make the envelope codec panic, and what it reads it can answer.
#![no_main]

use gateway_codec::{
    Body, Code, Reply, Timestamp, base_response, decode_envelope, decode_envelope_raw, encode_reply,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_envelope(bytes);
    // Behind a right checksum, which no mutation would find.
    let sealed = [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat();
    let raw = decode_envelope_raw(&sealed);
    if let Ok(envelope) = &raw {
        let _ = base_response(envelope);
    }
    let Ok(request) = decode_envelope(&sealed) else { return };
    let header = raw.expect("what the gateway reads a client reads").header;
    assert_eq!((header.cmd_id, header.seq), (request.cmd_id, request.seq));
    let reply = Reply {
        code: Code::NotFound,
        message: "".into(),
        session_id: None,
        user_id: "",
        platform: "",
        timestamp: Timestamp::default(),
        body: Body::Empty,
    };
    let encoded = encode_reply(&request.reply_to, &reply).expect("an error has no body to be wrong");
    let answer = decode_envelope_raw(&encoded.bytes).expect("a client reads the reply").header;
    assert_eq!((answer.from_uid, answer.to_uid), (header.to_uid, header.from_uid));
});
