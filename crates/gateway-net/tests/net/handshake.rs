//! Opening handshakes: who gets in, and what the others are told.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{Client, Got, PATIENCE, Server, frame, request, settings};

async fn ask(server: &Server, request: &str) -> String {
    let mut client = Client {
        stream: TcpStream::connect(server.address).await.unwrap(),
    };
    client.send(request.as_bytes()).await;
    client.head().await.to_ascii_lowercase()
}

#[tokio::test]
async fn each_refusal_has_its_status() {
    let server = Server::start(&settings());
    let good = request("/ws", "");
    let without = |line: &str| good.replace(line, "");
    let cases = [
        ("unknown path", request("/other", ""), "404", ""),
        (
            "plain GET",
            "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            "426",
            "sec-websocket-version: 13\r\n",
        ),
        (
            "plain GET says what to do",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            "426",
            "upgrade: websocket\r\n",
        ),
        ("POST", good.replace("GET", "POST"), "405", "allow: get\r\n"),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), "426", ""),
        (
            "version 8",
            good.replace("Version: 13", "Version: 8"),
            "426",
            "sec-websocket-version: 13\r\n",
        ),
        ("no version", without("Sec-WebSocket-Version: 13\r\n"), "400", ""),
        (
            "no key",
            without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            "400",
            "",
        ),
        (
            "short key",
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "AAAA"),
            "400",
            "",
        ),
        (
            "refused",
            request("/ws?refuse=403", ""),
            "403",
            "content-type: application/json\r\n",
        ),
        ("busy", request("/ws?refuse=503", ""), "503", "retry-after: 3\r\n"),
        (
            "huge head",
            request("/ws", &format!("X-Much: {}\r\n", "a".repeat(20_000))),
            "431",
            "",
        ),
        ("no host", without("Host: x\r\n"), "400", ""),
        ("two hosts", request("/ws", "Host: y\r\n"), "400", ""),
        (
            "two keys",
            request("/ws", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            "400",
            "",
        ),
        (
            "body",
            format!("{}abc", request("/ws", "Content-Length: 3\r\n")),
            "400",
            "",
        ),
        ("not HTTP", "\x16\x03\x01 hello\r\n\r\n".into(), "400", ""),
    ];
    for (name, request, status, header) in cases {
        let head = ask(&server, &request).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")) || name == "HTTP/1.0" && head.contains(status),
            "{name}: {head}"
        );
        assert!(head.contains(header), "{name}: {head}");
    }
}

#[tokio::test]
async fn an_upgrade_proves_itself_and_echoes_the_chosen_subprotocol() {
    let server = Server::start(&settings());
    let head = ask(
        &server,
        &request("/", "Sec-WebSocket-Protocol: bearer.x, mychat.v1\r\n"),
    )
    .await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    assert!(head.contains("sec-websocket-protocol: mychat.v1\r\n"), "{head}");
    assert!(
        !ask(&server, &request("/", ""))
            .await
            .contains("sec-websocket-protocol")
    );
}

#[tokio::test]
async fn whatever_a_request_says_of_its_connection_the_101_says_upgrade() {
    let server = Server::start(&settings());
    for connection in [
        "Upgrade",
        "upgrade",
        "keep-alive, Upgrade",
        "Upgrade, close",
        "close, upgrade",
        "keep-alive\r\nConnection: Upgrade",
    ] {
        let request = request("/ws/", "").replace(
            "Connection: keep-alive, Upgrade\r\n",
            &format!("Connection: {connection}\r\n"),
        );
        let mut client = Client {
            stream: TcpStream::connect(server.address).await.unwrap(),
        };
        client.send(request.as_bytes()).await;
        let head = client.head().await;
        let lines: Vec<&str> = head.trim_end().lines().collect();
        assert_eq!(
            lines,
            [
                "HTTP/1.1 101 Switching Protocols",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            ],
            "{connection}"
        );
    }
}

#[tokio::test]
async fn frames_sent_with_the_request_are_not_lost() {
    let server = Server::start(&settings());
    let mut client = Client {
        stream: TcpStream::connect(server.address).await.unwrap(),
    };
    let mut bytes = request("/ws", "").into_bytes();
    bytes.extend(frame(0x81, b"early"));
    bytes.extend(&frame(0x81, b"split")[..3]);
    client.send(&bytes).await;
    assert!(client.head().await.contains("101"));
    assert_eq!(client.get().await, Got::text("early"));
    client.send(&frame(0x81, b"split")[3..]).await;
    assert_eq!(client.get().await, Got::text("split"));
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let mut settings = settings();
    settings.handshake_timeout = Duration::from_millis(200);
    let server = Server::start(&settings);
    for start in ["", "GET /ws HT", "GET /ws HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = Client {
            stream: TcpStream::connect(server.address).await.unwrap(),
        };
        client.send(start.as_bytes()).await;
        let mut sink = Vec::new();
        tokio::time::timeout(PATIENCE, client.stream.read_to_end(&mut sink))
            .await
            .expect("hung up on")
            .ok();
    }
}

#[tokio::test]
async fn a_full_server_says_so_and_has_room_again_later() {
    let mut settings = settings();
    settings.max_connections = 2;
    let mut server = Server::start(&settings);
    let first = server.connect().await;
    let _second = server.connect().await;
    let head = ask(&server, &request("/ws", "")).await;
    assert!(
        head.starts_with("http/1.1 503 ") && head.contains("retry-after: 5\r\n"),
        "{head}"
    );
    assert_eq!(server.handle.as_ref().unwrap().connections(), 2);
    drop(first);
    server.closed().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.connect().await;
}

#[tokio::test]
async fn a_second_server_cannot_share_the_port() {
    let server = Server::start(&settings());
    let mut again = settings();
    again.address = server.address;
    let error = gateway_net::WebSocketServer::bind(&again).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn several_workers_share_one_port() {
    let mut settings = settings();
    settings.workers = 3;
    let server = Server::start(&settings);
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(server.connect().await);
    }
    for client in &mut clients {
        client.send(&frame(0x81, b"x")).await;
        assert_eq!(client.get().await, Got::text("x"));
    }
}

#[tokio::test]
async fn what_is_said_at_the_opening_follows_the_answer() {
    let server = Server::start(&settings());
    let mut client = Client {
        stream: TcpStream::connect(server.address).await.unwrap(),
    };
    client.send(request("/ws?greet", "").as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.get().await, Got::text("welcome"));
}

#[tokio::test]
async fn a_panic_at_the_opening_is_told_behind_the_answer() {
    let server = Server::start(&settings());
    let mut client = Client {
        stream: TcpStream::connect(server.address).await.unwrap(),
    };
    client.send(request("/ws?panic", "").as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.close_code().await, 1011);
}

#[tokio::test]
async fn pings_that_come_with_the_request_do_not_push_the_answer_aside() {
    let server = Server::start(&settings());
    let mut bytes = request("/ws", "").into_bytes();
    for _ in 0..100 {
        bytes.extend(frame(0x89, &[7; 100]));
    }
    let mut client = Client {
        stream: TcpStream::connect(server.address).await.unwrap(),
    };
    client.send(&bytes).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
}
