//! A refusal without an HTTP machine: for when there is no room for one.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the client may take to hear it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bytes of a 503 that ends its connection.
pub(crate) fn unavailable(retry_after: Duration) -> String {
    let body = r#"{"code":503,"message":"Service Unavailable"}"#;
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

/// Says so and hangs up. The request is read away first, since closing over unread input would reset
/// the connection and lose the answer.
pub(crate) async fn refuse(mut stream: TcpStream, answer: String) {
    let told = tokio::time::timeout(PATIENCE, async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    });
    // Whether the client has listened changes nothing.
    let _ = told.await;
}

/// A short JSON body `{"code","message"}`.
pub(crate) fn json_body(code: u16, message: &str) -> String {
    let mut body = format!(r#"{{"code":{code},"message":""#);
    for character in message.chars() {
        match character {
            '"' | '\\' => {
                body.push('\\');
                body.push(character);
            }
            control if control.is_control() => body.push(' '),
            plain => body.push(plain),
        }
    }
    body.push_str("\"}");
    body
}
