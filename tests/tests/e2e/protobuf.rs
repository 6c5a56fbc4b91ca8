//! The same conversation in MyChat's protobuf envelopes, and both encodings talking to each other.

use gateway_codec::proto::im::base::{BaseRequest, BaseResponse, ImHeader};
use gateway_codec::proto::im::message::{MessageBody, SendMessageRequest, SendMessageResponse};
use gateway_codec::proto::im::push::PushRequest;
use gateway_codec::proto::im::user::{LoginRequest, LoginResponse, LoginType};
use gateway_tests::envelope::{envelope, header, json_envelope};
use gateway_tests::{Stack, WsClient};
use serde_json::{Value, json};

const SUCCESS: i32 = 0;
const AUTH_FAILED: i32 = 2;
const NOT_FOUND: i32 = 3;
const PERMISSION_DENIED: i32 = 4;
const ALREADY_EXISTS: i32 = 5;

fn head(cmd_id: u32, seq: u32) -> ImHeader {
    ImHeader {
        device_id: "pixel".into(),
        platform: "android".into(),
        from_uid: "alice".into(),
        to_uid: "server".into(),
        ..header(cmd_id, seq)
    }
}

async fn login(stack: &Stack, user: &str) -> (WsClient, LoginResponse) {
    let mut client = stack.connect().await;
    let request = LoginRequest {
        header: Some(head(1001, 1)),
        r#type: LoginType::Account.into(),
        account: user.into(),
        password: "password".into(),
        ..LoginRequest::default()
    };
    client
        .send_binary(&envelope(&head(1001, 1), "im.user.LoginRequest", &request))
        .await;
    let reply = client.envelope_reply(1).await;
    let response: LoginResponse = reply.body("im.user.LoginResponse");
    (client, response)
}

fn send(seq: u32, to: &str, content: &str) -> Vec<u8> {
    let body = MessageBody {
        content: content.into(),
        receiver_uid: to.into(),
        ..MessageBody::default()
    };
    let request = SendMessageRequest {
        header: Some(head(2001, seq)),
        body: Some(body),
    };
    envelope(&head(2001, seq), "im.message.SendMessageRequest", &request)
}

#[tokio::test]
async fn login_send_and_receive_in_protobuf() {
    let stack = Stack::start().await;
    let (mut alice, response) = login(&stack, "alice").await;
    let base = response.base.unwrap();
    assert_eq!(base.error_code, SUCCESS);
    let pair: Value = serde_json::from_slice(&base.payload).unwrap();
    assert!(
        pair["token"].is_string() && pair["refresh_token"].is_string(),
        "{pair}"
    );
    assert_eq!(response.user.unwrap().uid, "alice");
    let (mut bob, _) = login(&stack, "bob").await;

    alice.send_binary(&send(2, "bob", "in protobuf")).await;
    let reply = alice.envelope_reply(2).await;
    assert_eq!(reply.header.version, "1.0");
    assert_eq!(
        (reply.header.from_uid.as_str(), reply.header.to_uid.as_str()),
        ("server", "alice"),
        "swapped once"
    );
    assert_eq!(reply.header.cmd_id, 2001);
    let sent: SendMessageResponse = reply.body("im.message.SendMessageResponse");
    assert_eq!(sent.base.unwrap_or_default().error_code, SUCCESS);
    let message_id = sent.message.unwrap().message_id;

    let push = bob.envelope_of(5001).await;
    assert!(push.header.to_uid.is_empty(), "one encoding serves all receivers");
    let push: PushRequest = push.body("im.push.PushRequest");
    let body = push.body.unwrap();
    assert_eq!(
        (body.content.as_str(), body.related_message_id.as_str()),
        ("in protobuf", message_id.as_str())
    );
    let ext: Value = serde_json::from_str(&body.ext).unwrap();
    assert_eq!(
        ext,
        json!({"sender_uid": "alice", "conversation_type": "direct", "conversation_id": "alice"})
    );
}

#[tokio::test]
async fn a_json_sender_reaches_a_protobuf_receiver_and_the_other_way_round() {
    let stack = Stack::start().await;
    let (mut alice, _) = login(&stack, "alice").await;
    let mut bob = stack.login("bob", "d1", "web").await;
    alice.send_binary(&send(2, "bob", "to json")).await;
    assert_eq!(bob.push().await["data"]["content"], "to json");
    bob.command(2001, &json!({"to_user": "alice", "content": "to protobuf"}))
        .await;
    let push: PushRequest = alice.envelope_of(5001).await.body("im.push.PushRequest");
    assert_eq!(push.body.unwrap().content, "to protobuf");
}

#[tokio::test]
async fn commands_without_a_type_travel_as_json_in_base_messages() {
    let stack = Stack::start().await;
    let (mut alice, response) = login(&stack, "alice").await;
    alice.send_binary(&json_envelope(&head(1, 3), &json!({}))).await;
    let beat: BaseResponse = alice.envelope_reply(3).await.body("im.base.BaseResponse");
    let data: Value = serde_json::from_slice(&beat.payload).unwrap();
    assert!(data["timestamp"].is_string());

    alice
        .send_binary(&envelope(
            &head(1, 4),
            "im.base.BaseRequest",
            &BaseRequest::default(),
        ))
        .await;
    let beat: BaseResponse = alice.envelope_reply(4).await.body("im.base.BaseResponse");
    assert_eq!(beat.error_code, SUCCESS, "an empty payload is no data");

    let pair: Value = serde_json::from_slice(&response.base.unwrap().payload).unwrap();
    let mut second = stack.connect().await;
    second
        .send_binary(&json_envelope(&head(1002, 5), &json!({"token": pair["token"]})))
        .await;
    let checked: BaseResponse = second.envelope_reply(5).await.body("im.base.BaseResponse");
    assert_eq!(
        serde_json::from_slice::<Value>(&checked.payload).unwrap()["valid"],
        true
    );

    second
        .send_binary(&json_envelope(
            &head(4, 6),
            &json!({"refresh_token": pair["refresh_token"]}),
        ))
        .await;
    let pair: BaseResponse = second.envelope_reply(6).await.body("im.base.BaseResponse");
    assert!(serde_json::from_slice::<Value>(&pair.payload).unwrap()["token"].is_string());
}

