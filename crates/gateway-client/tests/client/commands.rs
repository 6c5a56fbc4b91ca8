//! Commands and their replies, and how a connection ends under them.

use std::time::Duration;

use fastwebsockets::OpCode;
use gateway_client::{Client, ClientError, Encoding};
use gateway_codec::proto::im::base::{BaseRequest, BaseResponse, ImHeader};
use gateway_codec::{decode_envelope_raw, encode_envelope};
use prost::Message as _;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::stub::{Peer, Stub, frame, reply};

async fn pair(builder: impl FnOnce(gateway_client::Builder) -> gateway_client::Builder) -> (Client, Peer) {
    let stub = Stub::start().await;
    let (client, peer) = tokio::join!(
        builder(Client::builder(&stub.url())).connect(),
        stub.accept(false)
    );
    (client.unwrap(), peer)
}

#[tokio::test]
async fn replies_in_any_order_find_their_commands() {
    let (client, mut peer) = pair(|builder| builder).await;
    let pending: Vec<_> = (0..50)
        .map(|n| client.submit(2001, &json!({ "n": n })).unwrap())
        .collect();
    let mut requests = Vec::new();
    for n in 0..50 {
        requests.push(peer.request().await);
        assert_eq!(requests[n]["data"]["n"], n, "sent in the order of submitting");
    }
    for request in requests.iter().rev() {
        peer.say(reply(request, 200, &request["data"])).await;
    }
    for (n, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap().data["n"], n);
    }
}

#[tokio::test]
async fn an_error_code_is_a_reply_until_success_is_asked_for() {
    let (client, mut peer) = pair(|builder| builder).await;
    let gateway = async {
        let request = peer.request().await;
        peer.say(reply(&request, 404, &json!({}))).await;
    };
    let (answer, ()) = tokio::join!(client.command(9999, json!({})), gateway);
    let answer = answer.unwrap();
    assert_eq!(answer.code, 404);
    assert!(
        matches!(answer.success(), Err(ClientError::Failed { code: 404, message }) if message == "words")
    );
}

#[tokio::test]
async fn a_late_reply_is_nobodys() {
    let (client, mut peer) = pair(|builder| builder.command_timeout(Duration::from_millis(50))).await;
    assert!(matches!(
        client.command(1, json!({})).await,
        Err(ClientError::Timeout)
    ));
    let late = peer.request().await;
    peer.say(reply(&late, 200, &json!("late"))).await;
    let (answer, _) = tokio::join!(client.command(1, json!({})), peer.answer(json!("in time")));
    assert_eq!(answer.unwrap().data, "in time");
}

#[tokio::test]
async fn unanswered_commands_are_bounded() {
    let (client, _peer) = pair(|builder| builder.max_in_flight(2)).await;
    let first = client.submit(1, &json!({})).unwrap();
    let _second = client.submit(1, &json!({})).unwrap();
    assert!(matches!(
        client.submit(1, &json!({})),
        Err(ClientError::TooManyInFlight)
    ));
    drop(first);
    assert!(
        client.submit(1, &json!({})).is_ok(),
        "a reply given up makes room"
    );
}

#[tokio::test]
async fn a_close_ends_waiting_commands_with_its_code_and_is_answered() {
    let (client, mut peer) = pair(|builder| builder).await;
    let waiting = client.submit(1, &json!({})).unwrap();
    peer.request().await;
    peer.close(4410, "replaced").await;
    match waiting.await {
        Err(ClientError::Closed(ended)) => {
            assert_eq!((ended.code, ended.reason.as_str()), (Some(4410), "replaced"));
            assert!(!ended.may_reconnect());
        }
        other => panic!("{other:?}"),
    }
    let (opcode, payload) = peer.frame().await;
    assert_eq!((opcode, payload), (OpCode::Close, 4410u16.to_be_bytes().to_vec()));
    assert!(matches!(
        client.command(1, json!({})).await,
        Err(ClientError::Closed(_))
    ));
}

#[tokio::test]
async fn closing_waits_for_the_gateways_answer() {
    let (client, mut peer) = pair(|builder| builder).await;
    let gateway = async {
        assert_eq!(peer.frame().await.0, OpCode::Close);
        peer.close(1000, "").await;
    };
    let (ended, ()) = tokio::join!(client.close(), gateway);
    assert!(
        ended.by_us && ended.code == Some(1000) && !ended.may_reconnect(),
        "{ended:?}"
    );
}

