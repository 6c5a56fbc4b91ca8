//! The one HTTP request that a client needs: a bearer's POST without a body.

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use crate::{ClientError, transport};

/// Posts and expects a success; the answer's body is not read. The caller sets the deadline.
pub(crate) async fn post(base: &Uri, path: &str, bearer: &str) -> Result<(), ClientError> {
    let authority = base.authority().ok_or(ClientError::Url("no host"))?.as_str();
    let mut token =
        HeaderValue::from_str(&format!("Bearer {bearer}")).map_err(|_| ClientError::Header("the token"))?;
    token.set_sensitive(true);
    let request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close")
        .header(header::AUTHORIZATION, token)
        .body(Empty::<Bytes>::new())
        .map_err(|_| ClientError::Url("not usable in a request"))?;
    let stream = transport::connect(base, None).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move { sender.send_request(request).await };
    let (response, _) = tokio::join!(exchange, connection);
    let response = response?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(transport::refused(response.status(), response.headers()))
}
