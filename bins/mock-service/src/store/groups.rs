//! Groups and who is in them.
//!
//! A group has at most 1,000 members, because one push order names at most that many users. An owner who
//! leaves hands the group to the member who has been in it longest; the last one to leave ends it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use crate::{error::ServiceError, store::held};

const MOST_MEMBERS: usize = 1_000;
const MOST_GROUPS: usize = 100_000;

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) uid: String,
    /// Unix milliseconds.
    pub(crate) joined: u64,
}

/// A group; members are in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) avatar: String,
    pub(crate) owner: String,
    /// Unix milliseconds.
    pub(crate) created: u64,
    pub(crate) members: Vec<Member>,
}

impl Group {
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.members.iter().any(|member| member.uid == uid)
    }
}

/// A group without its members: what lists show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) avatar: String,
    pub(crate) owner: String,
    pub(crate) created: u64,
    pub(crate) members: usize,
}

impl From<&Group> for Summary {
    fn from(group: &Group) -> Self {
        Self {
            id: group.id,
            name: group.name.clone(),
            avatar: group.avatar.clone(),
            owner: group.owner.clone(),
            created: group.created,
            members: group.members.len(),
        }
    }
}

#[derive(Default)]
struct Inner {
    groups: HashMap<u64, Group>,
    of_user: HashMap<String, BTreeSet<u64>>,
}

/// All groups.
#[derive(Default)]
pub(crate) struct Groups {
    inner: Mutex<Inner>,
}

impl Groups {
    /// Adds a group whose members are set already.
    pub(crate) fn create(&self, group: Group) -> Result<(), ServiceError> {
        let mut inner = held(&self.inner);
        if inner.groups.len() >= MOST_GROUPS {
            return Err(ServiceError::unavailable("no room for further groups"));
        }
        if group.members.len() > MOST_MEMBERS {
            return Err(ServiceError::bad("a group has at most 1000 members"));
        }
        for member in &group.members {
            inner
                .of_user
                .entry(member.uid.clone())
                .or_default()
                .insert(group.id);
        }
        inner.groups.insert(group.id, group);
        Ok(())
    }

    pub(crate) fn get(&self, id: u64) -> Result<Group, ServiceError> {
        held(&self.inner).groups.get(&id).cloned().ok_or_else(no_group)
    }

    pub(crate) fn exists(&self, id: u64) -> bool {
        held(&self.inner).groups.contains_key(&id)
    }

    /// The other members, for one who is in the group; 404 no group, 403 not a member.
    pub(crate) fn others(&self, id: u64, uid: &str) -> Result<Vec<String>, ServiceError> {
        let inner = held(&self.inner);
        let group = inner.groups.get(&id).ok_or_else(no_group)?;
        if !group.has(uid) {
            return Err(not_a_member());
        }
        Ok(group
            .members
            .iter()
            .filter(|member| member.uid != uid)
            .map(|member| member.uid.clone())
            .collect())
    }

    /// Whether `uid` may read the group; errors as [`Groups::others`].
    pub(crate) fn admits(&self, id: u64, uid: &str) -> Result<(), ServiceError> {
        let inner = held(&self.inner);
        let group = inner.groups.get(&id).ok_or_else(no_group)?;
        if group.has(uid) {
            Ok(())
        } else {
            Err(not_a_member())
        }
    }

    pub(crate) fn join(&self, id: u64, uid: &str, now: u64) -> Result<(), ServiceError> {
        let mut inner = held(&self.inner);
        let group = inner.groups.get_mut(&id).ok_or_else(no_group)?;
        if group.has(uid) {
            return Err(ServiceError::conflict("already a member"));
        }
        if group.members.len() >= MOST_MEMBERS {
            return Err(ServiceError::conflict("the group is full"));
        }
        group.members.push(Member {
            uid: uid.to_owned(),
            joined: now,
        });
        inner.of_user.entry(uid.to_owned()).or_default().insert(id);
        Ok(())
    }

    pub(crate) fn leave(&self, id: u64, uid: &str) -> Result<(), ServiceError> {
        let mut inner = held(&self.inner);
        let group = inner.groups.get_mut(&id).ok_or_else(no_group)?;
        if !group.has(uid) {
            return Err(not_a_member());
        }
        group.members.retain(|member| member.uid != uid);
        match group.members.first() {
            None => {
                inner.groups.remove(&id);
            }
            Some(eldest) if group.owner == uid => group.owner = eldest.uid.clone(),
            Some(_) => {}
        }
        if let Some(own) = inner.of_user.get_mut(uid) {
            own.remove(&id);
            if own.is_empty() {
                inner.of_user.remove(uid);
            }
        }
        Ok(())
    }

    /// Groups of a user, the oldest first.
    pub(crate) fn of(&self, uid: &str) -> Vec<Summary> {
        let inner = held(&self.inner);
        let ids = inner.of_user.get(uid).into_iter().flatten();
        ids.filter_map(|id| inner.groups.get(id))
            .map(Summary::from)
            .collect()
    }

    /// Groups whose name contains `keyword` in any case, or whose id it is; the oldest first.
    pub(crate) fn search(&self, keyword: &str, limit: usize) -> Vec<Summary> {
        let wanted = keyword.to_lowercase();
        let inner = held(&self.inner);
        let mut found: Vec<Summary> = inner
            .groups
            .values()
            .filter(|group| group.name.to_lowercase().contains(&wanted) || group.id.to_string() == keyword)
            .map(Summary::from)
            .collect();
        drop(inner);
        found.sort_unstable_by_key(|group| group.id);
        found.truncate(limit);
        found
    }
}

fn no_group() -> ServiceError {
    ServiceError::not_found("no such group")
}

fn not_a_member() -> ServiceError {
    ServiceError::forbidden("not a member of this group")
}
