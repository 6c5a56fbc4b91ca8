//! Clients over TLS: WebSocket and HTTP, from the real gateway to a client of the tests and to loadgen.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use gateway_tests::http::{Answer, bearer};
use gateway_tests::stack::{SERVICE_KEY, program};
use gateway_tests::tls::{Authority, client_config, connect};
use gateway_tests::{Stack, WsClient};
use http::Method;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const NAME: &str = "localhost";

struct Ground {
    stack: Stack,
    config: Arc<ClientConfig>,
    ca: PathBuf,
    files: tempfile::TempDir,
}

fn write(folder: &Path, authority: &Authority) {
    authority.certify(&[NAME]).write(folder, "server");
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
}

impl Ground {
    async fn start() -> Self {
        let authority = Authority::new();
        let files = tempfile::tempdir().unwrap();
        write(files.path(), &authority);
        let mut stack = Stack::builder()
            .config(json!({
                "server": {"ssl_enabled": true, "ssl_cert_path": files.path().join("server.pem"),
                    "ssl_key_path": files.path().join("server.key"), "metrics_address": "127.0.0.1:0"},
                "auth": {"key_check_seconds": 1},
                "limits": {"handshake_timeout_ms": 1000},
            }))
            .start_unready()
            .await;
        // The probes have a plain address of their own.
        let operations = stack.gateway.line("metrics listening on ").await.parse().unwrap();
        gateway_tests::cluster::until("ready", async || {
            let probe = gateway_tests::http::Http::new(operations)
                .try_get("/readyz")
                .await;
            probe.is_some_and(|answer| answer.status == 200)
        })
        .await;
        Self {
            stack,
            config: client_config(&authority.pem(), None),
            ca: files.path().join("ca.pem"),
            files,
        }
    }

    async fn open(&self, query: &str) -> WsClient {
        let stream = connect(self.stack.websocket, NAME, &self.config).await.unwrap();
        let path = format!("/ws?{query}");
        WsClient::connect_over(stream, NAME, &path, &[]).await.unwrap().0
    }

    async fn login(&self, user: &str) -> WsClient {
        let mut client = self.open("ack=1").await;
        client.notice("welcome").await;
        let reply = client.login(user, "phone", "ios").await;
        assert_eq!(reply["code"], 200, "{reply}");
        client
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let stream = connect(self.stack.http, NAME, &self.config).await.unwrap();
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        self.stack
            .http()
            .send_over(stream, method, path, headers, body)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_goes_over_a_plain_socket_goes_over_tls() {
    let ground = Ground::start().await;
    let mut alice = ground.login("alice").await;
    let mut bob = ground.login("bob").await;
    let sent = alice
        .command(2001, &json!({"to_user": "bob", "content": "hello"}))
        .await;
    assert_eq!(sent["code"], 200, "{sent}");
    let push = bob.push_and_ack().await;
    assert!(push["data"].to_string().contains("hello"), "{push}");

    // Far more than the socket takes at once, to a client that reads late: in order, and all of it.
    let content = "x".repeat(200_000);
    for index in 0..4 {
        let body = json!({"user_id": "bob", "push_id": format!("p{index}"), "content": content});
        let answer = ground
            .send(Method::POST, "/api/push", &[("x-api-key", SERVICE_KEY)], body)
            .await;
        assert_eq!(answer.body["outcomes"][0]["outcome"], "queued", "{}", answer.body);
    }
    for index in 0..4 {
        let push = bob.push_and_ack().await;
        assert_eq!(push["data"]["push_id"], format!("p{index}"));
        assert_eq!(push["data"]["content"].as_str().unwrap().len(), content.len());
    }

    // Many in flight, one large: nothing is held back.
    let mut awaited = Vec::new();
    for _ in 0..100 {
        awaited.push(alice.send_command(1, &json!({})).await);
    }
    let large = alice
        .command(2001, &json!({"to_user": "carol", "content": "y".repeat(60_000)}))
        .await;
    assert_eq!(large["code"], 200, "{}", large["message"]);
    for seq in awaited {
        assert_eq!(alice.reply(seq).await["code"], 200);
    }

    // A close arrives with its code and its reason.
    let token = bearer(&bob.token);
    let out = ground
        .send(
            Method::POST,
            "/api/auth/logout",
            &[("authorization", &token)],
            json!({}),
        )
        .await;
    assert_eq!(out.status, 200, "{}", out.body);
    assert_eq!(bob.closed().await.0, 4412);
    let (code, _) = {
        alice.send_text(&"z".repeat(1_100_000)).await;
        alice.closed().await
    };
    assert_eq!(code, 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_or_is_slow_about_it_is_hung_up_on_and_certificates_are_replaced() {
    let ground = Ground::start().await;
    for address in [ground.stack.websocket, ground.stack.http] {
        let plain = gateway_tests::http::Http::new(address).try_get("/livez").await;
        assert!(plain.is_none(), "{plain:?}");
    }
    // One that says nothing has the time of a handshake.
    let mut silent = TcpStream::connect(ground.stack.websocket).await.unwrap();
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);

    let mut before = ground.login("alice").await;
    let next = Authority::new();
    write(ground.files.path(), &next);
    let trusts_next = client_config(&next.pem(), None);
    gateway_tests::cluster::until("the new certificate is shown", async || {
        connect(ground.stack.websocket, NAME, &trusts_next).await.is_ok()
    })
    .await;
    connect(ground.stack.http, NAME, &trusts_next).await.unwrap();
    assert!(before.is_alive().await, "connections that stand are not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn loadgen_speaks_tls_to_the_gateway() {
    let ground = Ground::start().await;
    let url = format!("wss://{NAME}:{}/ws", ground.stack.websocket.port());
    let report = ground.files.path().join("report.json");
    let output = tokio::process::Command::new(program("loadgen"))
        .args([
            "echo",
            "--anonymous",
            "--depth",
            "4",
            "-n",
            "30",
            "--warm-up",
            "100ms",
            "--duration",
            "700ms",
        ])
        .args(["--url", &url])
        .arg("--ca")
        .arg(&ground.ca)
        .arg("--json")
        .arg(&report)
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{words}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    for part in ["/connections/refused", "/connections/ended", "/messages/failed"] {
        let troubles = report.pointer(part).and_then(Value::as_object);
        assert!(troubles.is_none_or(serde_json::Map::is_empty), "{part}: {report}");
    }
    assert_eq!(report["connections"]["held"], 30, "{report}");
    assert!(
        report["messages"]["answered"]
            .as_f64()
            .is_some_and(|count| count > 100.0),
        "{report}"
    );
}
