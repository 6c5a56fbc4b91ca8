//! Friendships and the requests for them.
//!
//! A request is kept while it is pending; answering removes it. A user has at most 5,000 friends and 1,000
//! requests waiting, past which the asker is told so.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use gateway_codec::Code;

use crate::{
    error::ServiceError,
    store::{Ids, held},
};

const MOST_FRIENDS: usize = 5_000;
const MOST_PENDING: usize = 1_000;

/// One side of a friendship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Friendship {
    pub(crate) uid: String,
    pub(crate) id: u64,
    /// Unix milliseconds.
    pub(crate) since: u64,
}

/// A request that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingRequest {
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) message: String,
    /// Unix milliseconds.
    pub(crate) created: u64,
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Waiting(PendingRequest),
    /// The other had asked already, so that both want it.
    Friends(PendingRequest),
}

#[derive(Default)]
struct Inner {
    friends: HashMap<String, BTreeMap<String, Friendship>>,
    pending: HashMap<u64, PendingRequest>,
    /// Request ids by whom they are for, oldest first.
    inbox: HashMap<String, Vec<u64>>,
}

/// All friendships.
#[derive(Default)]
pub(crate) struct Friends {
    inner: Mutex<Inner>,
}

impl Friends {
    /// Asks; the caller has made sure that both users exist and differ.
    pub(crate) fn ask(
        &self,
        from: &str,
        to: &str,
        message: &str,
        ids: &Ids,
        now: u64,
    ) -> Result<Asked, ServiceError> {
        let mut inner = held(&self.inner);
        if inner
            .friends
            .get(from)
            .is_some_and(|friends| friends.contains_key(to))
        {
            return Err(ServiceError::conflict("already friends"));
        }
        if inner.pending_between(from, to).is_some() {
            return Err(ServiceError::conflict("already asked"));
        }
        let request = PendingRequest {
            id: ids.next(now),
            from: from.to_owned(),
            to: to.to_owned(),
            message: message.to_owned(),
            created: now,
        };
        if let Some(id) = inner.pending_between(to, from) {
            inner.befriend(to, from, id, now)?;
            inner.forget(id);
            return Ok(Asked::Friends(request));
        }
        let inbox = inner.inbox.entry(to.to_owned()).or_default();
        if inbox.len() >= MOST_PENDING {
            return Err(ServiceError::new(
                Code::TooManyRequests,
                "too many requests wait for this user",
            ));
        }
        inbox.push(request.id);
        inner.pending.insert(request.id, request.clone());
        Ok(Asked::Waiting(request))
    }

    /// Answers a request that is for `uid`; gives the request back.
    pub(crate) fn answer(
        &self,
        uid: &str,
        id: u64,
        accept: bool,
        now: u64,
    ) -> Result<PendingRequest, ServiceError> {
        let mut inner = held(&self.inner);
        let request = inner
            .pending
            .get(&id)
            .cloned()
            .ok_or_else(|| ServiceError::not_found("no such request"))?;
        if request.to != uid {
            return Err(ServiceError::forbidden("this request is not for you"));
        }
        if accept {
            inner.befriend(&request.from, &request.to, id, now)?;
        }
        inner.forget(id);
        Ok(request)
    }

    /// Requests waiting for `uid`, oldest first.
    pub(crate) fn pending(&self, uid: &str) -> Vec<PendingRequest> {
        let inner = held(&self.inner);
        let ids = inner.inbox.get(uid).map(Vec::as_slice).unwrap_or_default();
        ids.iter()
            .filter_map(|id| inner.pending.get(id))
            .cloned()
            .collect()
    }

    /// Friends of `uid`, ordered by their ids.
    pub(crate) fn of(&self, uid: &str) -> Vec<Friendship> {
        held(&self.inner)
            .friends
            .get(uid)
            .map(|own| own.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Ends a friendship on both sides; 404 where there is none.
    pub(crate) fn remove(&self, uid: &str, friend: &str) -> Result<(), ServiceError> {
        let mut inner = held(&self.inner);
        let mut found = false;
        for (one, other) in [(uid, friend), (friend, uid)] {
            if let Some(own) = inner.friends.get_mut(one) {
                found |= own.remove(other).is_some();
                if own.is_empty() {
                    inner.friends.remove(one);
                }
            }
        }
        if found {
            Ok(())
        } else {
            Err(ServiceError::not_found("no such friend"))
        }
    }
}

impl Inner {
    fn pending_between(&self, from: &str, to: &str) -> Option<u64> {
        let ids = self.inbox.get(to)?;
        ids.iter()
            .copied()
            .find(|id| self.pending.get(id).is_some_and(|request| request.from == from))
    }

    fn befriend(&mut self, one: &str, other: &str, id: u64, now: u64) -> Result<(), ServiceError> {
        if [one, other]
            .iter()
            .any(|uid| self.friends.get(*uid).is_some_and(|f| f.len() >= MOST_FRIENDS))
        {
            return Err(ServiceError::conflict("too many friends"));
        }
        for (own, friend) in [(one, other), (other, one)] {
            let side = Friendship {
                uid: friend.to_owned(),
                id,
                since: now,
            };
            self.friends
                .entry(own.to_owned())
                .or_default()
                .insert(friend.to_owned(), side);
        }
        Ok(())
    }

    fn forget(&mut self, id: u64) {
        if let Some(request) = self.pending.remove(&id)
            && let Some(inbox) = self.inbox.get_mut(&request.to)
        {
            inbox.retain(|other| *other != id);
            if inbox.is_empty() {
                self.inbox.remove(&request.to);
            }
        }
    }
}
