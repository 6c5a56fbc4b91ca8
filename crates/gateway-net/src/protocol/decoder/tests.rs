//! Rules as tables, and the property that no split of a stream changes its events.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Error(ProtocolError),
}

fn owned(event: Event<'_>) -> Seen {
    match event {
        Event::Message(Message::Text(text)) => Seen::Text(text.to_owned()),
        Event::Message(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
        Event::Ping(body) => Seen::Ping(body.to_vec()),
        Event::Pong(body) => Seen::Pong(body.to_vec()),
        Event::Close(close) => Seen::Close(close.code, close.reason.to_owned()),
    }
}

fn feed<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(limit);
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let result = decoder.decode(&mut piece, |event| {
            seen.push(owned(event));
            ControlFlow::Continue(())
        });
        if let Err(error) = result {
            seen.push(Seen::Error(error));
            break;
        }
    }
    seen
}

/// A masked frame: first byte, payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | n as u8),
        n @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

#[test]
fn every_rule_has_its_event_or_error() {
    use ProtocolError::{
        BadCloseCode, BadUtf8, InterleavedMessage, ShortClose, TooLarge, UnexpectedContinuation,
    };
    let text = |s: &str| Seen::Text(s.to_owned());
    let cases: Vec<(&str, Vec<u8>, Vec<Seen>)> = vec![
        ("text", frame(0x81, b"Hello"), vec![text("Hello")]),
        ("empty text", frame(0x81, b""), vec![text("")]),
        (
            "two in one piece",
            [frame(0x81, b"a"), frame(0x82, b"b")].concat(),
            vec![text("a"), Seen::Binary(b"b".to_vec())],
        ),
        (
            "fragments",
            [frame(0x01, b"Hel"), frame(0x80, b"lo")].concat(),
            vec![text("Hello")],
        ),
        (
            "empty fragments",
            [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat(),
            vec![text("")],
        ),
        (
            "ping between fragments",
            [frame(0x01, b"Hel"), frame(0x89, b"p"), frame(0x80, b"lo")].concat(),
            vec![Seen::Ping(b"p".to_vec()), text("Hello")],
        ),
        (
            "character cut by fragments",
            [
                frame(0x01, "你".as_bytes()[..1].as_ref()),
                frame(0x80, "你".as_bytes()[1..].as_ref()),
            ]
            .concat(),
            vec![text("你")],
        ),
        ("pong", frame(0x8A, b"x"), vec![Seen::Pong(b"x".to_vec())]),
        (
            "close",
            frame(0x88, b"\x03\xe8bye"),
            vec![Seen::Close(Some(1000), "bye".into())],
        ),
        (
            "close without a code",
            frame(0x88, b""),
            vec![Seen::Close(None, String::new())],
        ),
        (
            "close of one byte",
            frame(0x88, b"\x03"),
            vec![Seen::Error(ShortClose)],
        ),
        (
            "close 1005",
            frame(0x88, b"\x03\xed"),
            vec![Seen::Error(BadCloseCode)],
        ),
        (
            "close with a bad reason",
            frame(0x88, b"\x03\xe8\xff"),
            vec![Seen::Error(BadUtf8)],
        ),
        ("bad text", frame(0x81, b"\xff"), vec![Seen::Error(BadUtf8)]),
        (
            "text cut inside a character",
            frame(0x81, b"\xe4\xbd"),
            vec![Seen::Error(BadUtf8)],
        ),
        (
            "continuation alone",
            frame(0x80, b"a"),
            vec![Seen::Error(UnexpectedContinuation)],
        ),
        (
            "message inside a message",
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            vec![Seen::Error(InterleavedMessage)],
        ),
        (
            "over the limit",
            frame(0x82, &[0; 65]),
            vec![Seen::Error(TooLarge)],
        ),
        (
            "over the limit in fragments",
            [frame(0x02, &[0; 40]), frame(0x00, &[0; 24]), frame(0x80, &[0; 1])].concat(),
            vec![Seen::Error(TooLarge)],
        ),
        (
            "at the limit",
            [frame(0x02, &[0; 40]), frame(0x80, &[0; 24])].concat(),
            vec![Seen::Binary(vec![0; 64])],
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(feed(64, [&bytes[..]]), expected, "{name}, whole");
        assert_eq!(feed(64, bytes.chunks(1)), expected, "{name}, byte by byte");
    }
}

#[test]
fn an_announced_length_over_the_limit_fails_before_its_payload() {
    let bytes = frame(0x82, &vec![0; 100_000]);
    assert_eq!(feed(1024, [&bytes[..14]]), [Seen::Error(ProtocolError::TooLarge)]);
}

#[test]
fn nothing_is_held_between_messages() {
    let mut decoder = Decoder::new(1 << 20);
    let bytes = frame(0x82, &[7; 300]);
    for cut in 0..bytes.len() {
        let (mut head, mut tail) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        let mut count = 0;
        decoder.decode(&mut head, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(decoder.is_partial(), cut > 0);
        decoder
            .decode(&mut tail, |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, 1);
        assert!(!decoder.is_partial());
    }
    assert!(size_of::<Decoder>() <= 16);
}

#[test]
fn a_break_leaves_the_rest_of_the_input() {
    let mut bytes = [frame(0x81, b"a"), frame(0x81, b"b")].concat();
    let mut decoder = Decoder::new(64);
    let mut seen = Vec::new();
    let used = decoder
        .decode(&mut bytes, |event| {
            seen.push(owned(event));
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(used, 7);
    decoder
        .decode(&mut bytes[used..], |event| {
            seen.push(owned(event));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, [Seen::Text("a".into()), Seen::Text("b".into())]);
}

/// Mostly well-formed frames, so that deep states are reached, with some that are not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just(0x81_u8), 4 => Just(0x82), 4 => Just(0x01), 2 => Just(0x02), 6 => Just(0x00), 5 => Just(0x80),
        3 => Just(0x89), 2 => Just(0x8A), 1 => Just(0x88), 1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        5 => "[a-z你好é🙂]{0,40}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => Just(vec![0x03, 0xE8]),
    ];
    proptest::collection::vec((first, payload), 0..12).prop_map(|frames| {
        frames
            .iter()
            .flat_map(|(first, payload)| frame(*first, payload))
            .collect()
    })
}

proptest! {
    #[test]
    fn no_split_changes_the_events(bytes in stream(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = feed(1024, [&bytes[..]]);
        prop_assert_eq!(&whole, &feed(1024, bytes.chunks(1)));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.push(0);
        cuts.push(bytes.len());
        cuts.sort_unstable();
        prop_assert_eq!(&whole, &feed(1024, cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]])));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(feed(64, [&bytes[..]]), feed(64, bytes.chunks(1)));
    }

    #[test]
    fn what_was_sent_is_what_arrives(text in "\\PC{0,3000}", cut in 1_usize..3000) {
        let bytes: Vec<u8> = text.as_bytes().chunks(cut).enumerate().flat_map(|(i, part)| {
            frame(if i == 0 { 0x01 } else { 0x00 }, part)
        }).collect();
        let start = if text.is_empty() { 0x81 } else { 0x80 };
        let bytes = [bytes, frame(start, b"")].concat();
        prop_assert_eq!(feed(1 << 20, bytes.chunks(7)), vec![Seen::Text(text)]);
    }
}
