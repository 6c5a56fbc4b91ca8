//! Families of refresh tokens and the rules of rotation. Pure: time is passed in, nothing is written.
//!
//! Each token of a family is spent once. A spent one that comes back means that two parties hold it, and nobody
//! can tell which is the thief, so the family ends. The one exception is a reply that was lost or two tabs at
//! once: right after the spending, while the successor is unused.
//!
//! The device tells a mistake from a theft only for a token that is still unspent: a wrong device is refused and
//! spends nothing, since it proves no second holder and must not log the owner out. A spent token is a reuse,
//! whatever device it comes from.
//!
//! A login opens a family beside those that its device has already: being replaced (4410) revokes no token, and a
//! late login must not end one that is newer. An abandoned family ends by expiry, or as the user's oldest.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use gateway_codec::{Timestamp, UserId};

use super::{FamilyId, NewFamily, NewRefresh, RefreshHash, Rotated, Rotation};
use crate::error::AuthError;
use crate::identity::Subject;

/// How long a spent token may come again while its successor is unused.
pub(super) const REPEAT_WINDOW: Duration = Duration::from_secs(30);

/// Families a user may have; one more login and the oldest can no longer refresh.
pub(super) const MAX_FAMILIES_PER_USER: usize = 16;

/// Families in all; beyond it the one that expires first can no longer refresh.
const MAX_FAMILIES: usize = 1_000_000;

/// Spent tokens of a family that are known again. One spent longer ago is unknown, which refuses it all the same.
const MAX_SPENT: usize = 4_096;

/// How long an expired family is kept, to say "expired" rather than "unknown".
const KEEP_EXPIRED: Duration = Duration::from_secs(86_400);

/// All families of this process.
#[derive(Default)]
pub(super) struct Families {
    families: HashMap<FamilyId, Family>,
    by_hash: HashMap<RefreshHash, FamilyId>,
    /// A user's families in the order of their logins.
    by_user: HashMap<UserId, VecDeque<FamilyId>>,
    by_expiry: BTreeSet<(Timestamp, FamilyId)>,
}

struct Family {
    subject: Subject,
    /// The one token that has not been spent.
    current: NewRefresh,
    /// The token that `current` replaced, and when it was spent for the first time.
    previous: Option<(RefreshHash, Timestamp)>,
    /// All that were spent or voided, the oldest first.
    spent: VecDeque<RefreshHash>,
    /// Until when its access tokens live.
    access_until: Timestamp,
}

/// A family that has ended, whose access tokens must be revoked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) subject: Subject,
    pub(super) access_until: Timestamp,
}

/// Why a rotation is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nothing has changed.
    Plainly(AuthError),
    /// A spent token came back; the family is gone.
    Reused(FamilyId, Ended),
}

impl Families {
    /// Opens a family; returns how many others had to go for it.
    pub(super) fn open(&mut self, family: NewFamily, now: Timestamp) -> usize {
        self.purge(now);
        let NewFamily { id, subject, refresh } = family;
        let mut evicted = 0;
        let own = self.by_user.get(&subject.user_id);
        if let Some(oldest) = own
            .filter(|own| own.len() >= MAX_FAMILIES_PER_USER)
            .and_then(VecDeque::front)
        {
            evicted += usize::from(self.end(*oldest).is_some());
        }
        if self.families.len() >= MAX_FAMILIES
            && let Some((_, first)) = self.by_expiry.first().copied()
        {
            evicted += usize::from(self.end(first).is_some());
        }
        self.by_user
            .entry(subject.user_id.clone())
            .or_default()
            .push_back(id);
        self.by_hash.insert(refresh.hash, id);
        self.by_expiry.insert((refresh.expires_at, id));
        let family = Family {
            subject,
            current: refresh,
            previous: None,
            spent: VecDeque::new(),
            access_until: refresh.access_until,
        };
        self.families.insert(id, family);
        evicted
    }

    /// Spends a token for its successor.
    pub(super) fn rotate(&mut self, rotation: &Rotation, now: Timestamp) -> Result<Rotated, Refused> {
        self.purge(now);
        let Rotation {
            presented,
            device_id,
            successor,
        } = rotation;
        let unknown = Refused::Plainly(AuthError::RefreshUnknown);
        let Some(id) = self.by_hash.get(presented).copied() else {
            return Err(unknown);
        };
        let Some(family) = self.families.get_mut(&id) else {
            return Err(unknown);
        };
        let same_device = device_id
            .as_deref()
            .is_none_or(|device| device == family.subject.device_id.as_str());
        if family.current.hash == *presented {
            if !same_device {
                return Err(Refused::Plainly(AuthError::WrongDevice));
            }
            if family.current.expires_at <= now {
                return Err(Refused::Plainly(AuthError::RefreshExpired));
            }
            family.previous = Some((*presented, now));
        } else {
            let repeated = family.previous.is_some_and(|(hash, spent_at)| {
                // A clock that was set back must not make the window longer.
                hash == *presented && spent_at <= now && now.saturating_since(spent_at) <= REPEAT_WINDOW
            });
            if !repeated || !same_device {
                let ended = self.end(id).ok_or(unknown)?;
                return Err(Refused::Reused(id, ended));
            }
            // `current` is unused, or it would not be current: the new successor takes its place and voids it.
        }
        let replaced = std::mem::replace(&mut family.current, *successor);
        family.access_until = family.access_until.max(successor.access_until);
        family.spent.push_back(replaced.hash);
        if family.spent.len() > MAX_SPENT
            && let Some(oldest) = family.spent.pop_front()
        {
            self.by_hash.remove(&oldest);
        }
        let subject = family.subject.clone();
        self.by_hash.insert(successor.hash, id);
        self.by_expiry.remove(&(replaced.expires_at, id));
        self.by_expiry.insert((successor.expires_at, id));
        Ok(Rotated { family: id, subject })
    }

    /// Ends a family: none of its tokens is known any more.
    pub(super) fn end(&mut self, id: FamilyId) -> Option<Ended> {
        let family = self.families.remove(&id)?;
        self.by_expiry.remove(&(family.current.expires_at, id));
        for hash in family.spent.iter().chain([&family.current.hash]) {
            self.by_hash.remove(hash);
        }
        if let Some(own) = self.by_user.get_mut(&family.subject.user_id) {
            own.retain(|other| *other != id);
            if own.is_empty() {
                self.by_user.remove(&family.subject.user_id);
            }
        }
        Some(Ended {
            subject: family.subject,
            access_until: family.access_until,
        })
    }

    fn purge(&mut self, now: Timestamp) {
        while let Some((expiry, id)) = self.by_expiry.first().copied() {
            if expiry.plus(KEEP_EXPIRED) > now {
                return;
            }
            self.by_expiry.pop_first();
            self.end(id);
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
