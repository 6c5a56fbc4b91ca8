//! No text makes the JSON codec panic, and what it reads it can answer.
#![no_main]

use gateway_codec::{Body, Code, Payload, Reply, Timestamp, decode_json, decode_json_reply, encode_reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = decode_json_reply(text);
    let Ok(request) = decode_json(text) else { return };
    assert_ne!(request.cmd_id, 0);
    let Payload::Json(data) = &request.payload else {
        panic!("protobuf out of JSON");
    };
    let reply = Reply {
        code: Code::Success,
        message: "".into(),
        session_id: None,
        user_id: &request.claims.user_id,
        platform: &request.claims.platform,
        timestamp: Timestamp::default(),
        body: Body::Json(data.as_bytes()),
    };
    // A string as `data` need not hold JSON: then no reply can carry it.
    if let Ok(encoded) = encode_reply(&request.reply_to, &reply) {
        let text = std::str::from_utf8(&encoded.bytes).expect("a reply is UTF-8");
        let read = decode_json_reply(text).expect("a client reads the reply");
        assert_eq!((read.cmd_id, read.seq), (request.cmd_id, request.seq));
    }
});
