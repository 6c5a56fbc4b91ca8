//! HTTP: bounds of bodies, heads, time and connections; cross-origin rules; shutdown.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_net::{HttpRequest, HttpServer, HttpService, HttpSettings};
use http::Response;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::Client;

struct Echo;

impl HttpService for Echo {
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, Response<Bytes>> {
        Box::pin(async move {
            if request.path() == "/slow" {
                tokio::time::sleep(Duration::from_millis(request.query().parse().unwrap())).await;
            }
            Response::new(Bytes::from(format!("{} {}", request.method, request.body.len())))
        })
    }
}

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

fn settings() -> HttpSettings {
    HttpSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        body_bytes: 1000,
        ..HttpSettings::default()
    }
}

fn start(settings: &HttpSettings) -> Server {
    let server = HttpServer::bind(settings).unwrap();
    let (address, stop) = (server.local_addr(), CancellationToken::new());
    let serving = tokio::spawn(server.serve(Arc::new(Echo), stop.clone()));
    Server {
        address,
        stop,
        serving,
    }
}

async fn connect(address: SocketAddr) -> Client {
    Client {
        stream: TcpStream::connect(address).await.unwrap(),
    }
}

/// Everything that comes back.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = connect(address).await;
    client.send(request.as_bytes()).await;
    client.rest().await
}

