//! Where to connect to, and how: one server, a master that sentinels know, or the nodes of a Cluster. Makes connections
//! and asks whether they still stand; keeps none.

mod login;
mod sentinel;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_redis::redis::aio::{MultiplexedConnection, PubSub};
use deadpool_redis::redis::cluster::{ClusterClient, ClusterClientBuilder};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use deadpool_redis::redis::{self, AsyncConnectionConfig, Client, ConnectionInfo, Pipeline, TlsMode, Value};
use deadpool_redis::{Manager, Pool, PoolError, Runtime};

use self::login::Login;
use self::sentinel::Sentinels;
use crate::{RedisError, SetupError};

/// A connection that many commands share.
#[derive(Clone)]
pub(crate) enum Shared {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Shared {
    /// Whether it leads to several nodes, each over a connection that comes back by itself.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

enum Kind {
    /// Through deadpool's pool, whose connections are taken out for good.
    Server { pool: Pool, client: Client },
    /// deadpool's manager for it takes neither time-outs nor certificates.
    Sentinel(Sentinels),
    /// Likewise.
    Cluster {
        client: Box<ClusterClient>,
        nodes: Vec<Client>,
        next: AtomicUsize,
    },
}

/// What is connected to.
pub(crate) struct Topology {
    kind: Kind,
    description: String,
    config: AsyncConnectionConfig,
    connect: Duration,
}

impl Topology {
    pub(crate) fn new(settings: &gateway_config::Redis) -> Result<Self, SetupError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let login = Login::new(settings)?;
        let (kind, description) = if !settings.cluster_nodes.is_empty() {
            let nodes = login.nodes("redis.cluster_nodes", &settings.cluster_nodes)?;
            (
                cluster(settings, &login, nodes)?,
                settings.cluster_nodes.join(","),
            )
        } else if !settings.sentinel_nodes.is_empty() {
            let nodes = login.sentinels("redis.sentinel_nodes", &settings.sentinel_nodes)?;
            let description = format!(
                "{} of the sentinels {}",
                settings.sentinel_master,
                settings.sentinel_nodes.join(",")
            );
            let sentinels = Sentinels::new(settings, nodes, login, config.clone());
            (Kind::Sentinel(sentinels), description)
        } else {
            let info = login.server(&settings.host, settings.port)?;
            let description = info.addr().to_string();
            (server(settings, info, &config)?, description)
        };
        Ok(Self {
            kind,
            description,
            config,
            connect: settings.connect_timeout,
        })
    }

    /// Its addresses, for the log.
    pub(crate) fn describe(&self) -> String {
        self.description.clone()
    }

    /// A new connection for commands, to a server that serves.
    pub(crate) async fn connect(&self) -> Result<Shared, ConnectError> {
        let connecting = async {
            let connection = match &self.kind {
                Kind::Server { pool, .. } => {
                    let connection = pool.get().await.map_err(from_pool)?;
                    Shared::Server(deadpool_redis::Connection::take(connection))
                }
                Kind::Sentinel(sentinels) => {
                    let master = sentinels.master().await?;
                    let connection = master
                        .get_multiplexed_async_connection_with_config(&self.config)
                        .await?;
                    Shared::Server(connection)
                }
                Kind::Cluster { client, .. } => Shared::Cluster(client.get_async_connection().await?),
            };
            self.look(&connection).await?;
            Ok(connection)
        };
        tokio::time::timeout(self.connect, connecting)
            .await
            .unwrap_or(Err(ConnectError::Failed(RedisError::TimedOut)))
    }

    /// A new connection that hears these channels.
    pub(crate) async fn pubsub(&self, channels: &[String]) -> Result<PubSub, RedisError> {
        let connecting = async {
            let mut pubsub = match &self.kind {
                Kind::Server { client, .. } => client.get_async_pubsub().await?,
                Kind::Sentinel(sentinels) => sentinels.master().await?.get_async_pubsub().await?,
                // Any node will do: what is published goes to all of them. Each try takes the next.
                Kind::Cluster { nodes, next, .. } => {
                    let place = next.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
                    nodes[place].get_async_pubsub().await?
                }
            };
            if !channels.is_empty() {
                pubsub.subscribe(channels).await?;
            }
            Ok(pubsub)
        };
        tokio::time::timeout(self.connect, connecting)
            .await
            .unwrap_or(Err(RedisError::TimedOut))
    }

