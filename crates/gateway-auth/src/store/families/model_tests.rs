//! The rules of rotation against a second, plainer telling of them, over long random histories.

use std::collections::HashMap;

use gateway_codec::{DeviceId, Platform};

use super::*;
use crate::random::SeededRandom;

const LIFE: Duration = Duration::from_secs(120);

/// What the contract says of one family: the tokens given out, in order, and what became of each.
struct Model {
    /// Token, when it expires.
    current: (u16, Timestamp),
    /// The one before, and when it was first spent.
    previous: Option<(u16, Timestamp)>,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Pair,
    Unknown,
    Expired,
    WrongDevice,
    Reused,
}

impl Model {
    fn present(&mut self, token: u16, own_device: bool, next: u16, now: Timestamp) -> Expected {
        if self.ended {
            return Expected::Unknown;
        }
        let (current, expires_at) = self.current;
        let expected = match self.previous {
            _ if token == current && !own_device => Expected::WrongDevice,
            _ if token == current && expires_at <= now => Expected::Expired,
            _ if token == current => {
                self.previous = Some((token, now));
                Expected::Pair
            }
            Some((previous, spent_at))
                if token == previous && own_device && now <= spent_at.plus(REPEAT_WINDOW) =>
            {
                Expected::Pair
            }
            _ => Expected::Reused,
        };
        match expected {
            Expected::Pair => self.current = (next, now.plus(LIFE)),
            Expected::Reused => self.ended = true,
            _ => {}
        }
        expected
    }
}

fn refresh(token: u16, now: Timestamp) -> NewRefresh {
    NewRefresh {
        hash: hash(token),
        expires_at: now.plus(LIFE),
        access_until: now.plus(LIFE),
    }
}

fn hash(token: u16) -> RefreshHash {
    let mut hash = [0; 32];
    hash[..2].copy_from_slice(&token.to_be_bytes());
    hash
}

fn told(result: &Result<Rotated, Refused>) -> Expected {
    match result {
        Ok(_) => Expected::Pair,
        Err(Refused::Reused(..)) => Expected::Reused,
        Err(Refused::Plainly(AuthError::RefreshExpired)) => Expected::Expired,
        Err(Refused::Plainly(AuthError::WrongDevice)) => Expected::WrongDevice,
        Err(Refused::Plainly(error)) => {
            assert_eq!(*error, AuthError::RefreshUnknown);
            Expected::Unknown
        }
    }
}

fn one_of(random: &SeededRandom, count: usize) -> usize {
    usize::try_from(random.next() % count as u64).unwrap()
}

/// Plays one history; counts what came of each step.
fn history(seed: u64, seen: &mut HashMap<&'static str, usize>) {
    let random = SeededRandom::new(seed);
    let mut now = Timestamp::from_millis(1_000_000);
    let subject = Subject {
        user_id: UserId::parse("u1").unwrap(),
        username: String::new(),
        device_id: DeviceId::parse("phone").unwrap(),
        platform: Platform::parse("ios").unwrap(),
        roles: vec![],
    };
    let mut families = Families::default();
    families.open(
        NewFamily {
            id: FamilyId::from_bits(1),
            subject,
            refresh: refresh(0, now),
        },
        now,
    );
    let mut model = Model {
        current: (0, now.plus(LIFE)),
        previous: None,
        ended: false,
    };
    let mut given = vec![0_u16];
    for next in 1..60 {
        now = now.plus(Duration::from_secs(
            [0, 1, 10, 29, 30, 31, 119, 120][one_of(&random, 8)],
        ));
        // Mostly the latest few, so that histories live long enough to get somewhere.
        let back = [0, 0, 0, 0, 1, 1, 2, given.len() - 1][one_of(&random, 8)].min(given.len() - 1);
        let token = given[given.len() - 1 - back];
        let device = [None, Some("phone"), Some("phone"), Some("phone"), Some("laptop")][one_of(&random, 5)];
        let rotation = Rotation {
            presented: hash(token),
            device_id: device.map(str::to_owned),
            successor: refresh(next, now),
        };
        let expected = model.present(token, device != Some("laptop"), next, now);
        let result = families.rotate(&rotation, now);
        assert_eq!(told(&result), expected, "seed {seed}, step {next}, token {token}");
        if expected == Expected::Pair {
            given.push(next);
        }
        *seen
            .entry(match expected {
                Expected::Pair => "pair",
                Expected::Unknown => "unknown",
                Expected::Expired => "expired",
                Expected::WrongDevice => "wrong device",
                Expected::Reused => "reused",
            })
            .or_default() += 1;
        // The indexes never hold more than the family gave out, and nothing once it has ended.
        let known = if model.ended { 0 } else { given.len() };
        assert_eq!(families.by_hash.len(), known, "seed {seed}, step {next}");
        assert_eq!(families.by_expiry.len(), usize::from(!model.ended));
        assert_eq!(families.by_user.len(), usize::from(!model.ended));
    }
}

#[test]
fn rotation_keeps_its_rules_over_random_histories() {
    let mut seen = HashMap::new();
    for seed in 0..3_000 {
        history(seed, &mut seen);
    }
    // A walk that never got to one of the outcomes would prove nothing of it.
    for outcome in ["pair", "unknown", "expired", "wrong device", "reused"] {
        assert!(seen.get(outcome).is_some_and(|count| *count > 500), "{seen:?}");
    }
}