fn post(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn bodies_are_bounded_however_they_come() {
    let address = start(&settings()).address;
    let fits = "a".repeat(1000);
    let over = "a".repeat(1001);
    let cases = [
        (
            "none",
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            "200",
            "GET 0",
        ),
        (
            "fits",
            post("Content-Length: 1000\r\n", &fits),
            "200",
            "POST 1000",
        ),
        (
            "over",
            post("Content-Length: 1001\r\n", &over),
            "413",
            r#"{"code":413,"message":"Payload Too Large","err_msg":"Too Large","request_id":""#,
        ),
        (
            "chunked",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("3e8\r\n{fits}\r\n0\r\n\r\n"),
            ),
            "200",
            "POST 1000",
        ),
        (
            "chunked over",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("3e9\r\n{over}\r\n0\r\n\r\n"),
            ),
            "413",
            "",
        ),
        (
            "huge, waits",
            post("Content-Length: 999999999\r\nExpect: 100-continue\r\n", ""),
            "413",
            "",
        ),
        (
            "huge head",
            post(&format!("X-Much: {}\r\n", "a".repeat(20_000)), ""),
            "431",
            "",
        ),
    ];
    for (name, request, status, body) in cases {
        let answer = ask(address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer}"
        );
        assert!(answer.contains(body), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_huge_upload_gets_its_413() {
    let address = start(&settings()).address;
    let answer = ask(
        address,
        &post("Content-Length: 4000000\r\n", &"a".repeat(4_000_000)),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let address = start(&settings()).address;
    let answer = ask(address, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn every_wait_has_a_deadline() {
    let mut settings = settings();
    settings.header_timeout = Duration::from_millis(200);
    settings.idle_timeout = Duration::from_millis(200);
    settings.timeout = Duration::from_millis(200);
    let address = start(&settings).address;
    let slow = ask(
        address,
        "GET /slow?60000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(slow.starts_with("HTTP/1.1 504 "), "{slow}");
    let body = ask(address, &post("Content-Length: 10\r\n", "abc")).await;
    assert!(body.starts_with("HTTP/1.1 408 "), "{body}");
    // Half a head, and a kept-alive connection that asks no more.
    ask(address, "GET / HT").await;
    let idle = ask(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200 "), "{idle}");
}

#[tokio::test]
async fn connections_are_counted() {
    let mut settings = settings();
    settings.max_connections = 1;
    let address = start(&settings).address;
    let mut first = connect(address).await;
    first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(first.head().await.contains("200"));
    let second = ask(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        second.starts_with("HTTP/1.1 503 ") && second.contains("Retry-After: 1\r\n"),
        "{second}"
    );
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = ask(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(third.starts_with("HTTP/1.1 200 "), "{third}");
}

#[tokio::test]
async fn pages_of_allowed_origins_may_ask() {
    let mut settings = settings();
    settings.cors.allowed_origins = vec!["https://Chat.example:443".parse().unwrap()];
    let address = start(&settings).address;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
        )
    };
    let good = ask(address, &preflight("https://chat.example")).await;
    assert!(good.starts_with("HTTP/1.1 204 "), "{good}");
    for header in [
        "access-control-allow-origin: https://chat.example\r\n",
        "access-control-allow-methods: GET, HEAD, POST",
        "access-control-allow-headers: Authorization, Content-Type, X-Device-ID, X-Platform, X-API-Key\r\n",
        "access-control-max-age: 600\r\n",
        "vary: Origin\r\n",
    ] {
        assert!(good.contains(header), "{header} in {good}");
    }
    let bad = ask(address, &preflight("https://evil.example")).await;
    assert!(
        bad.starts_with("HTTP/1.1 403 ") && !bad.contains("allow-origin"),
        "{bad}"
    );
    let get =
        |origin: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n\r\n");
    let plain = ask(address, &get("https://chat.example")).await;
    assert!(
        plain.starts_with("HTTP/1.1 200 ") && plain.contains("allow-origin: https://chat.example\r\n"),
        "{plain}"
    );
    let other = ask(address, &get("https://evil.example")).await;
    assert!(
        !other.contains("allow-origin") && other.contains("vary: Origin\r\n"),
        "{other}"
    );
    // An error can be read too.
    let over = ask(
        address,
        &post(
            "Origin: https://chat.example\r\nContent-Length: 1001\r\n",
            &"a".repeat(1001),
        ),
    )
    .await;
    assert!(
        over.starts_with("HTTP/1.1 413 ") && over.contains("allow-origin"),
        "{over}"
    );
}

#[tokio::test]
async fn a_star_allows_any_origin_and_nothing_allows_none() {
    let mut any = settings();
    any.cors.allowed_origins = vec!["*".parse().unwrap()];
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: https://a.example\r\n\r\n";
    let answer = ask(start(&any).address, request).await;
    assert!(answer.contains("access-control-allow-origin: *\r\n"), "{answer}");
    let answer = ask(start(&settings()).address, request).await;
    assert!(
        !answer.contains("access-control") && !answer.contains("vary"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_shutdown_lets_requests_end_and_waits_no_longer_than_told() {
    let mut settings = settings();
    settings.shutdown_timeout = Duration::from_millis(500);
    let server = start(&settings);
    let mut idle = connect(server.address).await;
    idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.head().await.contains("200"));
    let mut under_way = connect(server.address).await;
    under_way.send(b"GET /slow?200 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut hung = connect(server.address).await;
    hung.send(b"GET /slow?60000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    assert!(under_way.rest().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(hung.rest().await, "");
    tokio::time::timeout(Duration::from_secs(2), server.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_connection_is_kept_alive_longer_than_a_head_may_take() {
    let settings = HttpSettings {
        header_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(1_500),
        ..settings()
    };
    let address = start(&settings).address;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let mut client = connect(address).await;
        for _ in 0..2 {
            client.send(request.as_bytes()).await;
            assert!(client.head().await.contains("200"));
            client.exactly(request.split(' ').next().unwrap().len() + 2).await;
            // A stray line end is no request.
            client.send(b"\r\n").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(client.rest().await, "", "closed in the end, without a word");
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_also_on_a_connection_that_was_served() {
    let settings = HttpSettings {
        header_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_secs(3_600),
        ..settings()
    };
    let address = start(&settings).address;
    for before in ["", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut client = connect(address).await;
        if !before.is_empty() {
            client.send(before.as_bytes()).await;
            assert!(client.head().await.contains("200"));
            client.exactly(5).await;
        }
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
        assert_eq!(client.rest().await, "", "after {before:?}");
    }
    // Nor is a connection held that never asks.
    assert_eq!(connect(address).await.rest().await, "");
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let address = start(&settings()).address;
    for (hosts, status) in [
        ("", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host: a b\r\n", "400"),
        ("Host: chat.example:8081\r\n", "200"),
    ] {
        let answer = ask(
            address,
            &format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"),
        )
        .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{hosts}: {answer}"
        );
    }
    let old = ask(address, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
}
