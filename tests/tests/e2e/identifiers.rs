//! User and device ids as other systems make them, wherever an id can stand; and bytes that are none.

use gateway_codec::proto::im::base::{BaseRequest, BaseResponse, ImHeader};
use gateway_tests::envelope::{envelope, header, seal};
use gateway_tests::http::bearer;
use gateway_tests::stack::{ADMIN_KEY, SERVICE_KEY};
use gateway_tests::token::{claims, token};
use gateway_tests::{Stack, WsClient, raw};
use serde_json::{Value, json};

const IDS: [&str; 9] = [
    "e4:b0:63:91:8e:88",
    "{6B29FC40-CA47-1067-B31D-00DD010662DA}",
    "}{",
    "Pixel 7 Pro",
    "用户😀",
    "urn:user:42",
    "alice@chat.example",
    "auth0|5f7/x?y=1&z#%41+",
    "CN=x,O=y",
];

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn online(stack: &Stack) -> Value {
    let list = stack
        .http()
        .get("/api/connections/online", &[("x-api-key", ADMIN_KEY)])
        .await;
    list.body["users"].clone()
}

#[tokio::test]
async fn an_id_is_the_same_by_token_query_header_message_and_http() {
    let stack = Stack::start().await;
    for id in IDS {
        let minted = token(&claims(id, id, "android"));
        let query = format!("/ws?token={minted}&device_id={}", encoded(id));
        let mut client = WsClient::connect(stack.websocket, &query, &[]).await.unwrap();
        assert_eq!(
            client.notice("welcome").await["data"]["authenticated"],
            true,
            "{id}"
        );
        let reply = client
            .request(&json!({"cmd_id": 3001, "seq": 1, "user_id": id, "device_id": id}))
            .await;
        assert_eq!((&reply["code"], &reply["user_id"]), (&json!(200), &json!(id)));
        let users = online(&stack).await;
        assert_eq!(
            (&users[0]["user_id"], &users[0]["sessions"][0]["device_id"]),
            (&json!(id), &json!(id))
        );

        let body = json!({"user_id": id, "device_id": id, "platform": "android", "content": "hi"});
        let push = stack
            .http()
            .post("/api/push", &[("x-api-key", SERVICE_KEY)], &body)
            .await;
        assert_eq!(push.body["outcomes"][0]["device_id"], id, "{}", push.body);
        assert_eq!(client.push().await["data"]["content"], "hi");

        // The same device by the header, as bytes of UTF-8: it replaces itself.
        let headers = [("authorization", bearer(&minted)), ("x-device-id", id.to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut again = WsClient::connect(stack.websocket, "/ws", &headers).await.unwrap();
        assert_eq!(
            again.notice("welcome").await["data"]["authenticated"],
            true,
            "{id}"
        );
        assert_eq!(client.closed().await.0, 4410, "{id}");

        let kick = json!({"user_id": id, "device_id": id, "platform": null, "reason": null});
        let kicked = stack
            .http()
            .post("/api/connections/kick", &[("x-api-key", ADMIN_KEY)], &kick)
            .await;
        assert_eq!(kicked.body["kicked"], 1, "{id}: {}", kicked.body);
        assert_eq!(again.closed().await.0, 4411, "{id}");
    }
}

#[tokio::test]
async fn a_device_of_any_name_logs_in_and_refreshes() {
    let stack = Stack::start().await;
    for id in IDS {
        let mut client = stack.connect().await;
        assert_eq!(client.login("alice", id, "desktop").await["code"], 200, "{id}");
        let login =
            json!({"username": "bob", "password": "password", "device_id": id, "platform": "desktop"});
        let pair = stack.http().post("/api/auth/login", &[], &login).await.body;
        let by_header = json!({"refresh_token": pair["refresh_token"], "device_id": null});
        let refreshed = stack
            .http()
            .post("/api/auth/refresh", &[("x-device-id", id)], &by_header)
            .await;
        assert_eq!(refreshed.status, 200, "{id}: {}", refreshed.body);
    }
}

#[tokio::test]
async fn an_id_that_is_not_text_or_too_long_is_refused_by_name() {
    let stack = Stack::start().await;
    let long = "x".repeat(257);
    for (query, told) in [
        ("device_id=%ff", "device_id is not UTF-8"),
        (
            "device_id=a%00b",
            "device_id holds a character that is not allowed",
        ),
        (&format!("device_id={long}"), "device_id is longer than 256 bytes"),
        (
            "platform=%E7%94%A8",
            "platform holds a character that is not allowed",
        ),
        ("token=%fe", "token is not UTF-8"),
        ("last_push_id=%fe", "last_push_id is not UTF-8"),
        (&format!("last_push_id={long}"), "last_push_id is longer than"),
    ] {
        let answer = raw::ask(stack.websocket, &format!("/ws?{query}"), "Upgrade", b"").await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains(told),
            "{query}: {answer}"
        );
    }
    let (open, bearer) = ("/api/system/health", "/api/auth/verify");
    for (headers, path, told) in [
        (
            &b"X-Device-ID: \xff\xfe\r\n"[..],
            open,
            "X-Device-ID is not UTF-8",
        ),
        (b"X-Platform: \xff\r\n", open, "X-Platform is not UTF-8"),
        (
            b"Authorization: Bearer \xff\r\n",
            bearer,
            "Authorization is not UTF-8",
        ),
    ] {
        for (address, path, connection) in [(stack.websocket, "/ws", "Upgrade"), (stack.http, path, "close")]
        {
            let answer = raw::ask(address, path, connection, headers).await;
            assert!(
                answer.starts_with("HTTP/1.1 400 ") && answer.contains(told),
                "{answer}"
            );
        }
    }
    // In an envelope: the reply carries command and number, and names the field.
    let mut client = stack.connect().await;
    let header = ImHeader {
        device_id: "??".to_owned(),
        ..header(3001, 7)
    };
    let mut frame = envelope(&header, "im.base.BaseRequest", &BaseRequest::default());
    frame.truncate(frame.len() - 4);
    let at = frame.windows(2).position(|pair| pair == b"??").unwrap();
    frame[at] = 0xFF;
    client.send_binary(&seal(frame)).await;
    let reply = client.envelope_reply(7).await;
    assert_eq!(reply.header.cmd_id, 3001);
    let base: BaseResponse = reply.body("im.base.BaseResponse");
    assert_eq!(base.error_message, "device_id is not UTF-8");
}
