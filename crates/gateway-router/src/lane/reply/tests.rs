use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway_codec::proto::backend::{CommandReply, ReplyBatch};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

const LIMIT: usize = 1_000;

fn reply(correlation_id: u64, body: usize) -> Reply {
    Reply {
        correlation_id,
        reply: Some(CommandReply {
            code: 200,
            body: vec![b'x'; body].into(),
            ..CommandReply::default()
        }),
    }
}

fn message(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn batch(replies: Vec<Reply>) -> Vec<u8> {
    ReplyBatch { replies }.encode_to_vec()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Reads `bytes` in pieces of `size`.
fn read(encoding: Encoding, bytes: &[u8], size: usize) -> Result<Replies, Unreadable> {
    let mut reader = Reader::new(encoding, LIMIT);
    let mut all = Replies::default();
    for piece in bytes.chunks(size) {
        let mut replies = reader.read(Bytes::copy_from_slice(piece))?;
        all.whole.append(&mut replies.whole);
        all.oversized.append(&mut replies.oversized);
    }
    Ok(all)
}

#[test]
fn only_the_reply_over_the_limit_is_skipped() {
    let replies = vec![
        reply(1, 10),
        reply(2, 5_000),
        reply(0, 900),
        reply(4, 2_000),
        reply(5, 0),
    ];
    let sizes = [&replies[1], &replies[3]].map(|reply| reply.encoded_len() as u64);
    let expected = [replies[0].clone(), replies[2].clone(), replies[4].clone()];
    let plain = batch(replies);
    for (encoding, bytes) in [
        (Encoding::Identity, message(0, &plain)),
        (Encoding::Gzip, message(1, &gzip(&plain))),
        (Encoding::Gzip, message(0, &plain)),
    ] {
        for size in [1, 2, 3, 7, 100, 1_024, 100_000] {
            let read = read(encoding.clone(), &bytes, size).unwrap();
            assert_eq!(read.whole, expected, "pieces of {size}");
            let oversized = [(2, sizes[0]), (4, sizes[1])]
                .map(|(correlation_id, size)| Oversized { correlation_id, size });
            assert_eq!(read.oversized, oversized, "pieces of {size}");
        }
    }
}

#[test]
fn a_batch_may_be_longer_than_the_limit_of_a_reply() {
    let replies: Vec<_> = (0..50).map(|id| reply(id, 900)).collect();
    let read = read(Encoding::Identity, &message(0, &batch(replies.clone())), 4_096).unwrap();
    assert_eq!(read.whole, replies);
    assert!(read.oversized.is_empty());
}

#[test]
fn the_correlation_id_of_an_oversized_reply_may_stand_behind_its_body() {
    let mut reversed = Vec::new();
    // Field 2 of 3,000 bytes, then field 1.
    reversed.extend_from_slice(&[0x12, 0xb8, 0x17]);
    reversed.extend_from_slice(&[0; 3_000]);
    reversed.extend_from_slice(&[0x08, 0x2a]);
    let mut plain = vec![0x0a];
    prost::encoding::encode_varint(reversed.len() as u64, &mut plain);
    plain.extend_from_slice(&reversed);
    let read = read(Encoding::Identity, &message(0, &plain), 64).unwrap();
    assert_eq!(
        read.oversized,
        [Oversized {
            correlation_id: 42,
            size: reversed.len() as u64
        }]
    );
}

#[test]
fn fields_of_later_versions_are_skipped() {
    // Field 9: a varint, eight bytes, four bytes, 200 bytes.
    let mut unknown = vec![0x48, 0x96, 0x01, 0x49];
    unknown.extend_from_slice(&[1; 8]);
    unknown.extend_from_slice(&[0x4d, 1, 1, 1, 1, 0x4a, 0xc8, 0x01]);
    unknown.extend_from_slice(&[1; 200]);
    let mut plain = unknown.clone();
    plain.extend_from_slice(&batch(vec![reply(7, 10), reply(8, 2_000)]));
    plain.extend_from_slice(&unknown);
    for size in [1, 5, 4_096] {
        let read = read(Encoding::Identity, &message(0, &plain), size).unwrap();
        assert_eq!(read.whole, [reply(7, 10)]);
        assert_eq!(read.oversized[0].correlation_id, 8);
    }
}

#[test]
fn a_short_input_that_inflates_to_gigabytes_is_not_stored() {
    // A batch with one reply of 1 GiB: its body is inflated in pieces and dropped.
    let size = 1_u64 << 30;
    let mut head = vec![0x0a];
    prost::encoding::encode_varint(size, &mut head);
    head.extend_from_slice(&[0x08, 0x05, 0x12]);
    let body = size - 2 - 1 - 5;
    prost::encoding::encode_varint(body, &mut head);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&head).unwrap();
    let zeros = vec![0; 1 << 20];
    let mut left = body;
    while left > 0 {
        let part = left.min(1 << 20);
        encoder
            .write_all(&zeros[..usize::try_from(part).unwrap()])
            .unwrap();
        left -= part;
    }
    let bomb = message(1, &encoder.finish().unwrap());
    assert!(bomb.len() < 16 << 20, "{}", bomb.len());
    let read = read(Encoding::Gzip, &bomb, 16 * 1024).unwrap();
    assert_eq!(
        read.oversized,
        [Oversized {
            correlation_id: 5,
            size
        }]
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let plain = batch(vec![reply(1, 10)]);
    let compressed = gzip(&plain);
    let truncated = &compressed[..compressed.len() - 4];
    let trailing = [&compressed[..], b"more"].concat();
    let cases = [
        (Encoding::Gzip, message(2, &plain), Unreadable::Flag(2)),
        (
            Encoding::Identity,
            message(1, &compressed),
            Unreadable::NoEncoding,
        ),
        (
            Encoding::Other("deflate".to_owned()),
            message(1, &compressed),
            Unreadable::Encoding("deflate".to_owned()),
        ),
        (Encoding::Gzip, message(1, &plain), Unreadable::Gzip),
        (Encoding::Gzip, message(1, &[]), Unreadable::Gzip),
        (Encoding::Gzip, message(1, truncated), Unreadable::Gzip),
        (Encoding::Gzip, message(1, &trailing), Unreadable::Gzip),
    ];
    for (encoding, bytes, error) in cases {
        for size in [3, 100_000] {
            let unread = read(encoding.clone(), &bytes, size).unwrap_err();
            assert_eq!(unread, error, "pieces of {size}");
        }
    }
    for bad in [&[0x0a, 0x80][..], &[0x0b], &[0x08], &[0xff; 11], &[0x0a, 5, 1]] {
        for size in [1, 100_000] {
            let unread = read(Encoding::Identity, &message(0, bad), size).unwrap_err();
            assert!(
                matches!(unread, Unreadable::Field(_) | Unreadable::Message(_)),
                "{bad:?}: {unread}"
            );
        }
    }
}

proptest! {
    #[test]
    fn pieces_give_what_the_whole_gives(
        bodies in proptest::collection::vec((0_u64..100, 0_usize..1_500), 0..8),
        compressed: bool,
        size in 1_usize..300,
    ) {
        let replies: Vec<_> = bodies.iter().map(|(id, body)| reply(*id, *body)).collect();
        let plain = batch(replies.clone());
        let bytes = if compressed { message(1, &gzip(&plain)) } else { message(0, &plain) };
        let twice = [&bytes[..], &bytes[..]].concat();
        let read = read(Encoding::Gzip, &twice, size).unwrap();
        let (whole, over): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|reply| reply.encoded_len() <= LIMIT);
        let over: Vec<_> = over.iter().map(|reply| reply.correlation_id).collect();
        prop_assert_eq!(read.whole, [&whole[..], &whole[..]].concat());
        let skipped: Vec<_> = read.oversized.iter().map(|one| one.correlation_id).collect();
        prop_assert_eq!(skipped, [&over[..], &over[..]].concat());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, size in 1_usize..50) {
        let _ = read(Encoding::Gzip, &bytes, size);
        let _ = read(Encoding::Gzip, &message(0, &bytes), size);
        let _ = read(Encoding::Gzip, &message(1, &bytes), size);
    }
}
