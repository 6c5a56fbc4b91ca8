//! The sessions bound on this node, and the way in and out of them.
//!
//! The store decides who is bound; the registry holds the connections and makes the store's decisions true: whoever a
//! login displaced is told and closed. A session can be displaced while its own bind is still coming back from the
//! store. It stands in the directory as "binding" before the store is asked, so that whoever displaces it finds it there
//! and leaves a mark, and it ends instead of becoming live.

mod directory;
mod ends;
mod live;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use gateway_codec::{DeviceId, NodeId, Notice, Platform, SessionId, Timestamp, UserId};
use gateway_config::{DevicePolicy, Platforms};

use self::directory::Directory;
use self::ends::Ends;
pub use self::live::Live;
use crate::cluster::Hints;
use crate::metrics::RegistryMetrics;
use crate::store::{BindAttempt, Page, Renewal, SessionStore, Standing};
use crate::{
    BindError, KickKind, NewSession, PolicyError, PolicyTable, Selector, SessionLink, SessionRecord,
    StoreError,
};

/// What a displaced client is shown.
const REPLACED: &str = "replaced by a newer login";

/// Sessions compared with the store in one step.
const RENEWED_AT_ONCE: usize = 128;

/// Counts of this node's bound sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bound sessions.
    pub total: usize,
    /// Bound sessions by platform; none is listed with 0.
    pub by_platform: BTreeMap<Platform, usize>,
    /// Users with a bound session.
    pub unique_users: usize,
}

/// See the module. Share it by `Arc`.
pub struct Registry {
    store: Arc<dyn SessionStore>,
    node: NodeId,
    policies: RwLock<Arc<PolicyTable>>,
    directory: Directory,
    /// Where there are other nodes.
    hints: Option<Hints>,
    ends: Ends,
    metrics: RegistryMetrics,
}

