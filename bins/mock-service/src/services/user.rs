//! Profiles: look, change, search. Login and registration are `sign_in`'s.

use std::borrow::Cow;

use gateway_codec::proto::im::user::UserInfo;

use crate::{
    error::ServiceError,
    services::{Answer, Caller, Effect, Shared, signed},
    store::accounts::{MOST_FOUND, Profile, ProfileChange},
};

/// What can be asked about users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserAction {
    /// Both empty: oneself. A uid wins.
    Info {
        uid: String,
        account: String,
    },
    Update(ProfileChange),
    Search {
        keyword: String,
        limit: i64,
    },
}

pub(super) const LONGEST_NAME: usize = 64;
pub(super) const LONGEST_TEXT: usize = 512;
const DEFAULT_FOUND: usize = 20;

pub(crate) fn run(shared: &Shared, caller: Caller<'_>, action: UserAction) -> Result<Effect, ServiceError> {
    match action {
        UserAction::Info { uid, account } => info(shared, caller, &uid, &account),
        UserAction::Update(change) => update(shared, caller, change),
        UserAction::Search { keyword, limit } => search(shared, caller, &keyword, limit),
    }
}

fn info(shared: &Shared, caller: Caller<'_>, uid: &str, account: &str) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    let accounts = &shared.store.accounts;
    let uid = match (uid, account) {
        ("", "") => Cow::Borrowed(own),
        ("", account) => Cow::Owned(accounts.uid_of(account).ok_or_else(no_user)?),
        (uid, _) => Cow::Borrowed(uid),
    };
    let profile = accounts.profile(&uid).ok_or_else(no_user)?;
    Ok(Answer::UserInfo(user_info(&profile, own)).into())
}

fn update(shared: &Shared, caller: Caller<'_>, change: ProfileChange) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    let empty = String::new();
    check_texts(&[
        (
            "nickname",
            change.nickname.as_ref().unwrap_or(&empty),
            LONGEST_NAME,
        ),
        ("avatar", change.avatar.as_ref().unwrap_or(&empty), LONGEST_TEXT),
        (
            "signature",
            change.signature.as_ref().unwrap_or(&empty),
            LONGEST_TEXT,
        ),
    ])?;
    if change.gender.is_some_and(|gender| !(0..=3).contains(&gender)) {
        return Err(ServiceError::bad("gender is 0 to 3"));
    }
    let profile = shared.store.accounts.change(own, change).ok_or_else(no_user)?;
    Ok(Answer::UserUpdated(user_info(&profile, own)).into())
}

fn search(shared: &Shared, caller: Caller<'_>, keyword: &str, limit: i64) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    if keyword.is_empty() || keyword.len() > LONGEST_NAME {
        return Err(ServiceError::bad("keyword has 1 to 64 bytes"));
    }
    let limit = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(DEFAULT_FOUND);
    let found = shared.store.accounts.search(keyword, limit.min(MOST_FOUND));
    Ok(Answer::Users(found.iter().map(|profile| user_info(profile, own)).collect()).into())
}

/// A profile as clients see it. Presence is the gateway's to know: only the one who asks is surely online.
pub(super) fn user_info(profile: &Profile, asked_by: &str) -> UserInfo {
    UserInfo {
        uid: profile.uid.clone(),
        account: profile.account.clone(),
        nickname: profile.nickname.clone(),
        avatar: profile.avatar.clone(),
        gender: profile.gender,
        signature: profile.signature.clone(),
        create_time: signed(profile.create_time),
        last_login: signed(profile.last_login),
        online: profile.uid == asked_by,
    }
}

pub(super) fn check_texts(texts: &[(&str, &String, usize)]) -> Result<(), ServiceError> {
    match texts.iter().find(|(_, text, most)| text.len() > *most) {
        Some((name, _, most)) => Err(ServiceError::bad(format!("{name} is over {most} bytes"))),
        None => Ok(()),
    }
}

fn no_user() -> ServiceError {
    ServiceError::not_found("no such user")
}
