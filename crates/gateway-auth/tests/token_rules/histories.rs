//! Random histories, played on both stores: what one answers, the other does.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gateway_auth::{AuthError, RedisTokenStore};
use gateway_redis::testing::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::{Player, connected, embedded};

#[derive(Debug, Clone)]
struct Step {
    wait: u64,
    family: usize,
    /// Which of the family's tokens, counted from the latest.
    back: usize,
    device: Option<&'static str>,
    logout: bool,
}

fn step() -> impl Strategy<Value = Step> {
    // Mostly the latest few, so that histories live long enough to get somewhere.
    let wait = prop::sample::select(vec![0, 0, 1, 10, 29, 30, 31, 119, 120, 86_400]);
    let back = prop::sample::select(vec![0, 0, 0, 0, 1, 1, 2, 9]);
    let device = prop::sample::select(vec![None, Some("phone"), Some("phone"), Some("laptop")]);
    (wait, 0..2_usize, back, device, prop::bool::weighted(0.02)).prop_map(
        |(wait, family, back, device, logout)| Step {
            wait,
            family,
            back,
            device,
            logout,
        },
    )
}

async fn play(one: &Player<'_>, other: &Player<'_>, steps: &[Step]) -> Result<usize, TestCaseError> {
    let mut now = one.start;
    let mut given = [vec![0_u32], vec![1_000]];
    for (family, token) in [(0, 0), (1, 1_000)] {
        one.login(family, token, one.subject(), now).await;
        other.login(family, token, other.subject(), now).await;
    }
    let mut reuses = 0;
    for step in steps {
        now = now.plus(Duration::from_secs(step.wait));
        let number = step.family as u8;
        let of_it = one.token(number, ["a", "b"][step.family]);
        if step.logout {
            let until = now.plus(Duration::from_secs(120));
            let first = one.store.revoke(&one.user, &of_it, until, now).await;
            let second = other.store.revoke(&other.user, &of_it, until, now).await;
            prop_assert_eq!(first, second);
        }
        let given = &mut given[step.family];
        let token = given[given.len() - 1 - step.back.min(given.len() - 1)];
        let next = given[0] + given.len() as u32;
        let first = one.rotate(token, next, step.device, now).await;
        let second = other.rotate(token, next, step.device, now).await;
        prop_assert_eq!(&first, &second);
        let revoked = one.store.is_revoked(&of_it, now).await;
        if step.logout || matches!(first, Err(AuthError::RefreshReused { .. })) {
            // Later they may differ: keys expire by Redis's own clock.
            prop_assert_eq!(revoked, other.store.is_revoked(&of_it, now).await);
        }
        reuses += usize::from(matches!(first, Err(AuthError::RefreshReused { .. })));
        if first.is_ok() {
            given.push(next);
        }
    }
    Ok(reuses)
}

#[test]
fn both_stores_answer_alike_over_random_histories() {
    let runtime = Runtime::new().unwrap();
    let server = RedisServer::start();
    let redis = runtime.block_on(connected(&server));
    let (in_redis, embedded) = (RedisTokenStore::new(redis, |_, _| ()), embedded());
    let (cases, reuses) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let histories = prop::collection::vec(step(), 1..40);
    let result = runner.run(&histories, |steps| {
        let user = format!("u{}", cases.fetch_add(1, Ordering::Relaxed));
        let player = |store| {
            let mut player = Player::new(store, &user);
            player.life = Duration::from_secs(120);
            player
        };
        let one = player(&embedded);
        let other = Player {
            start: one.start,
            ..player(&in_redis)
        };
        let reused = runtime.block_on(play(&one, &other, &steps))?;
        reuses.fetch_add(reused as u32, Ordering::Relaxed);
        Ok(())
    });
    result.unwrap();
    // Histories that never got to a reuse would prove nothing of it.
    assert!(reuses.load(Ordering::Relaxed) > 50);
}
