//! Who there is: profiles, password hashes, roles.
//!
//! A hash is shared by all made accounts (one string, one `Arc`), so that a hundred thousand of them cost
//! their names. Checking a password is not done here: it is slow on purpose and belongs off these locks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::{error::ServiceError, store::held};

/// No more accounts than this; registration then answers 503.
const MOST_ACCOUNTS: usize = 2_000_000;
/// No search walks further than this many matches.
pub(crate) const MOST_FOUND: usize = 100;

/// What is known of a user, the secret apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) uid: String,
    pub(crate) account: String,
    pub(crate) nickname: String,
    pub(crate) avatar: String,
    /// 0 unknown, 1 male, 2 female, 3 other.
    pub(crate) gender: i32,
    pub(crate) signature: String,
    /// Unix milliseconds, as is `last_login`; 0: never.
    pub(crate) create_time: u64,
    pub(crate) last_login: u64,
    pub(crate) roles: Vec<String>,
}

/// A change of a profile; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProfileChange {
    pub(crate) nickname: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) gender: Option<i32>,
    pub(crate) signature: Option<String>,
}

struct Account {
    profile: Profile,
    hash: Arc<str>,
}

#[derive(Default)]
struct Inner {
    by_uid: HashMap<String, Account>,
    /// Account name, phone number or mail address → uid.
    names: HashMap<String, String>,
}

/// All accounts.
#[derive(Default)]
pub(crate) struct Accounts {
    inner: Mutex<Inner>,
}

impl Accounts {
    /// Adds an account under all of `names`; 409 where one is taken or the uid is.
    pub(crate) fn add(&self, profile: Profile, names: &[&str], hash: Arc<str>) -> Result<(), ServiceError> {
        let mut inner = held(&self.inner);
        if inner.by_uid.len() >= MOST_ACCOUNTS {
            return Err(ServiceError::unavailable("no room for further accounts"));
        }
        let taken = names.iter().any(|name| inner.names.contains_key(*name));
        // A name that equals somebody's uid would let its owner pass for them in a list.
        let passes_for = names
            .iter()
            .any(|name| *name != profile.uid && inner.by_uid.contains_key(*name));
        if taken || passes_for || inner.by_uid.contains_key(&profile.uid) {
            return Err(ServiceError::conflict("account is taken"));
        }
        for name in names {
            inner.names.insert((*name).to_owned(), profile.uid.clone());
        }
        inner
            .by_uid
            .insert(profile.uid.clone(), Account { profile, hash });
        Ok(())
    }

    /// Uid and password hash of whoever signs in by this name.
    pub(crate) fn credentials(&self, name: &str) -> Option<(String, Arc<str>)> {
        let inner = held(&self.inner);
        let uid = inner.names.get(name)?;
        inner
            .by_uid
            .get(uid)
            .map(|account| (uid.clone(), Arc::clone(&account.hash)))
    }

    /// Notes a login and gives the profile.
    pub(crate) fn logged_in(&self, uid: &str, now: u64) -> Option<Profile> {
        let mut inner = held(&self.inner);
        let account = inner.by_uid.get_mut(uid)?;
        account.profile.last_login = now;
        Some(account.profile.clone())
    }

    pub(crate) fn exists(&self, uid: &str) -> bool {
        held(&self.inner).by_uid.contains_key(uid)
    }

    pub(crate) fn profile(&self, uid: &str) -> Option<Profile> {
        held(&self.inner)
            .by_uid
            .get(uid)
            .map(|account| account.profile.clone())
    }

    pub(crate) fn uid_of(&self, name: &str) -> Option<String> {
        held(&self.inner).names.get(name).cloned()
    }

    /// What to call a user: nickname, or the uid of somebody this store does not know.
    pub(crate) fn nickname(&self, uid: &str) -> String {
        held(&self.inner)
            .by_uid
            .get(uid)
            .map(|account| account.profile.nickname.clone())
            .filter(|nickname| !nickname.is_empty())
            .unwrap_or_else(|| uid.to_owned())
    }

    pub(crate) fn has_role(&self, uid: &str, role: &str) -> bool {
        held(&self.inner)
            .by_uid
            .get(uid)
            .is_some_and(|account| account.profile.roles.iter().any(|held| held == role))
    }

    pub(crate) fn change(&self, uid: &str, change: ProfileChange) -> Option<Profile> {
        let mut inner = held(&self.inner);
        let profile = &mut inner.by_uid.get_mut(uid)?.profile;
        if let Some(nickname) = change.nickname {
            profile.nickname = nickname;
        }
        if let Some(avatar) = change.avatar {
            profile.avatar = avatar;
        }
        if let Some(gender) = change.gender {
            profile.gender = gender;
        }
        if let Some(signature) = change.signature {
            profile.signature = signature;
        }
        Some(profile.clone())
    }

    /// Users whose uid, account or nickname contains `keyword` in any case, ordered by uid.
    pub(crate) fn search(&self, keyword: &str, limit: usize) -> Vec<Profile> {
        let keyword = keyword.to_lowercase();
        let inner = held(&self.inner);
        let mut found: Vec<Profile> = inner
            .by_uid
            .values()
            .map(|account| &account.profile)
            .filter(|profile| {
                [&profile.uid, &profile.account, &profile.nickname]
                    .into_iter()
                    .any(|text| text.to_lowercase().contains(&keyword))
            })
            .cloned()
            .collect();
        drop(inner);
        found.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        found.truncate(limit.min(MOST_FOUND));
        found
    }
}
