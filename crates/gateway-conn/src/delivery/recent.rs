//! What was pushed lately, for a device that lost its connection and comes back with the last push that it has.
//!
//! Each device that was pushed to has a log: what was given to its connection, in that order, for `resume_window`. One
//! that was never pushed to has none, and one whose log is empty keeps the mark of its last push alone. Everything is
//! bounded: a log in pushes and bytes, all logs together likewise. What goes for the sake of a bound leaves its mark, as
//! long as the number of entries allows, so that what is missing can be counted.
//!
//! The logs are sharded by user. One short lock is taken for each push and session, beneath that of the session's lane:
//! so the order here is the order on the connection.

mod log;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gateway_codec::{DeviceId, EncodedPush, Platform, UserId};
use gateway_config::Delivery as Settings;
use tokio::time::Instant;

use self::log::{DeviceLog, Entry, Room};
use super::recall::{Mark, Recalled, Remembered, mark};
use crate::SessionRecord;
use crate::sharded::Sharded;

/// Entries of a device for each push that it may have: those past it are marks.
const MARKS: usize = 4;

/// See the module.
pub(super) struct Recent {
    shards: Sharded<Shard>,
    window: Duration,
    of_device: Room,
    /// Of one shard.
    in_all: Room,
}

#[derive(Default)]
struct Shard {
    /// A user's devices. None of the lists is empty.
    users: HashMap<UserId, Vec<DeviceLog>>,
    /// What entered the logs, oldest first; what a log has given up before is passed over.
    order: VecDeque<Event>,
    /// How many of these, from the front, have lost their bodies for the sake of all.
    bare: usize,
    bytes: usize,
    last: u64,
    /// When a log was last given up before its time.
    gave_up: Option<Instant>,
}

struct Event {
    at: Instant,
    record: Arc<SessionRecord>,
    what: What,
}

enum What {
    /// The entry of this number.
    Sent(u64),
    /// The session ended.
    Left,
}

impl Recent {
    pub(super) fn new(settings: &Settings) -> Self {
        let shards = Sharded::<Shard>::COUNT;
        Self {
            shards: Sharded::new(Shard::default),
            window: settings.resume_window,
            of_device: Room {
                pushes: settings.resume_pushes_per_device,
                bytes: settings.resume_bytes_per_device,
                entries: settings.resume_pushes_per_device.saturating_mul(MARKS),
            },
            in_all: Room {
                pushes: usize::MAX,
                bytes: settings.resume_bytes.div_ceil(shards),
                entries: settings.resume_pushes.div_ceil(shards),
            },
        }
    }

    /// How long pushes are remembered.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// A push was given to a connection, or would have been had it not ended. `to_all`: it is for every device of the
    /// user. Returns how many pushes were forgotten for it.
    pub(super) fn sent(
        &self,
        record: &Arc<SessionRecord>,
        push: &Arc<EncodedPush>,
        to_all: bool,
        now: Instant,
    ) -> u64 {
        if push.body.push_id.is_empty() {
            return 0;
        }
        let mark = mark(&push.body.push_id);
        let mut shard = self.shards.of(&record.user_id);
        // Before it is entered: one entry over the bound would double the list's memory.
        let mut forgotten = shard.make_room(now, self.window, self.in_all.entries.saturating_sub(1));
        shard.last += 1;
        let entry = Entry {
            number: shard.last,
            mark,
            at: now,
            push: Some((push.body.clone(), push.timestamp())),
            to_all,
            taken: false,
        };
        shard.order.push_back(Event {
            at: now,
            record: record.clone(),
            what: What::Sent(entry.number),
        });
        let room = self.of_device;
        forgotten += shard.change(record, true, |log| log.append(entry, room));
        forgotten + shard.drop_bodies(self.in_all.bytes)
    }

    /// The session has ended: its device is remembered for the window from now on. Returns how many pushes were forgotten
    /// for it.
    pub(super) fn left(&self, record: &Arc<SessionRecord>, now: Instant) -> u64 {
        let mut shard = self.shards.of(&record.user_id);
        let concerns = shard.change(record, false, |log| log.leave(record, now));
        if !concerns {
            return 0;
        }
        let forgotten = shard.make_room(now, self.window, self.in_all.entries.saturating_sub(1));
        shard.order.push_back(Event {
            at: now,
            record: record.clone(),
            what: What::Left,
        });
        forgotten
    }

    /// The device is back on this session and has everything up to this push: what follows is entered anew.
    pub(super) fn restart(&self, record: &Arc<SessionRecord>, last: Mark, now: Instant) {
        self.shards
            .of(&record.user_id)
            .change(record, true, |log| log.restart(record, last, now));
    }

    /// A push that was sent again by reason of this memory has been taken.
    pub(super) fn taken(&self, record: &Arc<SessionRecord>, push_id: &str) {
        let mark = mark(push_id);
        self.shards
            .of(&record.user_id)
            .change(record, false, |log| log.take(mark));
    }

    /// Whether that is so.
    pub(super) fn was_taken(&self, record: &SessionRecord, push_id: &str) -> bool {
        let shard = self.shards.of(&record.user_id);
        let log = shard.log(&record.user_id, &record.device_id, &record.platform);
        log.is_some_and(|log| log.was_taken(mark(push_id)))
    }

