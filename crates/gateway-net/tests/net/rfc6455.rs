//! RFC 6455 as a table: bytes in, echoes and close code out, and what the handler is told of the end.

use gateway_net::EndReason;

use crate::support::{Got, Server, frame, resident, settings};

/// Bytes, echoed frames, close code; 0: the socket stays open.
type Case = (&'static str, Vec<u8>, Vec<Got>, u16);

fn cases() -> Vec<Case> {
    let text = Got::text;
    let pong = |body: &[u8]| Got::Frame(0x8A, body.to_vec());
    let unmasked = vec![0x81, 0x02, b'h', b'i'];
    let close = |body: &[u8]| frame(0x88, body);
    vec![
        ("text", frame(0x81, b"hi"), vec![text("hi")], 0),
        ("empty text", frame(0x81, b""), vec![text("")], 0),
        (
            "binary",
            frame(0x82, b"\x00\xff"),
            vec![Got::Frame(0x82, vec![0, 0xFF])],
            0,
        ),
        (
            "length in two bytes",
            frame(0x82, &[1; 300]),
            vec![Got::Frame(0x82, vec![1; 300])],
            0,
        ),
        (
            "length in eight bytes",
            frame(0x82, &[1; 70_000]),
            vec![Got::Frame(0x82, vec![1; 70_000])],
            0,
        ),
        (
            "as large as allowed",
            frame(0x82, &vec![1; 1 << 20]),
            vec![Got::Frame(0x82, vec![1; 1 << 20])],
            0,
        ),
        ("ping", frame(0x89, b"p"), vec![pong(b"p")], 0),
        (
            "longest ping",
            frame(0x89, &[b'p'; 125]),
            vec![pong(&[b'p'; 125])],
            0,
        ),
        (
            "pong out of the blue",
            [frame(0x8A, b"x"), frame(0x81, b"y")].concat(),
            vec![text("y")],
            0,
        ),
        (
            "fragments",
            [frame(0x01, b"a"), frame(0x00, b"b"), frame(0x80, b"c")].concat(),
            vec![text("abc")],
            0,
        ),
        (
            "ping between fragments",
            [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x80, b"c")].concat(),
            vec![pong(b"p"), text("ac")],
            0,
        ),
        (
            "character cut by fragments",
            [frame(0x01, b"\xe4\xbd"), frame(0x80, b"\xa0")].concat(),
            vec![text("你")],
            0,
        ),
        ("unmasked", unmasked, vec![], 1002),
        ("RSV1", frame(0xC1, b"a"), vec![], 1002),
        ("RSV2", frame(0xA1, b"a"), vec![], 1002),
        ("RSV3", frame(0x91, b"a"), vec![], 1002),
        ("reserved data opcode", frame(0x83, b"a"), vec![], 1002),
        ("reserved control opcode", frame(0x8B, b"a"), vec![], 1002),
        ("ping of 126 bytes", frame(0x89, &[0; 126]), vec![], 1002),
        ("fragmented ping", frame(0x09, b"a"), vec![], 1002),
        ("close of 126 bytes", close(&[0x03; 126]), vec![], 1002),
        ("continuation alone", frame(0x80, b"a"), vec![], 1002),
        (
            "message inside a message",
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            vec![],
            1002,
        ),
        ("text that is not UTF-8", frame(0x81, b"\xff"), vec![], 1007),
        ("surrogate in UTF-8", frame(0x81, b"\xed\xa0\x80"), vec![], 1007),
        (
            "text cut inside a character",
            frame(0x81, b"\xe4\xbd"),
            vec![],
            1007,
        ),
        (
            "bad byte in an unfinished message",
            frame(0x01, b"\xff"),
            vec![],
            1007,
        ),
        (
            "one byte over the limit",
            frame(0x82, &vec![0; (1 << 20) + 1]),
            vec![],
            1009,
        ),
        (
            "announced and not sent",
            frame(0x82, &vec![0; (1 << 20) + 1])[..14].to_vec(),
            vec![],
            1009,
        ),
        (
            "length with the top bit",
            vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            vec![],
            1002,
        ),
        (
            "good message before a breach",
            [frame(0x81, b"a"), frame(0x83, b"")].concat(),
            vec![text("a")],
            1002,
        ),
        ("close 1000", close(b"\x03\xe8bye"), vec![], 1000),
        ("close 4999", close(b"\x13\x87"), vec![], 4999),
        ("close without a code", close(b""), vec![], 1005),
        ("close of one byte", close(b"\x03"), vec![], 1002),
        ("close 999", close(b"\x03\xe7"), vec![], 1002),
        ("close 1005", close(b"\x03\xed"), vec![], 1002),
        ("close 1006", close(b"\x03\xee"), vec![], 1002),
        ("close with a bad reason", close(b"\x03\xe8\xff"), vec![], 1007),
        (
            "reply before close",
            [frame(0x81, b"a"), close(b"\x03\xe8")].concat(),
            vec![text("a")],
            1000,
        ),
        (
            "nothing after close counts",
            [close(b"\x03\xe8"), frame(0x81, b"a")].concat(),
            vec![],
            1000,
        ),
    ]
}

