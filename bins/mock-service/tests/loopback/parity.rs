//! The same rule behind both encodings.

use gateway_codec::proto::im::{
    base::BaseRequest,
    group::{
        CreateGroupRequest, CreateGroupResponse, GetGroupInfoRequest, GetGroupInfoResponse,
        GetGroupMessagesRequest, GetGroupMessagesResponse, SendGroupMessageRequest, SendGroupMessageResponse,
    },
    message::{
        MessageBody, PullMessageRequest, PullMessageResponse, SendMessageRequest, SendMessageResponse,
    },
    user::{LoginRequest, LoginResponse, RegisterRequest, SearchUsersRequest, SearchUsersResponse},
};
use prost::Message as _;
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn login_gives_the_same_identity() {
    let bench = Bench::start().await;
    let request = LoginRequest {
        account: "alice".into(),
        password: "password".into(),
        ..LoginRequest::default()
    };
    let protobuf = bench
        .protobuf("", 1001, "im.user.LoginRequest", request.clone())
        .await;
    assert_eq!(
        (protobuf.code, protobuf.type_name.as_str()),
        (200, "im.user.LoginResponse")
    );
    let response = LoginResponse::decode(protobuf.body).unwrap();
    assert_eq!(
        (
            response.user.unwrap().uid.as_str(),
            response.base.unwrap().error_code
        ),
        ("alice", 0)
    );
    let json = bench
        .json("", 1001, json!({"username": "alice", "password": "password"}))
        .await;
    let (one, other) = (protobuf.identity.unwrap(), json.reply.identity.unwrap());
    assert_eq!(
        (one.user_id, one.username, one.roles),
        (other.user_id, other.username, other.roles)
    );

    let wrong = LoginRequest {
        password: "no".into(),
        ..request
    };
    let wrong = bench.protobuf("", 1001, "im.user.LoginRequest", wrong).await;
    let json = bench
        .json("", 1001, json!({"username": "alice", "password": "no"}))
        .await;
    assert_eq!((wrong.code, wrong.message), (json.code, json.reply.message));
    let taken = RegisterRequest {
        account: "bob".into(),
        password: "x".into(),
        ..RegisterRequest::default()
    };
    assert_eq!(
        bench
            .protobuf("", 1003, "im.user.RegisterRequest", taken)
            .await
            .code,
        409
    );
}

#[tokio::test]
async fn a_message_sent_in_one_encoding_is_read_in_the_other() {
    let bench = Bench::start().await;
    bench
        .json("alice", 2001, json!({"to_user": "bob", "content": "by json"}))
        .await;
    let body = MessageBody {
        receiver_uid: "alice".into(),
        content: "by protobuf".into(),
        sender_uid: "carol".into(),
        ..MessageBody::default()
    };
    let request = SendMessageRequest {
        body: Some(body),
        header: None,
    };
    let sent = bench
        .protobuf("bob", 2001, "im.message.SendMessageRequest", request)
        .await;
    assert_eq!(sent.type_name, "im.message.SendMessageResponse");
    assert_eq!(sent.pushes[0].user_ids, ["alice"]);
    let message = SendMessageResponse::decode(sent.body).unwrap().message.unwrap();
    assert_eq!(
        message.sender_uid, "bob",
        "the sender is who asks, whatever the message says"
    );
    assert!(message.create_time > 0 && !message.message_id.is_empty());

    let request = PullMessageRequest {
        session_id: "bob".into(),
        ..PullMessageRequest::default()
    };
    let pulled = bench
        .protobuf("alice", 2002, "im.message.PullMessageRequest", request)
        .await;
    let pulled = PullMessageResponse::decode(pulled.body).unwrap().messages;
    let json = bench.json("alice", 2002, json!({"chat_id": "bob"})).await;
    let json: Vec<_> = json.data["messages"].as_array().unwrap().clone();
    assert_eq!(pulled.len(), 2);
    for (one, other) in pulled.iter().zip(&json) {
        assert_eq!(one.message_id, other["message_id"].as_str().unwrap());
        assert_eq!(one.content, other["content"].as_str().unwrap());
        assert_eq!(one.create_time, other["create_time"].as_i64().unwrap());
    }
}