    /// What is known here for a device that has everything up to `last`, and since when what was sent to all sessions
    /// has to be added. `broadcast`: it is a broadcast, begun then.
    pub(super) fn recall(
        &self,
        user: &UserId,
        (device, platform): (&DeviceId, &Platform),
        last: Mark,
        broadcast: Option<Instant>,
        now: Instant,
    ) -> (Recalled, Option<Instant>) {
        let shard = self.shards.of(user);
        // A log may have been given up since then, and begun anew.
        let whole = broadcast.filter(|begun| shard.gave_up.is_none_or(|gave_up| gave_up < *begun));
        let ago = |at: Instant| now.saturating_duration_since(at);
        let remembered = |entry: &Entry| Remembered {
            mark: entry.mark,
            age: ago(entry.at),
            push: entry.encodable().map(Arc::new),
        };
        let own = shard.log(user, device, platform);
        let mut recalled = Recalled::default();
        let since = match own.map(|log| (log, log.position(last, whole))) {
            Some((log, Some((position, at)))) => {
                recalled.known = Some(log.left.map_or(Duration::ZERO, ago));
                recalled.had = log.entries().take(position).map(|entry| entry.mark).collect();
                recalled.missed = log.entries().skip(position).map(remembered).collect();
                Some(at)
            }
            Some((_, None)) => None,
            // Nothing but broadcasts was sent to it.
            None => {
                recalled.known = whole.map(ago);
                whole
            }
        };
        let is_known = recalled.known.is_some();
        let mut others: Vec<_> = shard
            .users
            .get(user)
            .into_iter()
            .flatten()
            .flat_map(|log| {
                let is_own = log.is_of(device, platform);
                log.entries()
                    .filter(move |entry| if is_own { !is_known } else { entry.to_all })
            })
            .collect();
        others.sort_by_key(|entry| entry.number);
        recalled.others = others.into_iter().map(remembered).collect();
        (recalled, since)
    }

    /// Forgets what is over its time; returns how many entries there are.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        self.shards
            .each()
            .map(|mut shard| {
                shard.make_room(now, self.window, self.in_all.entries);
                shard.order.len()
            })
            .sum()
    }
}

impl Shard {
    fn log(&self, user: &UserId, device: &DeviceId, platform: &Platform) -> Option<&DeviceLog> {
        let logs = self.users.get(user)?;
        logs.iter().find(|log| log.is_of(device, platform))
    }

    /// Changes the log of a session's device; `make`: made if there is none.
    fn change<T: Default>(
        &mut self,
        record: &Arc<SessionRecord>,
        make: bool,
        change: impl FnOnce(&mut DeviceLog) -> T,
    ) -> T {
        let logs = match self.users.get_mut(&record.user_id) {
            Some(logs) => logs,
            None if make => self.users.entry(record.user_id.clone()).or_default(),
            None => return T::default(),
        };
        let is_of = |log: &DeviceLog| log.is_of(&record.device_id, &record.platform);
        let place = match logs.iter().position(is_of) {
            Some(place) => place,
            None if make => {
                logs.push(DeviceLog::new(record.clone()));
                logs.len() - 1
            }
            None => return T::default(),
        };
        let log = &mut logs[place];
        let before = log.bytes();
        let result = change(log);
        self.bytes = (self.bytes + log.bytes()).saturating_sub(before);
        result
    }

    /// Forgets what is over its time, then the oldest beyond so many; returns how many pushes before their time.
    fn make_room(&mut self, now: Instant, window: Duration, entries: usize) -> u64 {
        let mut forgotten = 0;
        while let Some(first) = self.order.front() {
            let early = now.saturating_duration_since(first.at) < window;
            if early && self.order.len() <= entries {
                break;
            }
            let Some(event) = self.order.pop_front() else {
                break;
            };
            self.bare = self.bare.saturating_sub(1);
            match event.what {
                What::Sent(number) => {
                    forgotten += self.change(&event.record, false, |log| log.drop_entry(number, early));
                }
                What::Left => self.drop_log(&event, early.then_some(now)),
            }
        }
        forgotten
    }

    /// Forgets the bodies of the oldest pushes beyond so many bytes; returns how many.
    fn drop_bodies(&mut self, bytes: usize) -> u64 {
        let mut forgotten = 0;
        while self.bytes > bytes
            && let Some(event) = self.order.get(self.bare)
        {
            self.bare += 1;
            if let What::Sent(number) = event.what {
                let record = event.record.clone();
                forgotten += self.change(&record, false, |log| log.drop_body(number));
            }
        }
        forgotten
    }

    /// Drops the log of a device that has not come back since.
    fn drop_log(&mut self, left: &Event, gave_up: Option<Instant>) {
        let record = &left.record;
        let Some(logs) = self.users.get_mut(&record.user_id) else {
            return;
        };
        let Some(place) = logs.iter().position(|log| log.has_left(record, left.at)) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(logs.swap_remove(place).bytes());
        if logs.is_empty() {
            self.users.remove(&record.user_id);
        }
        self.gave_up = gave_up.or(self.gave_up);
    }
}

#[cfg(test)]
mod tests;
