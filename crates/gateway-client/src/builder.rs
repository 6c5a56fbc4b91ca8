//! What a client is before it is connected, and how it comes to be bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_codec::Encoding;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tokio::time::timeout;

use crate::connection::{Bounds, Link};
use crate::event::EventQueue;
use crate::wire::Device;
use crate::{Client, ClientError, Tokens, resume, transport};

/// Describes a client; [`Builder::connect`] makes it. Cheap to clone, so that many can be made of one.
#[derive(Clone)]
pub struct Builder {
    url: String,
    http: Option<String>,
    credentials: Credentials,
    device: Device,
    encoding: Encoding,
    local: Option<SocketAddr>,
    connect_timeout: Duration,
    command_timeout: Duration,
    silence: Duration,
    max_message_bytes: usize,
    max_in_flight: usize,
    outgoing_queue: usize,
    event_queue: usize,
    last_push_id: String,
}

#[derive(Clone)]
pub(crate) enum Credentials {
    None,
    Token(String),
    Password {
        username: String,
        password: String,
    },
    /// What an earlier connection knew: the access token, and the refresh token where that has expired.
    Known(Tokens),
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            http: None,
            credentials: Credentials::None,
            device: Device::default(),
            encoding: Encoding::Json,
            local: None,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(90),
            max_message_bytes: 16 * 1024 * 1024,
            max_in_flight: 1_024,
            outgoing_queue: 256,
            event_queue: 1_024,
            last_push_id: String::new(),
        }
    }

    /// Binds by this access token at the handshake.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.credentials = Credentials::Token(token.to_owned());
        self
    }

    /// Logs in with a name and a password after the handshake.
    #[must_use]
    pub fn login(mut self, username: &str, password: &str) -> Self {
        self.credentials = Credentials::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        self
    }

    /// The device's own id and its platform (`android`, `ios`, `web`, `desktop`, `admin`).
    #[must_use]
    pub fn device(mut self, id: &str, platform: &str) -> Self {
        self.device = Device {
            id: id.to_owned(),
            platform: platform.to_owned(),
        };
        self
    }

    /// JSON text frames (the default) or protobuf envelopes. The sub-protocol says so to the gateway, and with it
    /// that this session acknowledges pushes.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Where the HTTP API is, `http://host:port`; only [`Client::logout`] needs it.
    #[must_use]
    pub fn http(mut self, url: &str) -> Self {
        self.http = Some(url.to_owned());
        self
    }

    /// The local address to connect from; one address has at most some 28,000 ports to one gateway.
    #[must_use]
    pub fn local_address(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Limit from the first packet to the welcome; binding has the command's. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Limit from a command's call to its reply. Default 10 s.
    #[must_use]
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit;
        self
    }

    /// After how long without a byte, pings included, the connection is given up. Default 90 s; the gateway pings
    /// every 25 s.
    #[must_use]
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = limit;
        self
    }

    /// Largest message that is taken, in bytes, all its fragments together. Default 16 MiB.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes.max(1);
        self
    }

    /// Most commands without a reply. Default 1,024.
    #[must_use]
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands.max(1);
        self
    }

    /// Most messages that wait to be written. Default 256.
    #[must_use]
    pub fn outgoing_queue(mut self, messages: usize) -> Self {
        self.outgoing_queue = messages.max(1);
        self
    }

    /// Most events that wait for the application; at the bound the newest is refused, not acknowledged and counted.
    /// Default 1,024.
    #[must_use]
    pub fn event_queue(mut self, events: usize) -> Self {
        self.event_queue = events.max(1);
        self
    }

    /// The push that was taken last in an earlier life of the application ([`Events::last_push_id`]): the gateway is
    /// asked for those after it, and this one does not come again. Goes with a token, at the handshake or in
    /// command 1002; a log-in by name has no place for it. An id of more than 256 bytes is ignored. What comes
    /// later in the life of a [`Persistent`](crate::Persistent) it knows by itself.
    ///
    /// [`Events::last_push_id`]: crate::Events::last_push_id
    #[must_use]
    pub fn last_push_id(mut self, push_id: &str) -> Self {
        self.last_push_id = push_id.to_owned();
        self
    }

    /// Connects, waits for the welcome, and binds where credentials were given.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Header`] before anything is sent; [`ClientError::Connect`],
    /// [`ClientError::Refused`], [`ClientError::Timeout`] on the way; [`ClientError::Closed`] (4401: the token at
    /// the handshake did not verify) or [`ClientError::Failed`] when binding.
    pub async fn connect(self) -> Result<Client, ClientError> {
        self.connect_into(&self.credentials, self.events_queue(), true)
            .await
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn events_queue(&self) -> Arc<EventQueue> {
        EventQueue::new(self.event_queue, &self.last_push_id)
    }

    /// One connection whose events go into that queue, which is finished with it where it is the `only` one. Where
    /// the queue knows of a push that was taken, the gateway is asked to go on after it.
    pub(crate) async fn connect_into(
        &self,
        credentials: &Credentials,
        events: Arc<EventQueue>,
        only: bool,
    ) -> Result<Client, ClientError> {
        let mut url = parse(&self.url, "ws", ClientError::Url("not ws://host[:port][/path]"))?;
        let last = events.last_push_id();
        let last = last.as_deref();
        if let (Credentials::Token(_), Some(id)) = (credentials, last) {
            url = resume::with_last_push_id(url, id)?;
        }
        let http = match &self.http {
            Some(url) => Some(parse(url, "http", ClientError::Url("not http://host[:port]"))?),
            None => None,
        };
        let headers = self.headers(credentials)?;
        let bounds = Bounds {
            in_flight: self.max_in_flight,
            outgoing: self.outgoing_queue,
            silence: self.silence,
            finishes_events: only,
        };
        let opened = async {
            let halves = transport::open(&url, headers, self.local, self.max_message_bytes).await?;
            let link = Link::start(
                halves,
                self.encoding,
                self.device.clone(),
                Arc::clone(&events),
                &bounds,
            );
            // Stops the task should the welcome not come in time.
            let guard = link.stop.clone().drop_guard();
            let welcome = link.welcome().await?;
            guard.disarm();
            Ok::<_, ClientError>((link, welcome))
        };
        let (link, welcome) = timeout(self.connect_timeout, opened)
            .await
            .map_err(|_| ClientError::Timeout)??;
        let session_id = welcome.data["session_id"].as_str().unwrap_or_default().to_owned();
        let client = Client::new(link, events, self.command_timeout, session_id, http);
        let authenticated = welcome.data["authenticated"].as_bool().unwrap_or_default();
        match credentials {
            Credentials::None => {}
            Credentials::Token(token) if authenticated => client.adopt(token, String::new()),
            Credentials::Token(token) => drop(client.authenticate_after(token, last).await?),
            Credentials::Password { username, password } => drop(client.login(username, password).await?),
            Credentials::Known(tokens) => come_back(&client, tokens, last).await?,
        }
        Ok(client)
    }

    fn headers(&self, credentials: &Credentials) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let protocol = match self.encoding {
            Encoding::Json => "mychat.v1.json",
            Encoding::Protobuf => "mychat.v1.protobuf",
        };
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        let named = [
            ("x-device-id", &self.device.id, "the device"),
            ("x-platform", &self.device.platform, "the platform"),
        ];
        for (name, value, what) in named {
            if !value.is_empty() {
                // As UTF-8: a device may have any name.
                let value =
                    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| ClientError::Header(what))?;
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if let Credentials::Token(token) = credentials {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| ClientError::Header("the token"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// Binds by the access token, by a new one where that has expired. Not at the handshake: an expired token there
/// would cost the connection.
async fn come_back(client: &Client, tokens: &Tokens, last: Option<&str>) -> Result<(), ClientError> {
    client.keep(tokens.clone());
    match client.authenticate_after(&tokens.access, last).await {
        Err(ClientError::Failed { code: 401, .. }) if tokens.refresh.is_some() => {
            let renewed = client.refresh().await?;
            client.authenticate_after(&renewed.access, last).await.map(drop)
        }
        other => other.map(drop),
    }
}

fn parse(url: &str, scheme: &str, otherwise: ClientError) -> Result<Uri, ClientError> {
    match url.parse::<Uri>() {
        Ok(url) if url.scheme_str() == Some(scheme) && url.host().is_some() => Ok(url),
        _ => Err(otherwise),
    }
}
