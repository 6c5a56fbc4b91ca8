//! A value kept in a fixed number of mutexes, chosen by key, so that users do not wait for each other.
//!
//! The lock is held for a closure only and so never across an await.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A power of two, and some times the number of cores.
const SHARDS: usize = 64;

/// See the module.
pub(crate) struct Sharded<T> {
    shards: Box<[Mutex<T>]>,
    hasher: RandomState,
}

/// Locks, and goes on after a panic of another holder: the guarded state is changed in steps that each leave it whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Sharded<T> {
    pub(crate) const COUNT: usize = SHARDS;

    pub(crate) fn new(mut make: impl FnMut() -> T) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(make())).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The shard of `key`, locked.
    pub(crate) fn of<K: Hash + ?Sized>(&self, key: &K) -> MutexGuard<'_, T> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[index])
    }

    /// All shards, each locked while it is looked at.
    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }

    /// One shard by number, for walks that pause between shards.
    pub(crate) fn nth(&self, index: usize) -> MutexGuard<'_, T> {
        lock(&self.shards[index % SHARDS])
    }
}