#[tokio::test]
async fn a_token_in_every_header_binds_once_and_is_known_again() {
    let stack = Stack::start().await;
    let pair = stack.tokens("alice", "pixel", "android").await;
    let token = pair["token"].as_str().unwrap();
    let mut client = stack.connect().await;
    for seq in 1..=5 {
        let header = ImHeader {
            token: token.into(),
            ..head(2001, seq)
        };
        let body = MessageBody {
            content: "hi".into(),
            receiver_uid: "bob".into(),
            ..MessageBody::default()
        };
        let request = SendMessageRequest {
            header: Some(header.clone()),
            body: Some(body),
        };
        client
            .send_binary(&envelope(&header, "im.message.SendMessageRequest", &request))
            .await;
        let sent: SendMessageResponse = client
            .envelope_reply(seq)
            .await
            .body("im.message.SendMessageResponse");
        assert_eq!(sent.base.unwrap_or_default().error_code, SUCCESS);
    }
}

#[tokio::test]
async fn errors_are_base_responses_with_the_contracts_codes() {
    let stack = Stack::start().await;
    let mut stranger = stack.connect().await;
    let login = |user: &str, password: &str| LoginRequest {
        r#type: LoginType::Account.into(),
        account: user.into(),
        password: password.into(),
        ..LoginRequest::default()
    };
    let mut table = vec![
        ("not logged in", send(10, "bob", "x"), AUTH_FAILED),
        (
            "unknown command",
            json_envelope(&head(9_999, 10), &json!({})),
            NOT_FOUND,
        ),
        (
            "wrong password",
            envelope(&head(1001, 10), "im.user.LoginRequest", &login("alice", "wrong")),
            AUTH_FAILED,
        ),
    ];
    for (what, frame, code) in table.drain(..) {
        stranger.send_binary(&frame).await;
        let error: BaseResponse = stranger.envelope_reply(10).await.body("im.base.BaseResponse");
        assert_eq!(error.error_code, code, "{what}: {}", error.error_message);
        assert!(!error.error_message.is_empty(), "{what}");
    }
    let (mut alice, _) = self::login(&stack, "alice").await;
    let spoof = |cmd_id, from: &str, device: &str| ImHeader {
        from_uid: from.into(),
        device_id: device.into(),
        ..head(cmd_id, 11)
    };
    for (what, frame, code) in [
        (
            "spoofed from_uid",
            json_envelope(&spoof(2002, "bob", "pixel"), &json!({"chat_id": "bob"})),
            PERMISSION_DENIED,
        ),
        (
            "another device",
            json_envelope(&spoof(2002, "alice", "other"), &json!({"chat_id": "bob"})),
            AUTH_FAILED,
        ),
        (
            "second login",
            envelope(&head(1001, 11), "im.user.LoginRequest", &login("bob", "password")),
            ALREADY_EXISTS,
        ),
        ("nobody there", send(11, "nobody", "x"), NOT_FOUND),
    ] {
        alice.send_binary(&frame).await;
        let error: BaseResponse = alice.envelope_reply(11).await.body("im.base.BaseResponse");
        assert_eq!(error.error_code, code, "{what}: {}", error.error_message);
    }
}

#[tokio::test]
async fn a_reply_uses_the_encoding_of_its_request_pushes_that_of_the_login() {
    let stack = Stack::start().await;
    let (mut alice, _) = login(&stack, "alice").await;
    let reply = alice.command(2002, &json!({"chat_id": "bob"})).await;
    assert_eq!(reply["code"], 200, "JSON on a protobuf session");
    let mut bob = stack.login("bob", "d1", "web").await;
    bob.command(2001, &json!({"to_user": "alice", "content": "x"}))
        .await;
    alice.envelope_of(5001).await;
}

#[tokio::test]
async fn a_back_ends_trouble_has_its_codes_in_protobuf_too() {
    const TIMEOUT: i32 = 7;
    const SERVER_ERROR: i32 = 500;
    let alone = Stack::builder().without_mock().start().await;
    let mut client = alone.connect().await;
    let request = LoginRequest {
        account: "alice".into(),
        password: "password".into(),
        ..LoginRequest::default()
    };
    client
        .send_binary(&envelope(&head(1001, 1), "im.user.LoginRequest", &request))
        .await;
    let error: BaseResponse = client.envelope_reply(1).await.body("im.base.BaseResponse");
    assert_eq!(error.error_code, SERVER_ERROR, "503: {}", error.error_message);

    let stack = Stack::builder()
        .routes(json!({"routes": {"2000-2999": {"handler": "message", "timeout_ms": 500}}}))
        .start()
        .await;
    let (mut alice, _) = login(&stack, "alice").await;
    assert_eq!(alice.command(2999, &json!({"hang_rate": 1.0})).await["code"], 200);
    alice.send_binary(&send(9, "bob", "x")).await;
    let error: BaseResponse = alice.envelope_reply(9).await.body("im.base.BaseResponse");
    assert_eq!(error.error_code, TIMEOUT, "504: {}", error.error_message);
}
