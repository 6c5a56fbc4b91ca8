//! RFC 6455 on the wire: bytes in, close code out.

use gateway_tests::Stack;
use gateway_tests::raw::{RawSocket, frame, unmasked};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[tokio::test]
async fn broken_frames_get_the_rfcs_codes() {
    let stack = Stack::start().await;
    let close = |payload: &[u8]| frame(FIN | CLOSE, payload);
    let half_character = "界".as_bytes()[..2].to_vec();
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", unmasked(FIN | TEXT, b"hi"), 1002),
        ("RSV1 without an extension", frame(FIN | 0x40 | TEXT, b"hi"), 1002),
        ("reserved data opcode", frame(FIN | 3, b""), 1002),
        ("reserved control opcode", frame(FIN | 11, b""), 1002),
        ("ping of 126 bytes", frame(FIN | PING, &[0; 126]), 1002),
        ("pong of 126 bytes", frame(FIN | PONG, &[0; 126]), 1002),
        ("close of 126 bytes", frame(FIN | CLOSE, &[0; 126]), 1002),
        ("fragmented ping", frame(PING, b""), 1002),
        ("continuation of nothing", frame(FIN | CONTINUATION, b""), 1002),
        (
            "a second start inside a message",
            [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(),
            1002,
        ),
        (
            "another kind inside a message",
            [frame(TEXT, b"a"), frame(FIN | BINARY, b"b")].concat(),
            1002,
        ),
        ("text that is not UTF-8", frame(FIN | TEXT, &[0xff]), 1007),
        (
            "text cut inside a character",
            frame(FIN | TEXT, &half_character),
            1007,
        ),
        (
            "the same in fragments",
            [frame(TEXT, &half_character), frame(FIN | CONTINUATION, b"")].concat(),
            1007,
        ),
        ("close of one byte", close(&[3]), 1002),
        ("close code 1005", close(&1005u16.to_be_bytes()), 1002),
        ("close code 999", close(&999u16.to_be_bytes()), 1002),
        ("close reason that is not UTF-8", close(&[3, 232, 0xff]), 1007),
        ("a normal close", close(&1000u16.to_be_bytes()), 1000),
        ("a close of one's own", close(&4000u16.to_be_bytes()), 4000),
    ];
    for (what, bytes, code) in table {
        let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
        socket.send(&bytes).await;
        assert_eq!(socket.close_code().await, Some(code), "{what}");
    }
}

#[tokio::test]
async fn what_the_rfc_allows_is_taken() {
    let stack = Stack::start().await;
    let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
    assert_eq!(socket.frame().await.unwrap().opcode, TEXT, "the welcome");
    // A character split over two fragments, a ping between them.
    let text = "{\"cmd_id\":1,\"data\":{\"name\":\"世界\"}}".as_bytes();
    let cut = text.len() - 4;
    let bytes = [
        frame(TEXT, &text[..cut]),
        frame(FIN | PING, b"are you there"),
        frame(FIN | CONTINUATION, &text[cut..]),
    ];
    // Byte by byte, so that every header comes in halves.
    for byte in bytes.concat() {
        assert!(socket.send(&[byte]).await);
    }
    let pong = socket.frame().await.unwrap();
    assert_eq!(
        (pong.opcode, pong.payload.as_slice()),
        (PONG, b"are you there".as_slice())
    );
    let reply = socket.frame().await.unwrap();
    assert!(String::from_utf8(reply.payload).unwrap().contains("\"code\":200"));
}

#[tokio::test]
async fn half_a_header_then_a_pause_then_the_rest_is_one_frame() {
    let stack = Stack::start().await;
    let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
    socket.frame().await.unwrap();
    let bytes = frame(FIN | TEXT, br#"{"cmd_id":1}"#);
    socket.send(&bytes[..1]).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    socket.send(&bytes[1..]).await;
    let reply = socket.frame().await.unwrap();
    assert!(String::from_utf8(reply.payload).unwrap().contains("\"code\":200"));
}
