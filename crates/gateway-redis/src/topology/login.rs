//! Addresses, users, passwords and certificates, as the library wants them. Nothing of it is ever shown.

use std::io;
use std::path::Path;
use std::time::Duration;

use deadpool_redis::redis::io::tcp::TcpSettings;
use deadpool_redis::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, TlsCertificates,
};
use gateway_config::{Secret, redis_host, redis_node};
use rustls::crypto::CryptoProvider;

use crate::SetupError;

/// How to log in to any server.
pub(super) struct Login {
    user: Option<String>,
    password: Option<Secret>,
    sentinel_password: Option<Secret>,
    db: i64,
    /// With TLS; of the system's where no file is named.
    certificates: Option<TlsCertificates>,
    /// How long the peer's TCP may leave data unacknowledged (RFC 5482). A server that is merely slow acknowledges; one that
    /// is unreachable does not, and a command has the rest of its time for another connection.
    unacknowledged: Duration,
}

impl Login {
    pub(super) fn new(settings: &gateway_config::Redis) -> Result<Self, SetupError> {
        let given = |secret: &Option<Secret>| {
            let secret = secret.clone();
            secret.filter(|secret| !secret.expose().is_empty())
        };
        Ok(Self {
            user: settings.username.clone().filter(|user| !user.is_empty()),
            password: given(&settings.password),
            sentinel_password: given(&settings.sentinel_password),
            db: settings.db.into(),
            certificates: certificates(settings)?,
            unacknowledged: settings.response_timeout / 2,
        })
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose)
    }

    pub(super) fn certificates(&self) -> Option<&TlsCertificates> {
        self.certificates.as_ref()
    }

    /// A server by the host and port of the settings, or as the sentinels name it.
    pub(super) fn server(&self, host: &str, port: u16) -> Result<ConnectionInfo, SetupError> {
        let host = redis_host(host.trim()).ok_or_else(|| SetupError::Address("redis.host".to_owned()))?;
        self.info(host, port, self.as_user(self.db))
    }

    /// Nodes of a Cluster, which has database 0 alone.
    pub(super) fn nodes(&self, setting: &str, nodes: &[String]) -> Result<Vec<ConnectionInfo>, SetupError> {
        self.each(setting, nodes, &self.as_user(0))
    }

    /// Sentinels, which have a password of their own and no databases.
    pub(super) fn sentinels(
        &self,
        setting: &str,
        nodes: &[String],
    ) -> Result<Vec<ConnectionInfo>, SetupError> {
        let mut login = RedisConnectionInfo::default();
        if let Some(password) = &self.sentinel_password {
            login = login.set_password(password.expose());
        }
        self.each(setting, nodes, &login)
    }

    fn as_user(&self, db: i64) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default().set_db(db);
        if let Some(user) = self.user() {
            login = login.set_username(user);
        }
        if let Some(password) = self.password() {
            login = login.set_password(password);
        }
        login
    }

    fn each(
        &self,
        setting: &str,
        nodes: &[String],
        login: &RedisConnectionInfo,
    ) -> Result<Vec<ConnectionInfo>, SetupError> {
        let read = |(place, node): (usize, &String)| {
            let (host, port) =
                redis_node(node.trim()).ok_or_else(|| SetupError::Address(format!("{setting}[{place}]")))?;
            self.info(host, port, login.clone())
        };
        nodes.iter().enumerate().map(read).collect()
    }

    fn info(&self, host: &str, port: u16, login: RedisConnectionInfo) -> Result<ConnectionInfo, SetupError> {
        let host = host.to_owned();
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(self.unacknowledged);
        let Some(certificates) = &self.certificates else {
            let address = ConnectionAddr::Tcp(host, port);
            let info = address.into_connection_info()?;
            return Ok(info.set_redis_settings(login).set_tcp_settings(tcp));
        };
        let address = ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(login)
            .set_tcp_settings(tcp);
        let client = Client::build_with_tls(info, certificates.clone())?;
        Ok(client.get_connection_info().clone())
    }
}

fn certificates(settings: &gateway_config::Redis) -> Result<Option<TlsCertificates>, SetupError> {
    if !settings.tls {
        return Ok(None);
    }
    // The library takes the one of the process and panics where there is none. That another task was quicker is fine.
    if CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let read = |path: &Path| {
        let refused = |source| SetupError::Certificates {
            path: path.to_owned(),
            source,
        };
        let pem = std::fs::read(path).map_err(refused)?;
        // The library takes a file without any as "trust nobody", which no one would find.
        let some = String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----");
        if some {
            Ok(pem)
        } else {
            Err(refused(io::Error::new(
                io::ErrorKind::InvalidData,
                "no certificate in it",
            )))
        }
    };
    Ok(Some(TlsCertificates {
        client_tls: None,
        root_cert: settings.tls_ca_file.as_deref().map(read).transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_without_being_shown() {
        let settings = gateway_config::Redis {
            cluster_nodes: vec!["a:1".to_owned(), "redis://user:hidden@b".to_owned()],
            ..gateway_config::Redis::default()
        };
        let error = crate::topology::Topology::new(&settings).err().unwrap();
        assert!(matches!(&error, SetupError::Address(setting) if setting == "redis.cluster_nodes[1]"));
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut settings = gateway_config::Redis {
            tls: true,
            tls_ca_file: Some(file.path().to_owned()),
            ..gateway_config::Redis::default()
        };
        assert!(matches!(
            Login::new(&settings),
            Err(SetupError::Certificates { .. })
        ));
        settings.tls_ca_file = Some("/there/is/none.pem".into());
        assert!(matches!(
            Login::new(&settings),
            Err(SetupError::Certificates { .. })
        ));
    }
}
