//! What every store does, rule by rule; each rule has a user of its own.

use gateway_auth::store::{Rotated, TokenRef};
use gateway_auth::{AuthError, Subject, TokenStore};

use super::Player;

const UNKNOWN: Result<(), AuthError> = Err(AuthError::RefreshUnknown);

/// Holds a store to all of them.
pub(crate) async fn all(store: &dyn TokenStore) {
    let player = |user| Player::new(store, user);
    each_token_is_spent_for_the_next(player("each")).await;
    a_lost_reply_gives_a_new_successor_that_voids_the_unused_one(player("lost")).await;
    the_window_counts_from_the_first_spending(player("window")).await;
    a_second_use_is_a_reuse_once_the_successor_is_used(player("used")).await;
    a_second_use_from_another_device_is_a_reuse(player("another")).await;
    a_clock_that_was_set_back_does_not_open_the_window(player("back")).await;
    a_reuse_ends_and_revokes_the_family_and_no_other(player("reuse")).await;
    a_wrong_device_spends_nothing(player("wrong")).await;
    an_expired_token_is_told_as_such_and_forgotten_a_day_later(player("expired")).await;
    a_logout_ends_and_revokes_the_family(player("logout")).await;
    a_token_without_a_family_is_revoked_alone(player("alone")).await;
    the_seventeenth_login_drops_the_oldest_family(player("many")).await;
    the_subject_comes_back_as_it_was(player("subject")).await;
    many_are_told_in_their_order(player("order")).await;
}

async fn opened(player: &Player<'_>) {
    player.login(1, 1, player.subject(), player.start).await;
}

async fn each_token_is_spent_for_the_next(player: Player<'_>) {
    opened(&player).await;
    for token in 1..50 {
        let spent = player.spend(token, token + 1, Some("phone"), token.into()).await;
        assert_eq!(spent, Ok(()));
    }
    assert_eq!(player.spend(50, 51, None, 60).await, Ok(()));
}

async fn a_lost_reply_gives_a_new_successor_that_voids_the_unused_one(player: Player<'_>) {
    opened(&player).await;
    assert_eq!(player.spend(1, 2, Some("phone"), 0).await, Ok(()));
    assert_eq!(player.spend(1, 3, Some("phone"), 20).await, Ok(()));
    assert_eq!(player.spend(1, 4, None, 30).await, Ok(()));
    assert_eq!(player.spend(4, 5, Some("phone"), 31).await, Ok(()));
    let voided = player.spend(2, 9, Some("phone"), 32).await;
    assert_eq!(voided, player.reused(), "a voided token is a spent one");
}

async fn the_window_counts_from_the_first_spending(player: Player<'_>) {
    opened(&player).await;
    assert_eq!(player.spend(1, 2, None, 0).await, Ok(()));
    assert_eq!(player.spend(1, 3, None, 29).await, Ok(()));
    assert_eq!(player.spend(1, 4, None, 31).await, player.reused());
}

async fn a_second_use_is_a_reuse_once_the_successor_is_used(player: Player<'_>) {
    opened(&player).await;
    assert_eq!(player.spend(1, 2, None, 0).await, Ok(()));
    assert_eq!(player.spend(2, 3, None, 1).await, Ok(()));
    assert_eq!(player.spend(1, 4, None, 2).await, player.reused());
}

async fn a_second_use_from_another_device_is_a_reuse(player: Player<'_>) {
    opened(&player).await;
    assert_eq!(player.spend(1, 2, None, 0).await, Ok(()));
    assert_eq!(player.spend(1, 3, Some("laptop"), 1).await, player.reused());
}

async fn a_clock_that_was_set_back_does_not_open_the_window(player: Player<'_>) {
    opened(&player).await;
    assert_eq!(player.spend(1, 2, None, 10).await, Ok(()));
    assert_eq!(player.spend(1, 3, None, 9).await, player.reused());
}

async fn a_reuse_ends_and_revokes_the_family_and_no_other(player: Player<'_>) {
    opened(&player).await;
    player.login(2, 100, player.subject(), player.start).await;
    assert_eq!(player.spend(1, 2, None, 0).await, Ok(()));
    let token = player.token(1, "a");
    assert!(!player.is_revoked(&token, 39).await);
    assert_eq!(player.spend(1, 3, None, 40).await, player.reused());
    assert!(player.is_revoked(&token, 41).await);
    for token in 1..4 {
        assert_eq!(player.spend(token, 9, None, 41).await, UNKNOWN);
    }
    assert!(!player.is_revoked(&player.token(2, "b"), 41).await);
    assert_eq!(player.spend(100, 101, None, 42).await, Ok(()));
}

