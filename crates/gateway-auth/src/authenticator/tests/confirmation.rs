use super::*;
use crate::random::SeededRandom;

#[tokio::test]
async fn many_are_confirmed_each_at_its_place() {
    let (auth, clock) = set_up(&config());
    let mut identities = Vec::new();
    for _ in 0..CONFIRMED_AT_ONCE + 44 {
        let token = auth.mint(subject(), Duration::from_secs(600)).unwrap();
        identities.push(auth.authenticate(&token).await.unwrap());
    }
    let short = auth.mint(subject(), Duration::from_secs(10)).unwrap();
    identities.insert(7, auth.authenticate(&short).await.unwrap());
    auth.logout(&identities[3]).await.unwrap();
    auth.logout(&identities[CONFIRMED_AT_ONCE + 1]).await.unwrap();
    clock.advance(Duration::from_secs(20)); // past the short one and its leeway
    let stands = auth.confirm_many(&identities).await.unwrap();
    let gone: Vec<usize> = (0..stands.len()).filter(|at| !stands[*at]).collect();
    assert_eq!(stands.len(), identities.len());
    assert_eq!(gone, [3, 7, CONFIRMED_AT_ONCE + 1]);
    assert_eq!(auth.confirm_many(&[]).await, Ok(vec![]));
}

#[tokio::test]
async fn a_revoked_family_is_told_of_all_its_tokens() {
    let (auth, _) = set_up(&config());
    let first = auth.login(subject()).await.unwrap();
    let second = auth.refresh(&first.refresh_token, None).await.unwrap();
    let other = auth.login(subject()).await.unwrap();
    auth.logout(&first.identity).await.unwrap();
    let identities = [first.identity, second.identity, other.identity];
    assert_eq!(auth.confirm_many(&identities).await, Ok(vec![false, false, true]));
}

#[tokio::test]
async fn without_an_answer_nothing_is_said_of_anybody() {
    for answer in [Err(AuthError::StoreUnavailable), Ok(vec![])] {
        let mut store = MockTokenStore::new();
        store.expect_is_revoked().returning(|_, _| Ok(false));
        store.expect_are_revoked().return_once(|_, _| answer);
        let auth =
            Authenticator::with_store(&config(), Arc::new(store), clock(), Arc::new(SystemRandom)).unwrap();
        let token = auth.mint(subject(), Duration::from_secs(600)).unwrap();
        let identity = auth.authenticate(&token).await.unwrap();
        assert_eq!(
            auth.confirm_many(&[identity]).await,
            Err(AuthError::StoreUnavailable)
        );
    }
}

#[tokio::test]
async fn a_second_login_of_a_device_leaves_the_first_pair_alone() {
    let (auth, _) = set_up(&config());
    let first = auth.login(subject()).await.unwrap();
    let second = auth.login(subject()).await.unwrap();
    for pair in [first, second] {
        auth.authenticate(&pair.access_token).await.unwrap();
        auth.refresh(&pair.refresh_token, Some("phone")).await.unwrap();
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_tokens() {
    let mut pairs = Vec::new();
    for seed in [1, 1, 2] {
        let random = Arc::new(SeededRandom::new(seed));
        let auth = Authenticator::new(&config(), clock(), random).unwrap();
        pairs.push(auth.login(subject()).await.unwrap());
    }
    assert_eq!(pairs[0].access_token, pairs[1].access_token);
    assert_eq!(pairs[0].refresh_token, pairs[1].refresh_token);
    assert_ne!(pairs[0].refresh_token, pairs[2].refresh_token);
}
