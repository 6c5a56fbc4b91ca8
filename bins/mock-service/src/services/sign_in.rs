//! Login and registration: the commands that need the password hasher, and so take their time.
//!
//! Login only says who somebody is; tokens and sessions are the gateway's.

use gateway_codec::{
    Code,
    proto::{backend::Identity, im::user::UserInfo},
};

use crate::{
    error::ServiceError,
    services::{
        Answer, Caller, Effect, Shared,
        user::{LONGEST_NAME, LONGEST_TEXT, check_texts, user_info},
    },
    store::accounts::Profile,
    wire::json::profile_json,
};

/// What the user service can be asked by somebody who is nobody yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// `name` is an account, a phone number or a mail address.
    Login {
        name: String,
        password: Password,
    },
    Register(Registration),
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

const LONGEST_PASSWORD: usize = 256;

pub(crate) async fn run(shared: &Shared, caller: Caller<'_>, action: SignIn) -> Result<Effect, ServiceError> {
    match action {
        SignIn::Login { name, password } => login(shared, caller, name, password.0).await,
        SignIn::Register(registration) => register(shared, caller, registration).await,
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

fn check_name(name: &str) -> Result<(), ServiceError> {
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if name.len() > LONGEST_NAME || name.contains(odd) {
        return Err(ServiceError::bad("account has 1 to 64 bytes and no spaces"));
    }
    Ok(())
}
