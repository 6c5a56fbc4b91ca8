//! Accounts: login, registration, profiles, search.
//!
//! Login only says who somebody is; tokens and sessions are the gateway's.

use std::borrow::Cow;

use gateway_codec::{
    Code,
    proto::{backend::Identity, im::user::UserInfo},
};

use crate::{
    error::ServiceError,
    services::{Answer, Caller, Effect, Shared, signed},
    store::accounts::{MOST_FOUND, Profile, ProfileChange},
    wire::json::profile_json,
};

/// What the user service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserAction {
    /// `name` is an account, a phone number or a mail address.
    Login {
        name: String,
        password: Password,
    },
    Register(Registration),
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

/// What somebody registers with; one of account, phone and mail is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) account: String,
    pub(crate) phone: String,
    pub(crate) email: String,
    pub(crate) password: Password,
    pub(crate) nickname: String,
    pub(crate) avatar: String,
}

/// A password on its way to the hasher; never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

const LONGEST_NAME: usize = 64;
const LONGEST_PASSWORD: usize = 256;
const LONGEST_TEXT: usize = 512;
const DEFAULT_FOUND: usize = 20;

pub(crate) async fn run(
    shared: &Shared,
    caller: Caller<'_>,
    action: UserAction,
) -> Result<Effect, ServiceError> {
    match action {
        UserAction::Login { name, password } => login(shared, caller, name, password.0).await,
        UserAction::Register(registration) => register(shared, caller, registration).await,
        UserAction::Info { uid, account } => info(shared, caller, &uid, &account),
        UserAction::Update(change) => update(shared, caller, change),
        UserAction::Search { keyword, limit } => search(shared, caller, &keyword, limit),
    }
}

async fn login(
    shared: &Shared,
    caller: Caller<'_>,
    name: String,
    password: String,
) -> Result<Effect, ServiceError> {
    if name.is_empty() || password.is_empty() {
        return Err(ServiceError::bad("username and password are needed"));
    }
    // One text for an unknown name and a wrong password: nobody learns which accounts there are.
    let refused = || ServiceError::new(Code::Unauthorized, "wrong username or password");
    if password.len() > LONGEST_PASSWORD {
        return Err(refused());
    }
    let known = shared.store.accounts.credentials(&name);
    let (uid, hash) = known.unzip();
    let matches = shared.passwords.verify(password, hash).await?;
    let uid = uid.filter(|_| matches).ok_or_else(refused)?;
    let profile = shared
        .store
        .accounts
        .logged_in(&uid, caller.now)
        .ok_or_else(refused)?;
    Ok(signed_in(profile, Answer::LoggedIn))
}

async fn register(shared: &Shared, caller: Caller<'_>, new: Registration) -> Result<Effect, ServiceError> {
    let names: Vec<&str> = [&new.account, &new.phone, &new.email]
        .into_iter()
        .map(String::as_str)
        .filter(|n| !n.is_empty())
        .collect();
    let account = *names
        .first()
        .ok_or_else(|| ServiceError::bad("account is needed"))?;
    for name in &names {
        check_name(name)?;
    }
    if new.password.0.is_empty() || new.password.0.len() > LONGEST_PASSWORD {
        return Err(ServiceError::bad("password has 1 to 256 bytes"));
    }
    check_texts(&[
        ("nickname", &new.nickname, LONGEST_NAME),
        ("avatar", &new.avatar, LONGEST_TEXT),
    ])?;
    // Asked before the hash is made, which is dear; `add` decides.
    if names
        .iter()
        .any(|name| shared.store.accounts.uid_of(name).is_some())
    {
        return Err(ServiceError::conflict("account is taken"));
    }
    let hash = shared.passwords.hash(new.password.0.clone()).await?;
    let profile = Profile {
        uid: format!("u{}", shared.store.ids.next(caller.now)),
        account: account.to_owned(),
        nickname: if new.nickname.is_empty() {
            account.to_owned()
        } else {
            new.nickname.clone()
        },
        avatar: new.avatar.clone(),
        create_time: caller.now,
        last_login: caller.now,
        ..Profile::default()
    };
    shared.store.accounts.add(profile.clone(), &names, hash)?;
    Ok(signed_in(profile, Answer::Registered))
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

fn signed_in(profile: Profile, answer: fn(UserInfo) -> Answer) -> Effect {
    let shown = user_info(&profile, &profile.uid);
    let identity = Identity {
        user_id: profile.uid,
        username: profile.account,
        roles: profile.roles,
        user_info: profile_json(&shown).to_string().into_bytes().into(),
    };
    Effect {
        answer: answer(shown),
        identity: Some(identity),
        pushes: Vec::new(),
    }
}

/// A profile as clients see it. Presence is the gateway's to know: only the one who asks is surely online.
fn user_info(profile: &Profile, asked_by: &str) -> UserInfo {
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

fn check_name(name: &str) -> Result<(), ServiceError> {
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if name.len() > LONGEST_NAME || name.contains(odd) {
        return Err(ServiceError::bad("account has 1 to 64 bytes and no spaces"));
    }
    Ok(())
}

fn check_texts(texts: &[(&str, &String, usize)]) -> Result<(), ServiceError> {
    match texts.iter().find(|(_, text, most)| text.len() > *most) {
        Some((name, _, most)) => Err(ServiceError::bad(format!("{name} is over {most} bytes"))),
        None => Ok(()),
    }
}

fn no_user() -> ServiceError {
    ServiceError::not_found("no such user")
}
