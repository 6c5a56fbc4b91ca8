//! A refusal without an HTTP machine: for when there is no room for one.

use std::io;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the client may take to hear it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bytes of a 503 that ends its connection.
pub(crate) fn unavailable(retry_after: Duration) -> String {
    let body = json_body(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many connections, come back later",
    );
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        whole_seconds(retry_after),
        body.len()
    )
}

/// For `Retry-After`: rounded up, at least 1.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_millis()
        .div_ceil(1000)
        .max(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

/// Says so and hangs up. The answer waits for the first bytes of the request, since a client may take what comes before
/// it has asked for a fault; the rest is read away, since closing over unread input would reset the connection and lose
/// the answer.
pub(crate) async fn refuse(mut stream: TcpStream, answer: String) {
    let told = tokio::time::timeout(PATIENCE, async {
        let mut sink = [0; 1024];
        if stream.read(&mut sink).await? == 0 {
            return Ok(());
        }
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    });
    // Whether the client has listened changes nothing.
    let _ = told.await;
}

/// An error's body as the HTTP API has them: `{"code","message","err_msg","request_id"}`.
pub(crate) fn json_body(status: StatusCode, told: &str) -> String {
    let (code, text) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    let request_id = request_id();
    tracing::debug!(%request_id, code, told, "a request was refused");
    let mut body = format!(r#"{{"code":{code},"message":"{text}","err_msg":""#);
    for character in told.chars() {
        match character {
            '"' | '\\' => {
                body.push('\\');
                body.push(character);
            }
            control if control.is_control() => body.push(' '),
            plain => body.push(plain),
        }
    }
    body.push_str(r#"","request_id":""#);
    body.push_str(&request_id);
    body.push_str("\"}");
    body
}

/// A random id to find the refusal in the log by; empty where the system gives no random bytes.
fn request_id() -> String {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => format!("{:032x}", u128::from_be_bytes(bytes)),
        Err(_) => String::new(),
    }
}
