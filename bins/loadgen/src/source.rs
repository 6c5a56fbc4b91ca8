//! Where the pushes of a scenario come from: the gateway's gRPC service, or a baseline's bare loop.

use anyhow::{Context as _, Result, bail};
use gateway_codec::proto::gateway::gateway_client::GatewayClient;
use gateway_codec::proto::gateway::{BroadcastRequest, Push, PushOrder, PushRequest, PushType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::options;
use crate::orders::Target;

/// Longest answer of a baseline.
const ANSWER: usize = 1_024;

#[derive(Clone)]
pub(crate) enum Source {
    Gateway(GatewayClient<Channel>, Option<MetadataValue<Ascii>>),
    Baseline(Target),
}

impl Source {
    /// # Errors
    /// Where the key cannot be read or nobody listens there.
    pub(crate) async fn open(options: &options::Source, baseline: Option<Target>) -> Result<Self> {
        if let Some(target) = baseline {
            return Ok(Self::Baseline(target));
        }
        let channel = Channel::from_shared(options.grpc.clone())?
            .tcp_nodelay(true)
            .connect()
            .await
            .with_context(|| format!("connecting to {}", options.grpc))?;
        let key = match &options.service_key_file {
            None => None,
            Some(path) => {
                let key =
                    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
                Some(MetadataValue::try_from(key.trim()).context("the service key")?)
            }
        };
        Ok(Self::Gateway(GatewayClient::new(channel), key))
    }

    /// To one user.
    ///
    /// # Errors
    /// The gateway's.
    pub(crate) async fn push(&mut self, user: String, content: String) -> Result<()> {
        let order = PushOrder {
            push: Some(push(content)),
            user_ids: vec![user],
            device: None,
        };
        match self {
            Self::Gateway(client, key) => {
                let request = PushRequest {
                    order: Some(order),
                    wait_ms: 0,
                };
                client.push(keyed(request, key)).await?;
                Ok(())
            }
            Self::Baseline(_) => bail!("a baseline knows no users"),
        }
    }

    /// To everybody.
    ///
    /// # Errors
    /// The gateway's, or the baseline's socket's.
    pub(crate) async fn broadcast(&mut self, content: String) -> Result<()> {
        match self {
            Self::Gateway(client, key) => {
                let request = BroadcastRequest {
                    push: Some(push(content)),
                };
                client.broadcast(keyed(request, key)).await?;
                Ok(())
            }
            Self::Baseline(target) => {
                let body = format!(r#"{{"cmd_id":5001,"seq":0,"code":200,"data":"{content}"}}"#);
                let request = format!(
                    "POST /push HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
                    target.host,
                    body.len()
                );
                let mut stream = TcpStream::connect(target.address).await?;
                stream.write_all(request.as_bytes()).await?;
                let mut answer = [0; ANSWER];
                let read = stream.read(&mut answer).await?;
                if !answer[..read].starts_with(b"HTTP/1.1 200") {
                    bail!("the baseline refused the push");
                }
                Ok(())
            }
        }
    }
}

fn push(content: String) -> Push {
    Push {
        r#type: PushType::Message.into(),
        content,
        ..Push::default()
    }
}

fn keyed<T>(message: T, key: &Option<MetadataValue<Ascii>>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        request.metadata_mut().insert("x-api-key", key.clone());
    }
    request
}
