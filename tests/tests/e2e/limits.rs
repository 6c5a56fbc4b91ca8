//! Contract section 2, "Limits": oversized and unreadable messages, and what else suffers from them (nothing).

use gateway_tests::raw::{RawSocket, frame};
use gateway_tests::{Stack, envelope};
use serde_json::json;

const MIB: usize = 1 << 20;

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_message_of_one_mebibyte_passes_and_one_byte_more_closes() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let shell = r#"{"cmd_id":1,"seq":7,"data":""}"#.len();
    alice
        .send_text(&format!(
            r#"{{"cmd_id":1,"seq":7,"data":"{}"}}"#,
            "x".repeat(MIB - shell)
        ))
        .await;
    assert_eq!(alice.reply(7).await["code"], 200);

    let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
    socket.send(&frame(0x81, &vec![b'x'; MIB + 1])).await;
    assert_eq!(socket.close_code().await, Some(1009), "in one frame");
    assert!(alice.is_alive().await);
}

#[tokio::test]
async fn a_thousand_fragments_are_one_message_and_memory_stays_bounded() {
    let stack = Stack::start().await;
    let before = resident(stack.gateway.id());
    let part = vec![b'x'; MIB / 1_000 + 2];
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
        socket.send(&frame(0x01, &part)).await;
        for _ in 0..999 {
            if !socket.send(&frame(0x00, &part)).await {
                break;
            }
        }
        assert_eq!(socket.close_code().await, Some(1009));
        sockets.push(socket);
    }
    let grown = resident(stack.gateway.id()).saturating_sub(before);
    assert!(grown < 40 * 1024, "20 oversized messages left {grown} KiB behind");
}

#[tokio::test]
async fn a_length_that_is_only_announced_takes_no_memory() {
    let stack = Stack::start().await;
    let before = resident(stack.gateway.id());
    let mut sockets = Vec::new();
    for _ in 0..200 {
        let mut socket = RawSocket::connect(stack.websocket, "/ws").await;
        let mut head = vec![0x82, 0x80 | 127];
        head.extend_from_slice(&(MIB as u64).to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        socket.send(&head).await;
        sockets.push(socket);
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let grown = resident(stack.gateway.id()).saturating_sub(before);
    assert!(grown < 60 * 1024, "200 announced mebibytes cost {grown} KiB");
}

#[tokio::test]
async fn unreadable_json_is_answered_and_ten_in_a_row_close() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    let bad = [
        "",
        "{",
        "[]",
        "7",
        "{}",
        r#"{"cmd_id":0}"#,
        r#"{"cmd_id":"1"}"#,
        r#"{"cmd_id":-1}"#,
        r#"{"cmd_id":5000000000}"#,
    ];
    for text in bad {
        client.send_text(text).await;
        let reply = client.reply(0).await;
        assert_eq!(
            (&reply["code"], &reply["cmd_id"]),
            (&json!(400), &json!(0)),
            "{text}: {reply}"
        );
    }
    assert!(
        client.is_alive().await,
        "nine are forgiven, and a good one starts the count anew"
    );
    for _ in 0..10 {
        client.send_text("nonsense").await;
    }
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn broken_envelopes_are_answered_and_the_socket_lives() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    let good = envelope::json_envelope(&envelope::header(1, 5), &json!({}));
    let mut wrong_crc = good.clone();
    *wrong_crc.last_mut().unwrap() ^= 1;
    let lengths = |header: u64, type_name: u64| {
        let mut bytes = Vec::new();
        envelope::varint(header, &mut bytes);
        envelope::varint(type_name, &mut bytes);
        bytes.extend_from_slice(b"im.base.BaseRequest");
        envelope::seal(bytes)
    };
    let table = [
        ("empty", vec![]),
        ("three bytes", vec![1, 2, 3]),
        ("a CRC alone", envelope::seal(vec![])),
        ("wrong CRC", wrong_crc),
        ("cut", good[..good.len() - 1].to_vec()),
        ("header of length 0", lengths(0, 19)),
        ("type of length 0", lengths(19, 0)),
        ("header past the end", lengths(1_000, 19)),
        ("type past the end", lengths(1, 1_000)),
        ("lengths that overflow", lengths(u64::MAX, u64::MAX)),
        (
            "cmd_id 0",
            envelope::json_envelope(&envelope::header(0, 0), &json!({})),
        ),
    ];
    for (index, (what, bytes)) in table.into_iter().enumerate() {
        client.send_binary(&bytes).await;
        let reply = client.envelope_reply(0).await;
        let error: gateway_codec::proto::im::base::BaseResponse = reply.body("im.base.BaseResponse");
        assert_eq!(error.error_code, 1, "{what}");
        assert_eq!(reply.header.cmd_id, 0, "{what}");
        if index % 5 == 4 {
            client.send_binary(&good).await;
            client.envelope_reply(5).await;
        }
    }
    client.send_binary(&good).await;
    assert_eq!(client.envelope_reply(5).await.header.cmd_id, 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_harms_nobody() {
    let stack = Stack::start().await;
    let mut alice = stack.login("alice", "d1", "web").await;
    let mut bob = stack.login("bob", "phone", "android").await;
    let mut slow = RawSocket::connect(stack.websocket, "/ws").await;
    let pair = stack.tokens("carol", "slow", "android").await;
    let login = json!({"cmd_id": 1002, "data": {"token": pair["token"]}}).to_string();
    slow.send(&frame(0x81, login.as_bytes())).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    // Far more than the queue and both kernels' buffers hold.
    let content = "x".repeat(60_000);
    for seq in 100..400 {
        alice
            .send(&json!({"cmd_id": 2001, "seq": seq, "data": {"to_user": "carol", "content": content}}))
            .await;
    }
    for seq in 100..400 {
        assert_eq!(alice.reply(seq).await["code"], 200);
    }
    alice
        .command(2001, &json!({"to_user": "bob", "content": "unharmed"}))
        .await;
    assert_eq!(bob.push().await["data"]["content"], "unharmed");
    // What the slow one did not take waits for its next login; nothing is lost.
    drop(slow);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let mut carol = stack.login("carol", "other", "android").await;
    let first = carol.push_and_ack().await;
    assert_eq!(first["data"]["sender_uid"], "alice");
}
