use gateway_codec::{DeviceId, Platform};

use super::*;

const START: Timestamp = Timestamp::from_millis(1_000_000);
const LIFE: Duration = Duration::from_secs(3_600);

fn after(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn refresh(token: u8, now: Timestamp) -> NewRefresh {
    NewRefresh {
        hash: [token; 32],
        expires_at: now.plus(LIFE),
        access_until: now.plus_millis(60_000),
    }
}

fn family(id: u128, token: u8) -> NewFamily {
    let subject = Subject {
        user_id: UserId::parse("u1").unwrap(),
        username: "name".to_owned(),
        device_id: DeviceId::parse("phone").unwrap(),
        platform: Platform::parse("ios").unwrap(),
        roles: vec![],
    };
    NewFamily {
        id: FamilyId::from_bits(id),
        subject,
        refresh: refresh(token, START),
    }
}

fn opened() -> Families {
    let mut families = Families::default();
    families.open(family(1, 1), START);
    families
}

/// Spends token `from` for token `to`.
fn spend(
    families: &mut Families,
    from: u8,
    to: u8,
    device: Option<&str>,
    now: Timestamp,
) -> Result<(), Refused> {
    let rotation = Rotation {
        presented: [from; 32],
        device_id: device.map(str::to_owned),
        successor: refresh(to, now),
    };
    families.rotate(&rotation, now).map(drop)
}

fn is_reuse(result: Result<(), Refused>) -> bool {
    matches!(result, Err(Refused::Reused(family, _)) if family == FamilyId::from_bits(1))
}

fn refused(error: AuthError) -> Result<(), Refused> {
    Err(Refused::Plainly(error))
}

#[test]
fn each_token_is_spent_for_the_next() {
    let mut families = opened();
    for token in 1..50 {
        assert_eq!(
            spend(
                &mut families,
                token,
                token + 1,
                Some("phone"),
                after(token.into())
            ),
            Ok(())
        );
    }
    assert_eq!(spend(&mut families, 50, 51, None, after(60)), Ok(()));
}

#[test]
fn a_lost_reply_gives_a_new_successor_that_voids_the_unused_one() {
    let mut families = opened();
    assert_eq!(spend(&mut families, 1, 2, Some("phone"), after(0)), Ok(()));
    assert_eq!(spend(&mut families, 1, 3, Some("phone"), after(20)), Ok(()));
    assert_eq!(spend(&mut families, 1, 4, None, after(30)), Ok(()));
    assert_eq!(spend(&mut families, 4, 5, Some("phone"), after(31)), Ok(()));
    assert!(
        is_reuse(spend(&mut families, 2, 9, Some("phone"), after(32))),
        "a voided token is a spent one"
    );
}

#[test]
fn the_window_counts_from_the_first_spending() {
    let mut families = opened();
    assert_eq!(spend(&mut families, 1, 2, None, after(0)), Ok(()));
    assert_eq!(spend(&mut families, 1, 3, None, after(29)), Ok(()));
    assert!(is_reuse(spend(&mut families, 1, 4, None, after(31))));
}

#[test]
fn a_second_use_is_a_reuse_once_the_successor_is_used() {
    let mut families = opened();
    assert_eq!(spend(&mut families, 1, 2, None, after(0)), Ok(()));
    assert_eq!(spend(&mut families, 2, 3, None, after(1)), Ok(()));
    assert!(is_reuse(spend(&mut families, 1, 4, None, after(2))));
}

#[test]
fn a_second_use_from_another_device_is_a_reuse_within_the_window_too() {
    let mut families = opened();
    assert_eq!(spend(&mut families, 1, 2, None, after(0)), Ok(()));
    assert!(is_reuse(spend(&mut families, 1, 3, Some("laptop"), after(1))));
}

#[test]
fn a_clock_that_was_set_back_does_not_open_the_window() {
    let mut families = opened();
    assert_eq!(spend(&mut families, 1, 2, None, after(10)), Ok(()));
    assert!(is_reuse(spend(&mut families, 1, 3, None, after(9))));
}

#[test]
fn a_reuse_ends_the_family_with_all_its_tokens() {
    let mut families = opened();
    assert_eq!(spend(&mut families, 1, 2, None, after(0)), Ok(()));
    let Err(Refused::Reused(_, ended)) = spend(&mut families, 1, 3, None, after(40)) else {
        panic!("a reuse was let through");
    };
    assert_eq!(ended.access_until, after(60));
    for token in 1..4 {
        assert_eq!(
            spend(&mut families, token, 9, None, after(41)),
            refused(AuthError::RefreshUnknown)
        );
    }
    assert!(families.by_hash.is_empty() && families.by_user.is_empty() && families.by_expiry.is_empty());
}

#[test]
fn a_wrong_device_spends_nothing() {
    let mut families = opened();
    assert_eq!(
        spend(&mut families, 1, 2, Some("laptop"), after(0)),
        refused(AuthError::WrongDevice)
    );
    assert_eq!(spend(&mut families, 1, 2, Some("phone"), after(1)), Ok(()));
}

#[test]
fn an_expired_token_is_told_as_such_and_forgotten_a_day_later() {
    let mut families = opened();
    assert_eq!(
        spend(&mut families, 1, 2, None, after(3_600)),
        refused(AuthError::RefreshExpired)
    );
    assert_eq!(
        spend(&mut families, 1, 2, None, after(90_000)),
        refused(AuthError::RefreshUnknown)
    );
    assert!(families.families.is_empty() && families.by_hash.is_empty());
}

#[test]
fn the_seventeenth_login_of_a_user_drops_the_oldest_family() {
    let mut families = Families::default();
    for id in 1..=16 {
        assert_eq!(families.open(family(id.into(), id), START), 0);
    }
    assert_eq!(families.open(family(17, 17), START), 1);
    assert_eq!(
        spend(&mut families, 1, 50, None, after(1)),
        refused(AuthError::RefreshUnknown)
    );
    assert_eq!(spend(&mut families, 2, 51, None, after(1)), Ok(()));
    assert_eq!(spend(&mut families, 17, 52, None, after(1)), Ok(()));
}

#[test]
fn only_the_latest_spent_tokens_are_remembered() {
    let mut families = opened();
    let hash = |n: usize| {
        let mut hash = [0xff; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        hash
    };
    let mut presented = [1; 32];
    for n in 0..MAX_SPENT + 10 {
        let successor = NewRefresh {
            hash: hash(n),
            ..refresh(0, START)
        };
        families
            .rotate(
                &Rotation {
                    presented,
                    device_id: None,
                    successor,
                },
                START,
            )
            .unwrap();
        presented = hash(n);
    }
    assert_eq!(families.by_hash.len(), MAX_SPENT + 1);
    assert_eq!(
        spend(&mut families, 1, 2, None, START),
        refused(AuthError::RefreshUnknown)
    );
}