    /// Whether the server answers; of a Cluster, whether some master does. All of them are asked, which keeps the
    /// connections to them from being closed as idle, and has those that were closed made anew.
    pub(crate) async fn ping(&self, connection: &Shared) -> Result<(), redis::RedisError> {
        let ping = redis::cmd("PING");
        match connection.clone() {
            Shared::Server(mut server) => ping.query_async::<Value>(&mut server).await.map(drop),
            Shared::Cluster(mut cluster) => {
                let all = RoutingInfo::MultiNode((
                    MultipleNodeRoutingInfo::AllMasters,
                    Some(ResponsePolicy::OneSucceeded),
                ));
                let pong = cluster.route_command(ping, all).await;
                pong.and_then(Value::extract_error).map(drop)
            }
        }
    }

    /// Whether a connection is of use: the server answers, serves, and takes writes.
    pub(crate) async fn look(&self, connection: &Shared) -> Result<(), ConnectError> {
        let Shared::Server(server) = connection else {
            return Ok(self.ping(connection).await?);
        };
        let mut asked = Pipeline::with_capacity(2);
        asked.cmd("PING").cmd("ROLE").ignore_errors();
        let (pong, role): (redis::RedisResult<Value>, redis::RedisResult<Value>) =
            asked.query_async(&mut server.clone()).await?;
        pong?;
        // After a failover the old master answers as a replica. A user who may not ask is taken at the server's word.
        match role {
            Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"slave".to_vec())) => {
                Err(RedisError::Unavailable("the server is a replica".to_owned()).into())
            }
            _ => Ok(()),
        }
    }
}

fn from_pool(error: PoolError) -> ConnectError {
    match error {
        PoolError::Backend(error) => error.into(),
        PoolError::Timeout(_) => RedisError::TimedOut.into(),
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            RedisError::Unavailable("the pool makes no connection".to_owned()).into()
        }
    }
}

/// Why a connection is of no use.
pub(crate) enum ConnectError {
    /// A server took it, and closed it.
    Dropped(RedisError),
    /// Nobody is there, or a server that does not serve.
    Failed(RedisError),
}

impl From<redis::RedisError> for ConnectError {
    fn from(error: redis::RedisError) -> Self {
        if error.is_connection_dropped() && !error.is_connection_refusal() {
            Self::Dropped(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Failed(error)
    }
}

impl From<ConnectError> for RedisError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Dropped(error) | ConnectError::Failed(error) => error,
        }
    }
}

fn server(
    settings: &gateway_config::Redis,
    info: ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> Result<Kind, SetupError> {
    let client = Client::open(info.clone())?;
    let manager = Manager::new_with_config(info, config.clone())?;
    let most = settings.max_connections.unwrap_or(settings.pool_size);
    let timeout = Some(settings.connect_timeout);
    let pool = Pool::builder(manager)
        .max_size(most as usize)
        .wait_timeout(timeout)
        .create_timeout(timeout)
        .recycle_timeout(timeout)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| SetupError::Settings(error.to_string()))?;
    Ok(Kind::Server { pool, client })
}

fn cluster(
    settings: &gateway_config::Redis,
    login: &Login,
    nodes: Vec<ConnectionInfo>,
) -> Result<Kind, SetupError> {
    let mut builder = ClusterClientBuilder::new(nodes.clone())
        // All nodes are waited for, so one that hangs must not use up the time that all have.
        .connection_timeout(settings.connect_timeout / 3)
        .response_timeout(settings.response_timeout)
        .overall_response_timeout(Some(settings.response_timeout))
        // The library would repeat commands whose reply was lost. Redirections are followed by `exchange`.
        .retries(0);
    if let Some(user) = login.user() {
        builder = builder.username(user);
    }
    if let Some(password) = login.password() {
        builder = builder.password(password);
    }
    if let Some(certificates) = login.certificates() {
        builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
    }
    let clients = nodes.into_iter().map(Client::open);
    Ok(Kind::Cluster {
        client: Box::new(builder.build()?),
        nodes: clients.collect::<Result<_, _>>()?,
        next: AtomicUsize::new(0),
    })
}