#[tokio::test]
async fn the_same_faults_get_the_same_codes() {
    let bench = Bench::start().await;
    let send = |to: &str, content: &str| SendMessageRequest {
        body: Some(MessageBody {
            receiver_uid: to.into(),
            content: content.into(),
            ..MessageBody::default()
        }),
        header: None,
    };
    for (user, to, content, code) in [
        ("alice", "nobody", "x", 404),
        ("alice", "bob", "", 400),
        ("", "bob", "x", 401),
        ("alice", "", "x", 400),
    ] {
        let one = bench
            .protobuf(user, 2001, "im.message.SendMessageRequest", send(to, content))
            .await;
        let other = bench
            .json(user, 2001, json!({"to_user": to, "content": content}))
            .await;
        assert_eq!((one.code, other.code), (code, code));
        assert_eq!(one.message, other.reply.message);
    }
    let garbage = BaseRequest {
        payload: b"\xff\xff".to_vec().into(),
    };
    assert_eq!(
        bench
            .protobuf("alice", 2001, "im.message.Send", garbage)
            .await
            .code,
        404
    );
    let broken = SendMessageRequest {
        body: None,
        header: None,
    };
    assert_eq!(
        bench
            .protobuf("alice", 2001, "im.message.SendMessageRequest", broken)
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn groups_are_the_same_in_both() {
    let bench = Bench::start().await;
    let request = CreateGroupRequest {
        name: "g".into(),
        members: vec!["bob".into()],
        ..CreateGroupRequest::default()
    };
    let made = bench
        .protobuf("alice", 4001, "im.group.CreateGroupRequest", request)
        .await;
    let id = CreateGroupResponse::decode(made.body).unwrap().group_id;
    let request = GetGroupInfoRequest {
        group_record_id: id,
        ..GetGroupInfoRequest::default()
    };
    let info = bench
        .protobuf("bob", 4002, "im.group.GetGroupInfoRequest", request)
        .await;
    let info = GetGroupInfoResponse::decode(info.body).unwrap();
    let json = bench.json("bob", 4002, json!({"group_id": id})).await;
    assert_eq!(
        info.group.unwrap().name,
        json.data["group"]["name"].as_str().unwrap()
    );
    assert_eq!(info.members.len(), json.data["members"].as_array().unwrap().len());
    assert!(info.joined);

    let request = SendGroupMessageRequest {
        group_id: id,
        content: "hi".into(),
        ..Default::default()
    };
    let sent = bench
        .protobuf("bob", 4014, "im.group.SendGroupMessageRequest", request)
        .await;
    assert_eq!(sent.pushes[0].user_ids, ["alice"]);
    let sent = SendGroupMessageResponse::decode(sent.body)
        .unwrap()
        .message
        .unwrap();
    let request = GetGroupMessagesRequest {
        group_id: id.to_string(),
        ..Default::default()
    };
    let page = bench
        .protobuf("alice", 4010, "im.group.GetGroupMessagesRequest", request)
        .await;
    assert_eq!(
        GetGroupMessagesResponse::decode(page.body).unwrap().messages,
        [sent]
    );
}

#[tokio::test]
async fn json_wrapped_in_a_base_request_is_json() {
    let bench = Bench::start().await;
    let data = json!({"to_user": "bob", "content": "wrapped"}).to_string();
    let wrapped = BaseRequest {
        payload: data.into_bytes().into(),
    };
    let reply = bench
        .protobuf("alice", 2001, "im.base.BaseRequest", wrapped)
        .await;
    assert_eq!((reply.code, reply.type_name.as_str()), (200, ""));
    assert!(reply.body.starts_with(b"{\"message_id\""));

    let request = SearchUsersRequest {
        keyword: "car".into(),
        ..SearchUsersRequest::default()
    };
    for cmd_id in [1008, 3006] {
        let found = bench
            .protobuf("alice", cmd_id, "im.user.SearchUsersRequest", request.clone())
            .await;
        assert_eq!(
            SearchUsersResponse::decode(found.body).unwrap().users[0].uid,
            "carol"
        );
    }
}
