//! Closing from either side, timers, back-pressure, slow and silent peers, shutdown.

use std::time::{Duration, Instant};

use gateway_net::{EndReason, Frame, SendError};
use tokio::io::AsyncWriteExt;

use crate::support::{Got, Server, Told, frame, resident, settings};

#[tokio::test]
async fn a_local_close_sends_what_is_queued_first() {
    let mut server = Server::start(&settings());
    let mut client = server.connect().await;
    let outbound = server.opened().await;
    outbound.send(Frame::text("one")).unwrap();
    assert_eq!(outbound.push(Frame::binary(vec![7; 100_000])), Ok(1));
    outbound.close(4411, "kicked");
    outbound.close(1000, "later");
    assert_eq!(outbound.send(Frame::text("late")), Err(SendError::Closed));
    assert_eq!(outbound.push(Frame::text("late")), Err(SendError::Closed));
    assert!(outbound.is_closed());
    assert_eq!(client.get().await, Got::text("one"));
    assert_eq!(client.get().await, Got::Frame(0x82, vec![7; 100_000]));
    assert_eq!(client.get().await, Got::Closed(4411, "kicked".into()));
    let end = server.closed().await;
    assert_eq!(
        (end.code, end.reason, end.last_written),
        (4411, EndReason::Local(4411), 1)
    );
    // The answer to our Close frame ends it, well before the drain does.
    let start = Instant::now();
    client.send(&frame(0x88, b"\x11\x3b")).await;
    assert_eq!(client.get().await, Got::End);
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_close_without_an_answer_ends_after_the_drain() {
    let mut settings = settings();
    settings.drain_timeout = Duration::from_millis(300);
    let mut server = Server::start(&settings);
    let mut client = server.connect().await;
    server.opened().await.close(4401, "");
    assert_eq!(client.close_code().await, 4401);
    let start = Instant::now();
    assert_eq!(client.get().await, Got::End);
    assert!(start.elapsed() >= Duration::from_millis(150) && start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_code_arrives_although_input_is_unread() {
    let mut server = Server::start(&settings());
    let client = server.connect().await;
    let (reader, mut writer) = client.stream.into_split();
    // More than the socket buffers hold is on its way when the breach is noticed.
    let sending = tokio::spawn(async move {
        let mut bytes = frame(0x83, b"");
        bytes.resize(8 << 20, 0);
        let _ = writer.write_all(&bytes).await;
        writer
    });
    let writer = sending.await.unwrap();
    let mut client = crate::support::Client {
        stream: reader.reunite(writer).unwrap(),
    };
    assert_eq!(client.close_code().await, 1002);
    assert_eq!(server.closed().await.reason, EndReason::Protocol(1002));
}

#[tokio::test]
async fn no_message_is_handed_out_after_a_close() {
    let mut server = Server::start(&settings());
    let mut client = server.connect().await;
    server.opened().await;
    client
        .send(&[frame(0x81, b"close"), frame(0x81, b"x"), frame(0x81, b"y")].concat())
        .await;
    assert!(matches!(server.next().await, Told::Message(5)));
    assert!(matches!(server.next().await, Told::Closed(end) if end.reason == EndReason::Local(4411)));
    assert_eq!(client.close_code().await, 4411);
}

#[tokio::test]
async fn pushes_are_numbered_and_reported_as_written() {
    let mut server = Server::start(&settings());
    let mut client = server.connect().await;
    let outbound = server.opened().await;
    for n in 1..=5 {
        assert_eq!(outbound.push(Frame::text(n.to_string())), Ok(n));
    }
    let mut seen = 0;
    while seen < 5 {
        match server.next().await {
            Told::Written(up_to) => {
                assert!(up_to > seen);
                seen = up_to;
            }
            other => panic!("{other:?}"),
        }
    }
    for n in 1..=5 {
        assert_eq!(client.get().await, Got::text(&n.to_string()));
    }
    client.send(&frame(0x88, b"")).await;
    let end = server.closed().await;
    assert_eq!((end.last_written, end.reason), (5, EndReason::Peer(1005)));
}

#[tokio::test]
async fn what_is_pushed_later_waits_for_the_flush_and_goes_at_once() {
    let mut server = Server::start(&settings());
    let mut client = server.connect().await;
    let outbound = server.opened().await;
    // Its task has had its first turn, and waits.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let later: Vec<_> = (1..=3)
        .map(|n| outbound.push_later(Frame::text(n.to_string())).unwrap())
        .map(|later| (later.ticket, later.first))
        .collect();
    assert_eq!(later, [(1, true), (2, false), (3, false)]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(outbound.queued_bytes() > 0, "nobody was woken");
    outbound.flush();
    for n in 1..=3 {
        assert_eq!(client.get().await, Got::text(&n.to_string()));
    }
    assert!(matches!(server.next().await, Told::Written(3)), "all in one turn");
}

#[tokio::test]
async fn replies_go_before_pushes() {
    let mut server = Server::start(&settings());
    let mut client = server.connect().await;
    let outbound = server.opened().await;
    // The socket's buffers are filled, so that both lanes queue up behind them.
    let big = Frame::binary(vec![0; 900_000]);
    let mut bulk = 0;
    while outbound.queued_bytes() < 100_000 {
        outbound.send(big.clone()).unwrap();
        bulk += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outbound.push(Frame::text("push")).unwrap();
    outbound.send(Frame::text("reply")).unwrap();
    for _ in 0..bulk {
        assert!(matches!(client.get().await, Got::Frame(0x82, _)));
    }
    assert_eq!(client.get().await, Got::text("reply"));
    assert_eq!(client.get().await, Got::text("push"));
}

#[tokio::test]
async fn a_full_queue_is_told_to_the_sender_and_holds_its_bounds() {
    let mut settings = settings();
    settings.outbound_queue_bytes = 100_000;
    settings.outbound_queue_frames = 50;
    settings.close_timeout = Duration::from_millis(300);
    let mut server = Server::start(&settings);
    let _client = server.connect().await;
    let outbound = server.opened().await;
    let frame = Frame::binary(vec![0; 10_000]);
    let mut taken = 0_usize;
    let full = loop {
        match outbound.push(frame.clone()) {
            Ok(_) => taken += 1,
            Err(error) => {
                // The task may still find room in the socket's buffers.
                tokio::time::sleep(Duration::from_millis(20)).await;
                if outbound.queued_bytes() > 90_000 {
                    break error;
                }
            }
        }
        assert!(taken < 10_000);
    };
    assert_eq!(full, SendError::Full);
    assert!(outbound.queued_bytes() <= 100_000);
    assert_eq!(outbound.send(Frame::text("a notice still fits")), Ok(()));
    outbound.close(4413, "too slow");
    // It reads nothing, so the Close frame never gets out: the close deadline ends it.
    let end = server.closed().await;
    assert_eq!(end.reason, EndReason::Local(4413));
    assert!(end.last_written < taken as u64 && end.last_written > 0);
}

#[tokio::test]
async fn a_flood_that_is_not_read_stays_bounded() {
    let mut settings = settings();
    settings.close_timeout = Duration::from_millis(500);
    let mut server = Server::start(&settings);
    let client = server.connect().await;
    let outbound = server.opened().await;
    let (_reader, mut writer) = client.stream.into_split();
    let before = resident();
    let flood = tokio::spawn(async move {
        let bytes = [frame(0x82, &[1; 1000]), frame(0x89, &[2; 125])]
            .concat()
            .repeat(50);
        for _ in 0..2000 {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    // The echo closes with 4413 as soon as its queue is full.
    while !outbound.is_closed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(resident().saturating_sub(before) < 32 << 20);
    assert_eq!(server.closed().await.reason, EndReason::Local(4413));
    flood.await.unwrap();
}

#[tokio::test]
async fn a_wished_wake_up_comes_once_and_the_last_wish_counts() {
    let mut server = Server::start(&settings());
    let _client = server.connect().await;
    let outbound = server.opened().await;
    let start = tokio::time::Instant::now();
    outbound.wake_at(Some(start + Duration::from_secs(3600)));
    outbound.wake_at(Some(start + Duration::from_millis(200)));
    assert!(matches!(server.next().await, Told::Woken));
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
    assert!(
        start.elapsed() < Duration::from_millis(600),
        "{:?}",
        start.elapsed()
    );
    outbound.wake_at(Some(start + Duration::from_millis(300)));
    outbound.wake_at(None);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(server.told.try_recv().is_err());
    // Later than an entry of the wheel that has come up in between.
    outbound.wake_at(Some(tokio::time::Instant::now() + Duration::from_millis(100)));
    assert!(matches!(server.next().await, Told::Woken));
}

#[tokio::test]
async fn a_peer_that_answers_pings_lives_and_a_silent_one_dies() {
    let mut settings = settings();
    settings.ping_interval = Duration::from_millis(200);
    let mut server = Server::start(&settings);
    let mut client = server.connect().await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        assert_eq!(client.get().await, Got::Frame(0x89, vec![]));
        client.send(&frame(0x8A, b"")).await;
    }
    let silent = Instant::now();
    let end = server.closed().await;
    assert_eq!((end.reason, end.code), (EndReason::Timeout, 1006));
    assert!(
        silent.elapsed() >= Duration::from_millis(400),
        "{:?}",
        silent.elapsed()
    );
    assert!(
        silent.elapsed() < Duration::from_millis(1200),
        "{:?}",
        silent.elapsed()
    );
}

#[tokio::test]
async fn a_peer_that_vanishes_is_told_as_gone() {
    let mut server = Server::start(&settings());
    let client = server.connect().await;
    drop(client);
    let end = server.closed().await;
    assert_eq!(
        (end.reason, end.code, end.last_written),
        (EndReason::PeerGone, 1006, 0)
    );
}

#[tokio::test]
async fn a_peer_that_shuts_its_side_still_learns_its_code() {
    let mut server = Server::start(&settings());
    let mut client = server.connect().await;
    client.send(&frame(0x83, b"")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.close_code().await, 1002);
    assert_eq!(server.closed().await.reason, EndReason::Protocol(1002));
}

#[tokio::test]
async fn a_backlog_stops_reading_until_it_is_resumed() {
    let mut settings = settings();
    settings.ping_interval = Duration::from_millis(100);
    let mut server = Server::start(&settings);
    let mut client = server.connect().await;
    let outbound = server.opened().await;
    client
        .send(
            &[
                frame(0x81, b"hold"),
                frame(0x81, b"second"),
                frame(0x81, b"third"),
            ]
            .concat(),
        )
        .await;
    assert!(matches!(server.next().await, Told::Message(4)));
    // Not found dead meanwhile: it is we who do not listen. The handler keeps holding.
    tokio::time::sleep(Duration::from_millis(600)).await;
    outbound.resume_reading();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.told.try_recv().is_err());
    assert!(!outbound.is_closed());
    // A close gets through all the same.
    outbound.close(1000, "");
    assert_eq!(server.closed().await.reason, EndReason::Local(1000));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let mut server = Server::start(&settings());
    let mut other = server.connect().await;
    server.opened().await;
    let mut client = server.connect().await;
    client.send(&frame(0x81, b"panic")).await;
    assert_eq!(client.close_code().await, 1011);
    let end = server.closed().await;
    assert_eq!((end.reason, end.code), (EndReason::Panicked, 1011));
    other.send(&frame(0x81, b"on")).await;
    assert_eq!(other.get().await, Got::text("on"));
}

#[tokio::test]
async fn a_shutdown_closes_all_with_1001_and_waits() {
    let mut settings = settings();
    settings.workers = 2;
    let mut server = Server::start(&settings);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.connect().await);
    }
    server.stop.cancel();
    let handle = server.handle.take().unwrap();
    let joined = tokio::spawn(handle.join());
    for client in &mut clients {
        assert_eq!(client.close_code().await, 1001);
    }
    for client in &mut clients {
        client.send(&frame(0x88, b"\x03\xe9")).await;
    }
    tokio::time::timeout(Duration::from_secs(3), joined)
        .await
        .expect("joins in time")
        .unwrap()
        .unwrap();
    let mut ends = 0;
    while let Ok(told) = server.told.try_recv() {
        if let Told::Closed(end) = told {
            assert_eq!(end.reason, EndReason::Local(1001));
            ends += 1;
        }
    }
    assert_eq!(ends, 20);
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_it_was_told() {
    let mut settings = settings();
    settings.shutdown_timeout = Duration::from_millis(300);
    settings.outbound_queue_bytes = 64 << 20;
    let mut server = Server::start(&settings);
    let _client = server.connect().await;
    let outbound = server.opened().await;
    outbound.push(Frame::binary(vec![0; 32 << 20])).unwrap();
    server.stop.cancel();
    let start = Instant::now();
    server.handle.take().unwrap().join().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3));
    let end = server.closed().await;
    assert_eq!((end.reason, end.last_written), (EndReason::Local(1001), 0));
    assert_eq!(outbound.send(Frame::text("late")), Err(SendError::Closed));
}

#[tokio::test]
async fn pipelined_messages_come_back_in_order() {
    let server = Server::start(&settings());
    let mut client = server.connect().await;
    let bytes: Vec<u8> = (0..10_000)
        .flat_map(|n: u32| frame(0x81, n.to_string().as_bytes()))
        .collect();
    let (mut reader, mut writer) = client.stream.into_split();
    let sending = tokio::spawn(async move {
        writer.write_all(&bytes).await.unwrap();
        writer
    });
    let mut all = Vec::new();
    let expected: Vec<u8> = (0..10_000)
        .flat_map(|n: u32| [vec![0x81, n.to_string().len() as u8], n.to_string().into_bytes()].concat())
        .collect();
    all.resize(expected.len(), 0);
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut all)
        .await
        .unwrap();
    assert!(all == expected);
    client = crate::support::Client {
        stream: reader.reunite(sending.await.unwrap()).unwrap(),
    };
    client.send(&frame(0x88, b"")).await;
    assert_eq!(client.close_code().await, 1005);
}