async fn a_wrong_device_spends_nothing(player: Player<'_>) {
    opened(&player).await;
    let wrong = Err(AuthError::WrongDevice);
    assert_eq!(player.spend(1, 2, Some("laptop"), 0).await, wrong);
    assert_eq!(player.spend(1, 2, Some(""), 0).await, wrong);
    assert_eq!(player.spend(1, 2, Some("phone"), 1).await, Ok(()));
}

async fn an_expired_token_is_told_as_such_and_forgotten_a_day_later(player: Player<'_>) {
    opened(&player).await;
    let expired = Err(AuthError::RefreshExpired);
    assert_eq!(player.spend(1, 2, None, 3_600).await, expired);
    assert_eq!(player.spend(1, 2, None, 89_999).await, expired);
    assert_eq!(player.spend(1, 2, None, 90_000).await, UNKNOWN);
}

async fn a_logout_ends_and_revokes_the_family(player: Player<'_>) {
    opened(&player).await;
    player.login(2, 100, player.subject(), player.start).await;
    assert_eq!(player.spend(1, 2, None, 0).await, Ok(()));
    let (token, sibling) = (player.token(1, "a"), player.token(1, "b"));
    let (now, until) = (player.after(1), player.after(600));
    let revoked = player.store.revoke(&player.user, &token, until, now).await;
    assert_eq!(revoked, Ok(()));
    assert!(player.is_revoked(&token, 1).await && player.is_revoked(&sibling, 1).await);
    assert_eq!(player.spend(2, 3, None, 2).await, UNKNOWN);
    assert_eq!(player.spend(1, 3, None, 2).await, UNKNOWN);
    assert_eq!(player.spend(100, 101, None, 2).await, Ok(()));
    // As after a lost reply: the family is not there any more.
    let again = player.store.revoke(&player.user, &token, until, now).await;
    assert_eq!(again, Ok(()));
}

async fn a_token_without_a_family_is_revoked_alone(player: Player<'_>) {
    let token = |jti: &str| TokenRef {
        family: None,
        ..player.token(0, jti)
    };
    let until = player.after(600);
    let revoked = player
        .store
        .revoke(&player.user, &token("a"), until, player.start)
        .await;
    assert_eq!(revoked, Ok(()));
    assert!(player.is_revoked(&token("a"), 1).await);
    assert!(!player.is_revoked(&token("b"), 1).await);
}

async fn the_seventeenth_login_drops_the_oldest_family(player: Player<'_>) {
    for n in 1..=17 {
        player.login(n, n.into(), player.subject(), player.start).await;
    }
    assert_eq!(player.spend(1, 50, None, 1).await, UNKNOWN);
    assert!(!player.is_revoked(&player.token(1, "a"), 1).await);
    assert_eq!(player.spend(2, 51, None, 1).await, Ok(()));
    assert_eq!(player.spend(17, 52, None, 1).await, Ok(()));
}

async fn the_subject_comes_back_as_it_was(player: Player<'_>) {
    let with_roles = Subject {
        roles: vec!["admin".to_owned(), "a,b".to_owned()],
        ..player.subject()
    };
    for (number, subject) in [(1, player.subject()), (2, with_roles)] {
        let token = u32::from(number) * 10;
        player.login(number, token, subject.clone(), player.start).await;
        for step in 0..2 {
            let rotated = player
                .rotate(token + step, token + step + 1, None, player.after(1))
                .await;
            let family = player.family(number);
            let subject = subject.clone();
            assert_eq!(rotated, Ok(Rotated { family, subject }));
        }
    }
}

async fn many_are_told_in_their_order(player: Player<'_>) {
    let tokens: Vec<_> = (0..300).map(|n| player.token(n as u8, &n.to_string())).collect();
    let one = TokenRef {
        family: None,
        ..tokens[7].clone()
    };
    let until = player.after(600);
    let (user, start) = (&player.user, player.start);
    player.store.revoke(user, &one, until, start).await.unwrap();
    player.store.revoke(user, &tokens[9], until, start).await.unwrap();
    let revoked = player.store.are_revoked(&tokens, player.after(1)).await.unwrap();
    // 265 is of the family of 9.
    let places: Vec<_> = (0..300).filter(|place| revoked[*place]).collect();
    assert_eq!(places, [7, 9, 265]);
    assert_eq!(player.store.are_revoked(&[], player.start).await, Ok(vec![]));
}
