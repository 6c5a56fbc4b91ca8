//! Asks the sentinels where the master is.
//!
//! All of them at once, for one that hangs must not hold up the others; and what most of them say counts, for one that was
//! cut off still names the old master. The library's own client asks one after the other.

use std::time::Duration;

use deadpool_redis::redis::{self, AsyncConnectionConfig, Client, ConnectionInfo};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::login::Login;
use crate::RedisError;

type Address = (String, u16);

/// The sentinels of one master.
pub(super) struct Sentinels {
    nodes: Vec<ConnectionInfo>,
    master: String,
    login: Login,
    config: AsyncConnectionConfig,
    /// For one answer; half of what connecting may take, so that the rest is left for the master.
    patience: Duration,
}

impl Sentinels {
    pub(super) fn new(
        settings: &gateway_config::Redis,
        nodes: Vec<ConnectionInfo>,
        login: Login,
        config: AsyncConnectionConfig,
    ) -> Self {
        Self {
            nodes,
            master: settings.sentinel_master.clone(),
            login,
            config,
            patience: settings.connect_timeout / 2,
        }
    }

    /// Where most sentinels say that the master is. It may say otherwise itself.
    pub(super) async fn master(&self) -> Result<Client, RedisError> {
        let mut answers: FuturesUnordered<_> = self.nodes.iter().map(|node| self.ask(node)).collect();
        let mut votes = Votes::default();
        let mut failed = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(address) => {
                    if votes.cast(address) * 2 > self.nodes.len() {
                        break;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let Some((host, port)) = votes.most() else {
            let why = failed.map_or_else(|| "none was asked".to_owned(), |error| error.to_string());
            return Err(RedisError::Unavailable(format!(
                "no sentinel knows the master: {why}"
            )));
        };
        let info = self
            .login
            .server(&host, port)
            .map_err(|error| RedisError::Unavailable(error.to_string()))?;
        Ok(Client::open(info)?)
    }

    async fn ask(&self, node: &ConnectionInfo) -> Result<Address, RedisError> {
        let asking = async {
            let mut sentinel = Client::open(node.clone())?
                .get_multiplexed_async_connection_with_config(&self.config)
                .await?;
            let answer: Option<Address> = redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(&self.master)
                .query_async(&mut sentinel)
                .await?;
            answer.ok_or_else(|| RedisError::Unavailable("a sentinel does not know the name".to_owned()))
        };
        timeout(self.patience, asking)
            .await
            .unwrap_or(Err(RedisError::TimedOut))
    }
}

#[derive(Default)]
struct Votes(Vec<(Address, usize)>);

impl Votes {
    /// Counts a vote; how many this address has by now.
    fn cast(&mut self, address: Address) -> usize {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == address) {
            *count += 1;
            return *count;
        }
        self.0.push((address, 1));
        1
    }

    fn most(self) -> Option<Address> {
        let most = self.0.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(address, _)| address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_sentinels_say_counts() {
        let mut votes = Votes::default();
        votes.cast(("new".to_owned(), 2));
        votes.cast(("old".to_owned(), 1));
        assert_eq!(votes.cast(("new".to_owned(), 2)), 2);
        assert_eq!(votes.most(), Some(("new".to_owned(), 2)));
        assert_eq!(Votes::default().most(), None);
    }
}