#[tokio::test]
async fn the_connection_is_closed_when_the_last_handle_is_gone() {
    let (client, mut peer) = pair(|builder| builder).await;
    let clone = client.clone();
    drop(client);
    assert!(peer.is_silent_for(Duration::from_millis(50)).await);
    drop(clone);
    let end = tokio::time::timeout(Duration::from_secs(5), peer.socket.read_frame())
        .await
        .unwrap();
    assert!(end.is_err(), "the stream has ended");
}

#[tokio::test]
async fn pings_are_answered() {
    let (_client, peer) = pair(|builder| builder).await;
    let mut stream = peer.socket.into_inner();
    stream.write_all(&frame(0x89, b"are you there")).await.unwrap();
    let mut socket = fastwebsockets::WebSocket::after_handshake(stream, fastwebsockets::Role::Server);
    let pong = socket.read_frame().await.unwrap();
    assert_eq!(
        (pong.opcode, &*pong.payload),
        (OpCode::Pong, &b"are you there"[..])
    );
}

#[tokio::test]
async fn a_message_in_fragments_and_in_drops_of_bytes_arrives_whole() {
    let (client, mut peer) = pair(|builder| builder).await;
    let waiting = client.submit(1, &json!({})).unwrap();
    let request = peer.request().await;
    let text = reply(&request, 200, &json!("whole")).to_string();
    let (head, tail) = text.as_bytes().split_at(10);
    let mut bytes = frame(0x01, head);
    bytes.extend(frame(0x89, b"a ping between the fragments"));
    bytes.extend(frame(0x80, tail));
    let mut stream = peer.socket.into_inner();
    for byte in bytes {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    assert_eq!(waiting.await.unwrap().data, "whole");
}

#[tokio::test]
async fn fragments_over_the_limit_in_sum_end_the_connection() {
    let (client, peer) = pair(|builder| builder.max_message_bytes(1_000)).await;
    let mut stream = peer.socket.into_inner();
    stream.write_all(&frame(0x01, &[b'x'; 600])).await.unwrap();
    stream.write_all(&frame(0x80, &[b'x'; 600])).await.unwrap();
    let ended = client.closed().await;
    assert_eq!(ended.code, None, "{ended:?}");
}

#[tokio::test]
async fn silence_ends_the_connection() {
    let (client, _peer) = pair(|builder| builder.silence(Duration::from_millis(80))).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), client.closed())
        .await
        .unwrap();
    assert!(ended.may_reconnect() && ended.code.is_none(), "{ended:?}");
}

#[tokio::test]
async fn in_protobuf_json_data_travels_in_a_base_request() {
    let (client, mut peer) =
        pair(|builder| builder.encoding(Encoding::Protobuf).device("pixel", "android")).await;
    assert!(peer.head.contains("mychat.v1.protobuf"));
    let gateway = async {
        let (opcode, bytes) = peer.frame().await;
        assert_eq!(opcode, OpCode::Binary);
        let envelope = decode_envelope_raw(&bytes).unwrap();
        assert_eq!(
            (envelope.header.cmd_id, envelope.header.device_id.as_str()),
            (9001, "pixel")
        );
        assert_eq!(envelope.type_name, "im.base.BaseRequest");
        assert_eq!(
            BaseRequest::decode(envelope.body).unwrap().payload,
            &br#"{"x":1}"#[..]
        );
        let header = ImHeader {
            seq: envelope.header.seq,
            cmd_id: 9001,
            to_uid: "bob".into(),
            ..ImHeader::default()
        };
        let body = BaseResponse {
            error_code: 4,
            error_message: "Forbidden".into(),
            payload: r#"{"y":2}"#.into(),
        };
        let answer = encode_envelope(&header, "im.base.BaseResponse", &body.encode_to_vec());
        let frame = fastwebsockets::Frame::binary(fastwebsockets::Payload::Owned(answer.to_vec()));
        peer.socket.write_frame(frame).await.unwrap();
    };
    let (answer, ()) = tokio::join!(client.command(9001, json!({ "x": 1 })), gateway);
    let answer = answer.unwrap();
    assert_eq!(
        (answer.code, answer.message.as_str(), answer.user_id.as_str()),
        (403, "Forbidden", "bob")
    );
    assert_eq!(answer.data, json!({ "y": 2 }));
}
