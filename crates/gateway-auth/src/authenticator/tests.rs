mod confirmation;
mod counting;
mod keys;
mod revocation;

use gateway_codec::{Code, DeviceId, Platform, UserId};
use gateway_config::Secret;

use super::*;
use crate::clock::ManualClock;
use crate::random::SystemRandom;
use crate::store::MockTokenStore;

const SECRET: &str = "a secret for tests, of 32 bytes and more";

pub(super) fn config() -> Auth {
    Auth {
        jwt_secret: Some(Secret::new(SECRET)),
        ..Auth::default()
    }
}

pub(super) fn subject() -> Subject {
    Subject {
        user_id: UserId::parse("u1").unwrap(),
        username: "Alice".to_owned(),
        device_id: DeviceId::parse("phone").unwrap(),
        platform: Platform::parse("ios").unwrap(),
        roles: vec!["user".to_owned()],
    }
}

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)))
}

pub(super) fn set_up(config: &Auth) -> (Authenticator, Arc<ManualClock>) {
    let clock = clock();
    (
        Authenticator::new(config, clock.clone(), Arc::new(SystemRandom)).unwrap(),
        clock,
    )
}

#[tokio::test]
async fn a_login_gives_a_pair_that_proves_the_subject() {
    let (auth, _) = set_up(&config());
    let pair = auth.login(subject()).await.unwrap();
    assert_eq!(pair.expires_in, 86_400);
    assert_eq!(URL_SAFE_NO_PAD.decode(&pair.refresh_token).unwrap().len(), 32);
    let identity = auth.authenticate(&pair.access_token).await.unwrap();
    assert_eq!(identity, pair.identity);
    assert_eq!(identity.username(), "Alice");
    assert_eq!(auth.confirm(&identity).await, Ok(()));
    let claims = auth.inspect(&pair.access_token).unwrap();
    assert_eq!(claims["type"], "access");
    assert_eq!(claims["jti"], identity.token_id());
}

#[tokio::test]
async fn a_token_expires_in_the_cache_too_and_says_so() {
    let (auth, clock) = set_up(&config());
    let pair = auth.login(subject()).await.unwrap();
    auth.authenticate(&pair.access_token).await.unwrap();
    clock.advance(Duration::from_secs(86_404));
    auth.authenticate(&pair.access_token).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let error = auth.authenticate(&pair.access_token).await.unwrap_err();
    assert_eq!(error.to_string(), "access token expired");
    assert_eq!(error.code(), Code::Unauthorized);
    assert_eq!(auth.confirm(&pair.identity).await, Err(AuthError::Expired));
}

#[tokio::test]
async fn logging_out_ends_the_whole_login_at_once() {
    let (auth, _) = set_up(&config());
    let first = auth.login(subject()).await.unwrap();
    let second = auth.refresh(&first.refresh_token, Some("phone")).await.unwrap();
    let other = auth.login(subject()).await.unwrap();
    for pair in [&first, &second, &other] {
        auth.authenticate(&pair.access_token).await.unwrap();
    }
    auth.logout(&second.identity).await.unwrap();
    for pair in [&first, &second] {
        assert_eq!(
            auth.authenticate(&pair.access_token).await,
            Err(AuthError::Revoked)
        );
        assert_eq!(auth.confirm(&pair.identity).await, Err(AuthError::Revoked));
    }
    assert_eq!(
        auth.refresh(&second.refresh_token, None).await.unwrap_err(),
        AuthError::RefreshUnknown
    );
    auth.authenticate(&other.access_token).await.unwrap();
}

#[tokio::test]
async fn a_reused_refresh_token_ends_its_family_and_says_whose_it_was() {
    let (auth, clock) = set_up(&config());
    let first = auth.login(subject()).await.unwrap();
    let second = auth.refresh(&first.refresh_token, None).await.unwrap();
    auth.authenticate(&second.access_token).await.unwrap();
    clock.advance(Duration::from_secs(31));
    let Subject {
        user_id,
        device_id,
        platform,
        ..
    } = subject();
    assert_eq!(
        auth.refresh(&first.refresh_token, None).await.unwrap_err(),
        AuthError::RefreshReused {
            user_id,
            device_id,
            platform
        }
    );
    assert_eq!(
        auth.authenticate(&first.access_token).await,
        Err(AuthError::Revoked)
    );
    assert_eq!(
        auth.authenticate(&second.access_token).await,
        Err(AuthError::Revoked)
    );
    assert_eq!(
        auth.refresh(&second.refresh_token, None).await.unwrap_err(),
        AuthError::RefreshUnknown
    );
}

#[tokio::test]
async fn a_refresh_keeps_the_subject_and_refuses_another_device() {
    let (auth, _) = set_up(&config());
    let first = auth.login(subject()).await.unwrap();
    let wrong = auth
        .refresh(&first.refresh_token, Some("laptop"))
        .await
        .unwrap_err();
    assert_eq!(wrong, AuthError::WrongDevice);
    let second = auth.refresh(&first.refresh_token, Some("phone")).await.unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_ne!(first.identity.token_id(), second.identity.token_id());
    assert_eq!(second.identity.roles(), first.identity.roles());
    assert_eq!(
        auth.refresh("nonsense", None).await.unwrap_err(),
        AuthError::RefreshUnknown
    );
}

#[tokio::test]
async fn a_minted_token_can_be_revoked_without_a_family() {
    let (auth, _) = set_up(&config());
    let token = auth.mint(subject(), Duration::from_secs(60)).unwrap();
    assert!(auth.inspect(&token).unwrap().get("fid").is_none());
    let identity = auth.authenticate(&token).await.unwrap();
    auth.logout(&identity).await.unwrap();
    assert_eq!(auth.authenticate(&token).await, Err(AuthError::Revoked));
}

#[tokio::test]
async fn the_store_is_asked_once_in_thirty_seconds() {
    let mut store = MockTokenStore::new();
    store.expect_is_revoked().times(2).returning(|_, _| Ok(false));
    let clock = clock();
    let auth =
        Authenticator::with_store(&config(), Arc::new(store), clock.clone(), Arc::new(SystemRandom)).unwrap();
    let token = auth.mint(subject(), Duration::from_secs(600)).unwrap();
    for _ in 0..3 {
        auth.authenticate(&token).await.unwrap();
        clock.advance(Duration::from_secs(10)); // 0, 10, 20
    }
    auth.authenticate(&token).await.unwrap(); // 30
}

#[tokio::test]
async fn a_store_that_is_away_is_no_fault_of_the_token() {
    let mut store = MockTokenStore::new();
    store
        .expect_is_revoked()
        .returning(|_, _| Err(AuthError::StoreUnavailable));
    store
        .expect_open()
        .returning(|_, _| Err(AuthError::StoreUnavailable));
    let auth =
        Authenticator::with_store(&config(), Arc::new(store), clock(), Arc::new(SystemRandom)).unwrap();
    let token = auth.mint(subject(), Duration::from_secs(600)).unwrap();
    let error = auth.authenticate(&token).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::Unavailable, true));
    assert_eq!(
        auth.login(subject()).await.unwrap_err(),
        AuthError::StoreUnavailable
    );
}

#[tokio::test]
async fn debug_shows_neither_token_nor_key() {
    let (auth, _) = set_up(&config());
    let pair = auth.login(subject()).await.unwrap();
    let shown = format!("{pair:?}");
    assert!(!shown.contains(&pair.access_token) && !shown.contains(&pair.refresh_token));
    assert!(shown.contains("phone"));
}