#[tokio::test]
async fn every_rule_has_its_answer() {
    let mut server = Server::start(&settings());
    for (name, bytes, echoes, code) in cases() {
        println!("{name}");
        let mut client = server.connect().await;
        client.send(&bytes).await;
        for echo in echoes {
            assert!(client.get().await == echo, "{name}");
        }
        if code == 0 {
            client.send(&frame(0x81, b"alive")).await;
            assert_eq!(client.get().await, Got::text("alive"), "{name}");
            client.send(&frame(0x88, b"\x03\xe8")).await;
            assert_eq!(client.close_code().await, 1000, "{name}");
            assert_eq!(server.closed().await.reason, EndReason::Peer(1000), "{name}");
            continue;
        }
        assert_eq!(client.close_code().await, code, "{name}");
        assert_eq!(client.get().await, Got::End, "{name}: the server hangs up");
        let end = server.closed().await;
        assert_eq!(end.code, code, "{name}");
        let by_peer = name.starts_with("close 1000")
            || [
                "close 4999",
                "close without a code",
                "reply before close",
                "nothing after close counts",
            ]
            .contains(&name);
        let reason = if by_peer {
            EndReason::Peer(code)
        } else {
            EndReason::Protocol(code)
        };
        assert_eq!(end.reason, reason, "{name}");
    }
}

#[tokio::test]
async fn bytes_one_by_one_are_the_same_stream() {
    let server = Server::start(&settings());
    let mut client = server.connect().await;
    client.stream.set_nodelay(true).unwrap();
    let bytes = [frame(0x01, "你".as_bytes()), frame(0x89, b"p"), frame(0x80, b"!")].concat();
    for byte in bytes {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.get().await, Got::Frame(0x8A, b"p".to_vec()));
    assert_eq!(client.get().await, Got::text("你!"));
}

#[tokio::test]
async fn half_a_header_a_pause_the_rest() {
    // Pings and the wake-up timer run between the halves: nothing may be lost by that.
    let mut settings = settings();
    settings.ping_interval = std::time::Duration::from_millis(100);
    let mut server = Server::start(&settings);
    let mut client = server.connect().await;
    let outbound = server.opened().await;
    let bytes = frame(0x82, &[9; 1000]);
    client.send(&bytes[..3]).await;
    outbound.wake_at(Some(
        tokio::time::Instant::now() + std::time::Duration::from_millis(40),
    ));
    assert_eq!(client.get().await, Got::Frame(0x89, vec![]));
    client.send(&bytes[3..500]).await;
    assert_eq!(client.get().await, Got::Frame(0x89, vec![]));
    client.send(&bytes[500..]).await;
    loop {
        match client.get().await {
            Got::Frame(0x89, _) => {}
            got => {
                assert_eq!(got, Got::Frame(0x82, vec![9; 1000]));
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_fragments_share_one_limit() {
    let mut server = Server::start(&settings());
    for part in [1049_usize, 2000] {
        let mut client = server.connect().await;
        let before = resident();
        let (mut reader, mut writer) = client.stream.into_split();
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let _ = writer.write_all(&frame(0x02, &vec![0; part])).await;
            for _ in 0..1000 {
                if writer.write_all(&frame(0x00, &vec![0; part])).await.is_err() {
                    break;
                }
            }
            writer
        });
        let mut close = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut reader, &mut close)
            .await
            .unwrap();
        assert_eq!(close, [0x88, close[1], 0x03, 0xF1], "1009");
        drop(sending.await.unwrap());
        while server.closed().await.reason != EndReason::Protocol(1009) {}
        assert!(resident().saturating_sub(before) < 16 << 20, "memory is bounded");
        client = server.connect().await;
        client.send(&frame(0x81, b"on")).await;
        assert_eq!(client.get().await, Got::text("on"));
    }
}

#[tokio::test]
async fn endless_empty_fragments_take_no_memory() {
    let server = Server::start(&settings());
    let mut client = server.connect().await;
    client.send(&frame(0x01, b"")).await;
    let many = frame(0x00, b"").repeat(1000);
    let before = resident();
    for _ in 0..200 {
        client.send(&many).await;
    }
    client.send(&frame(0x80, b"end")).await;
    assert_eq!(client.get().await, Got::text("end"));
    assert!(resident().saturating_sub(before) < 8 << 20);
}

#[tokio::test]
async fn ten_pings_are_ten_pongs_in_order() {
    let server = Server::start(&settings());
    let mut client = server.connect().await;
    let pings: Vec<u8> = (0..10).flat_map(|n| frame(0x89, &[n])).collect();
    client.send(&pings).await;
    for n in 0..10 {
        assert_eq!(client.get().await, Got::Frame(0x8A, vec![n]));
    }
}