impl Registry {
    /// As [`new`](Self::new), one node of several: sessions of others that are ended here are ended there at once.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_hints(
        store: Arc<dyn SessionStore>,
        node: NodeId,
        platforms: &Platforms,
        hints: Hints,
    ) -> Result<Self, PolicyError> {
        let mut registry = Self::new(store, node, platforms)?;
        registry.hints = Some(hints);
        Ok(registry)
    }

    /// A registry without sessions.
    ///
    /// # Errors
    /// [`PolicyError`] for a policy table that cannot be used.
    pub fn new(
        store: Arc<dyn SessionStore>,
        node: NodeId,
        platforms: &Platforms,
    ) -> Result<Self, PolicyError> {
        Ok(Self {
            store,
            node,
            policies: RwLock::new(Arc::new(PolicyTable::new(platforms)?)),
            directory: Directory::new(),
            hints: None,
            ends: Ends::default(),
            metrics: RegistryMetrics::new(),
        })
    }

    /// Binds a session: from now on it is found by its user, and those that it displaces are not.
    ///
    /// Displaced sessions get the notice `kicked` and close 4410; with `notify_on_new_login` the user's other sessions,
    /// on all platforms, get `new_login`. Pushes to the new session are held until [`Delivery::bound`] is called.
    ///
    /// Drive it to its end, whatever happens to the connection meanwhile, and [`unbind`](Self::unbind) then: a bind that
    /// is dropped half way may leave its record in the store. With the embedded store it never waits.
    ///
    /// # Errors
    /// [`BindError`]. With [`BindError::Displaced`] the connection has been told and closed already.
    ///
    /// [`Delivery::bound`]: crate::Delivery::bound
    pub async fn bind(
        &self,
        session: NewSession,
        link: Arc<dyn SessionLink>,
        now: Timestamp,
    ) -> Result<Arc<SessionRecord>, BindError> {
        let result = self.try_bind(session, link, now).await;
        match &result {
            Ok(_) => self.metrics.bound.increment(1),
            Err(error) => self.metrics.bind_failed(error),
        }
        result
    }

    async fn try_bind(
        &self,
        mut session: NewSession,
        link: Arc<dyn SessionLink>,
        now: Timestamp,
    ) -> Result<Arc<SessionRecord>, BindError> {
        let policies = self.policies();
        let Some((platform, policy)) = policies.get(&session.platform) else {
            return Err(BindError::UnknownPlatform);
        };
        session.platform = platform.clone();
        let Some(binding) = self.directory.begin(session.session_id) else {
            return Err(BindError::AlreadyBound);
        };
        let attempt = self.store.bind(session.clone(), &self.node, policy, now).await;
        let (record, mut displaced) = match attempt {
            Ok(BindAttempt::Bound { record, displaced }) => (record, displaced),
            Ok(BindAttempt::Refused) => return Err(BindError::Refused),
            Err(error) => {
                // It may be bound for all we know. What this leaves, if the store is away for longer, runs out.
                let _ = self.store.abandon(&session, now).await;
                return Err(error.into());
            }
        };
        // An earlier bind of this very session, given up half way, is replaced without a word.
        displaced.retain(|old| old.session_id != record.session_id);
        self.end_all(&displaced, KickKind::Replaced, REPLACED, now);
        let live = Arc::new(Live::new(record.clone(), link));
        if let Err(kind) = binding.finish(live.clone()) {
            tell_and_close(&*live.link, kind, reason(kind), now);
            self.metrics.ended(kind);
            return Err(BindError::Displaced(kind));
        }
        self.metrics.live.increment(1);
        if policy.notify_on_new_login {
            self.announce(&record, now);
        }
        Ok(record)
    }

    /// Tells the user's other sessions of a new login.
    fn announce(&self, record: &SessionRecord, now: Timestamp) {
        let mut others = self.live_of(&record.user_id);
        others.retain(|other| other.record.session_id != record.session_id);
        if others.is_empty() {
            return;
        }
        let address = record.address.to_string();
        let notice = Notice::NewLogin {
            device_id: record.device_id.as_str(),
            platform: record.platform.as_str(),
            address: Some(&address),
        };
        for other in others {
            other.link.notice(&notice, now);
        }
    }

    /// The connection is gone: takes this session out, and only this one, here and in the store. Says whether the
    /// store still had it.
    ///
    /// # Errors
    /// [`StoreError`]; on this node the session is gone nevertheless.
    pub async fn unbind(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError> {
        self.forget(record);
        self.store.remove(record, now).await
    }

    /// From now on the session is not found on this node.
    fn forget(&self, record: &SessionRecord) {
        if self.directory.remove(record.session_id).is_some() {
            self.metrics.live.decrement(1);
        }
    }

    /// Ends the selected sessions of a user: notice `kicked` with `reason` (empty: the kind's name), then the kind's
    /// close code. Returns how many the store knew.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was ended then.
    pub async fn kick(
        &self,
        user: &UserId,
        selector: &Selector,
        kind: KickKind,
        reason: &str,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let kicked = self.store.kick(user, selector, kind, now).await?;
        let reason = if reason.is_empty() { kind.text() } else { reason };
        self.end_all(&kicked, kind, reason, now);
        Ok(kicked.len())
    }

    /// Ends sessions that the store has taken out, each on its node.
    fn end_all(&self, records: &[Arc<SessionRecord>], kind: KickKind, reason: &str, now: Timestamp) {
        let mut elsewhere: HashMap<&NodeId, Vec<SessionId>> = HashMap::new();
        for record in records {
            if record.node == self.node {
                self.end(record.session_id, kind, reason, now);
            } else {
                elsewhere.entry(&record.node).or_default().push(record.session_id);
            }
        }
        if let Some(hints) = &self.hints {
            for (node, sessions) in elsewhere {
                hints.ended(node, sessions, kind, reason);
            }
        }
    }

    /// Compares every session of this node with the store: those that somebody ended are closed, those that it has lost
    /// are written again and returned.
    ///
    /// # Errors
    /// [`StoreError`]; some may have been compared.
    pub(crate) async fn renew(&self, now: Timestamp) -> Result<Vec<Arc<Live>>, StoreError> {
        let mut rewritten = Vec::new();
        for part in 0..Directory::PARTS {
            let live = self.directory.part(part);
            for some in live.chunks(RENEWED_AT_ONCE) {
                let policies = self.policies();
                let asked: Vec<_> = some
                    .iter()
                    .filter_map(|live| {
                        let (_, policy) = policies.get(&live.record.platform)?;
                        Some((live.record.clone(), policy.clone()))
                    })
                    .collect();
                let renewals = self.store.renew(&asked, now).await?;
                for ((record, _), renewal) in asked.iter().zip(renewals) {
                    match renewal {
                        // It ended meanwhile: what the renewal has just written beside the truth goes again.
                        Renewal::Current if self.directory.get(record.session_id).is_none() => {
                            self.store.remove(record, now).await?;
                        }
                        Renewal::Current => {}
                        Renewal::Displaced(kind) => self.end(record.session_id, kind, reason(kind), now),
                        Renewal::Rewritten { displaced } => {
                            self.end_all(&displaced, KickKind::Replaced, REPLACED, now);
                            match self.directory.get(record.session_id) {
                                Some(live) => rewritten.push(live),
                                // It was unbound meanwhile, and must not stay.
                                None => drop(self.store.remove(record, now).await?),
                            }
                        }
                    }
                }
            }
        }
        Ok(rewritten)
    }

    /// Takes out some of the sessions of a dead node; returns how many, 0 when there are no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn reap(&self, node: &NodeId, now: Timestamp) -> Result<usize, StoreError> {
        Ok(self.store.reap(node, now).await?.len())
    }

    /// The sessions of many users, as the store knows them, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Arc<SessionRecord>>>, StoreError> {
        self.store.locate(users).await
    }

    /// Ends a session of this node; one that is being bound is marked and ends itself.
    pub(crate) fn end(&self, session: SessionId, kind: KickKind, reason: &str, now: Timestamp) {
        if let Some(live) = self.directory.end(session, kind) {
            self.metrics.live.decrement(1);
            self.metrics.ended(kind);
            tell_and_close(&*live.link, kind, reason, now);
        }
    }

    /// Ends the sessions of a device on this node that are older than one on another node.
    pub(crate) fn end_older(
        &self,
        user: &UserId,
        device: &DeviceId,
        platform: &Platform,
        epoch: u64,
        now: Timestamp,
    ) {
        for live in self.live_of(user) {
            let record = &live.record;
            if record.device_id == *device && record.platform == *platform && record.epoch < epoch {
                self.end(record.session_id, KickKind::Replaced, REPLACED, now);
            }
        }
    }

    /// All sessions of a user, oldest first, as the store knows them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions(&self, user: &UserId) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        self.store.sessions(user).await
    }

    /// A page of the users online. `limit` is brought into 1 to 1,000.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn online(&self, cursor: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.page(cursor, limit).await
    }

    /// Whether the store, asked now, has this session as the one of its device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_current(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.store.standing(record, now).await? == Standing::Current)
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn health(&self) -> Result<(), StoreError> {
        self.store.health().await
    }

    /// Counts of the sessions bound on this node.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.directory.stats()
    }

    /// Sessions bound on this node.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.directory.len()
    }

    /// Swaps the policies whole. Bound sessions stay; the next login is judged by the new ones.
    ///
    /// # Errors
    /// [`PolicyError`]; the old table stays.
    pub fn set_policies(&self, platforms: &Platforms) -> Result<(), PolicyError> {
        let table = Arc::new(PolicyTable::new(platforms)?);
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }

    /// The policy of a platform as it is now.
    #[must_use]
    pub fn policy(&self, platform: &Platform) -> Option<Arc<DevicePolicy>> {
        self.policies().get(platform).map(|(_, policy)| policy.clone())
    }

    /// The node whose sessions these are.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// The bound session of this id on this node.
    #[must_use]
    pub fn live(&self, session: SessionId) -> Option<Arc<Live>> {
        self.directory.get(session)
    }

    /// The user's bound sessions on this node, oldest first.
    #[must_use]
    pub fn live_of(&self, user: &UserId) -> Vec<Arc<Live>> {
        self.directory.of_user(user)
    }

    /// Every bound session of this node, in no order.
    #[must_use]
    pub fn all_live(&self) -> Vec<Arc<Live>> {
        (0..Directory::PARTS)
            .flat_map(|part| self.directory.part(part))
            .collect()
    }

    /// Looks at every bound session of this node, one part of them after another, others running in between.
    pub(crate) async fn each_live(&self, mut look: impl FnMut(&Arc<Live>)) {
        for part in 0..Directory::PARTS {
            for live in self.directory.part(part) {
                look(&live);
            }
            tokio::task::yield_now().await;
        }
    }

    fn policies(&self) -> Arc<PolicyTable> {
        self.policies
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a client is shown where nobody gave a reason.
fn reason(kind: KickKind) -> &'static str {
    match kind {
        KickKind::Replaced => REPLACED,
        other => other.text(),
    }
}

fn tell_and_close(link: &dyn SessionLink, kind: KickKind, reason: &str, now: Timestamp) {
    link.notice(&Notice::Kicked { reason }, now);
    link.close(kind.close_code(), reason);
}

#[cfg(test)]
mod tests;
