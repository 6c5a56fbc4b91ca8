//! The rules of tokens, held to both stores by the same tests; and what only the one in Redis could do wrong.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod histories;
mod redis;
mod rules;

use std::time::Duration;

use gateway_auth::store::{FamilyId, NewFamily, NewRefresh, RefreshHash, Rotated, Rotation, TokenRef};
use gateway_auth::{
    AuthError, Clock as _, EmbeddedTokenStore, RedisTokenStore, Subject, SystemClock, TokenStore,
};
use gateway_codec::{DeviceId, Platform, Timestamp, UserId};
use gateway_redis::Redis;
use gateway_redis::testing::RedisServer;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Redis lets keys expire by its own clock, so that tests cannot start in 1970.
fn start() -> Timestamp {
    SystemClock.now()
}

fn embedded() -> EmbeddedTokenStore {
    EmbeddedTokenStore::new(None, start()).unwrap()
}

async fn connected(server: &RedisServer) -> Redis {
    connected_to(server.port()).await
}

async fn connected_to(port: u16) -> Redis {
    let settings = gateway_config::Redis {
        port,
        response_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_secs(1),
        ..gateway_config::Redis::default()
    };
    let redis = Redis::new(&settings, Handle::current()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while redis.ping().await.is_err() {
        assert!(Instant::now() < end, "not connected in time");
        sleep(Duration::from_millis(20)).await;
    }
    redis
}

/// One user of a store, whose tokens are named by numbers.
struct Player<'a> {
    store: &'a dyn TokenStore,
    user: UserId,
    start: Timestamp,
    life: Duration,
}

impl<'a> Player<'a> {
    fn new(store: &'a dyn TokenStore, user: &str) -> Self {
        Self {
            store,
            user: UserId::parse(user).unwrap(),
            start: start(),
            life: Duration::from_secs(3_600),
        }
    }

    fn after(&self, seconds: u64) -> Timestamp {
        self.start.plus(Duration::from_secs(seconds))
    }

    fn hash(&self, token: u32) -> RefreshHash {
        Sha256::digest(format!("{}/{token}", self.user)).into()
    }

    /// No two users have a family in common.
    fn family(&self, number: u8) -> FamilyId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.hash(u32::MAX)[..16]);
        FamilyId::from_bits(u128::from_be_bytes(id) ^ u128::from(number))
    }

    fn token(&self, family: u8, jti: &str) -> TokenRef {
        TokenRef {
            jti: format!("{}/{jti}", self.user).into(),
            family: Some(self.family(family)),
        }
    }

    fn subject(&self) -> Subject {
        Subject {
            user_id: self.user.clone(),
            username: "Zoë \"/\\\u{1}".to_owned(),
            device_id: DeviceId::parse("phone").unwrap(),
            platform: Platform::parse("ios").unwrap(),
            roles: vec![],
        }
    }

    fn refresh(&self, token: u32, now: Timestamp) -> NewRefresh {
        NewRefresh {
            hash: self.hash(token),
            expires_at: now.plus(self.life),
            access_until: now.plus_millis(60_000),
        }
    }

    async fn login(&self, family: u8, token: u32, subject: Subject, now: Timestamp) {
        let family = NewFamily {
            id: self.family(family),
            subject,
            refresh: self.refresh(token, now),
        };
        self.store.open(family, now).await.unwrap();
    }

    /// Spends token `from` for token `to`.
    async fn rotate(
        &self,
        from: u32,
        to: u32,
        device: Option<&str>,
        now: Timestamp,
    ) -> Result<Rotated, AuthError> {
        let rotation = Rotation {
            presented: self.hash(from),
            device_id: device.map(str::to_owned),
            successor: self.refresh(to, now),
        };
        self.store.rotate(rotation, now).await
    }

    /// As `rotate`, some seconds after the start.
    async fn spend(&self, from: u32, to: u32, device: Option<&str>, seconds: u64) -> Result<(), AuthError> {
        self.rotate(from, to, device, self.after(seconds)).await.map(drop)
    }

    fn reused(&self) -> Result<(), AuthError> {
        let subject = self.subject();
        Err(AuthError::RefreshReused {
            user_id: subject.user_id,
            device_id: subject.device_id,
            platform: subject.platform,
        })
    }

    async fn is_revoked(&self, token: &TokenRef, seconds: u64) -> bool {
        self.store.is_revoked(token, self.after(seconds)).await.unwrap()
    }
}

#[tokio::test]
async fn the_embedded_store_keeps_the_rules() {
    rules::all(&embedded()).await;
}

#[tokio::test]
async fn the_store_in_redis_keeps_the_rules() {
    let server = RedisServer::start();
    let store = RedisTokenStore::new(connected(&server).await, |_, _| ());
    rules::all(&store).await;
}

#[tokio::test]
async fn the_store_in_redis_keeps_the_rules_on_a_cluster() {
    let cluster = gateway_redis::testing::ClusterSet::start();
    let settings = gateway_config::Redis {
        cluster_nodes: cluster.addresses(),
        ..gateway_config::Redis::default()
    };
    let redis = Redis::new(&settings, Handle::current()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while redis.ping().await.is_err() {
        assert!(Instant::now() < end, "not connected in time");
        sleep(Duration::from_millis(20)).await;
    }
    rules::all(&RedisTokenStore::new(redis, |_, _| ())).await;
}
