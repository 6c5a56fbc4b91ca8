//! Where Redis is and how it is spoken to: one server, Sentinel or Cluster.

use std::path::PathBuf;
use std::time::Duration;

use crate::redis_address::RedisUrl;
use crate::secret::Secret;
use crate::section::section;

section! {
    /// Redis: one server, or through Sentinel, or a Cluster.
    pub struct Redis {
        /// `redis://user:password@host:6379/0`, or `rediss://` for TLS, in place of `host`, `port`, `username`, `password`,
        /// `db` and `tls`; percent-encode special characters. `REDIS_URL` sets it too. It is shown as those keys.
        "url" => url: Option<RedisUrl> = None;
        /// Host name or address of a single server. `REDIS_HOST` sets it too.
        "host" => host: String = "127.0.0.1".to_owned();
        /// Port. `REDIS_PORT` sets it too.
        "port" => port: u16 = 6379, 1..=65_535;
        /// ACL user; left out, the default one.
        "username" => username: Option<String> = None;
        /// Password; empty is none. `REDIS_PASSWORD` sets it too.
        "password" => password: Option<Secret> = None;
        /// Number of the database; a Cluster has only 0.
        "db" => db: u32 = 0, 0..=65_535;
        /// Most connections at once.
        "pool_size" => pool_size: u32 = 10, 1..=1_024;
        /// Another name of `pool_size`; it counts where both are given.
        "max_connections" => max_connections: Option<u32> = None, 1..=1_024;
        /// Connections kept open and shared by all commands, at most `pool_size`.
        "min_connections" => min_connections: u32 = 4, 1..=1_024;
        /// Every connection is sent a `PING` this often, so that neither the server (`timeout` in redis.conf) nor a proxy
        /// closes it as idle, and so that one that broke is replaced before it is needed.
        "idle_timeout_ms" => idle_timeout: Duration = Duration::from_secs(1), 100..=3_600_000;
        /// Time to make a connection.
        "connect_timeout_ms" => connect_timeout: Duration = Duration::from_secs(5), 10..=120_000;
        /// Time to answer a command. A command that meets a broken connection is sent again on another one within it.
        "response_timeout_ms" => response_timeout: Duration = Duration::from_secs(2), 10..=120_000;
        /// TLS to every server.
        "tls" => tls: bool = false;
        /// Certificates that sign those of the servers, PEM; left out, those that the system trusts.
        "tls_ca_file" => tls_ca_file: Option<PathBuf> = None;
        /// Sentinels (`host:port`) that know where the master is; `host` and `port` are not used then.
        "sentinel_nodes" => sentinel_nodes: Vec<String> = Vec::new();
        /// What the sentinels call the master.
        "sentinel_master" => sentinel_master: String = "mymaster".to_owned();
        /// Password of the sentinels themselves.
        "sentinel_password" => sentinel_password: Option<Secret> = None;
        /// Some nodes (`host:port`) of a Redis Cluster; `host`, `port` and `db` are not used then.
        "cluster_nodes" => cluster_nodes: Vec<String> = Vec::new();
        /// Put before every key and channel.
        "key_prefix" => key_prefix: String = "mychat:".to_owned();
    }
}
