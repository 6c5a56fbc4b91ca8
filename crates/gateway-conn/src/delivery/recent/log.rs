//! What was sent to one device, in order. The oldest entries may be bare: their pushes are forgotten, that there was one
//! is not.

use std::collections::VecDeque;
use std::sync::Arc;

use gateway_codec::{DeviceId, EncodedPush, Platform, PushBody, Timestamp};
use tokio::time::Instant;

use crate::SessionRecord;
use crate::delivery::recall::{Mark, size};

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) pushes: usize,
    pub(super) bytes: usize,
    /// Bare ones included.
    pub(super) entries: usize,
}

/// One push on its device.
pub(super) struct Entry {
    /// In the order of sending, over all devices of a shard.
    pub(super) number: u64,
    pub(super) mark: Mark,
    pub(super) at: Instant,
    /// What was sent, and when it was made: its encoded forms, twice as large, are made anew if they are asked for. `None`:
    /// forgotten for the sake of a bound.
    pub(super) push: Option<(Arc<PushBody>, Timestamp)>,
    /// It is for every device of the user.
    pub(super) to_all: bool,
    /// Sent again out of this memory, and taken then.
    pub(super) taken: bool,
}

impl Entry {
    fn size(&self) -> usize {
        self.push.as_ref().map_or(0, |(body, _)| size(body))
    }

    /// The push, to be sent again.
    pub(super) fn encodable(&self) -> Option<EncodedPush> {
        let (body, made_at) = self.push.clone()?;
        Some(EncodedPush::new(body, made_at))
    }
}

/// Room to grow for a list of so many.
fn spare(entries: usize) -> usize {
    entries / 4 + 2
}

/// See the module.
pub(super) struct DeviceLog {
    /// The device's newest session, as far as it is known here.
    record: Arc<SessionRecord>,
    /// When that ended.
    pub(super) left: Option<Instant>,
    entries: VecDeque<Entry>,
    /// Bare entries: all at the front.
    bare: usize,
    bytes: usize,
    /// The push before the first entry, and when it was sent.
    before: Option<(Mark, Instant)>,
    /// When the last entry was sent that went before its time.
    trimmed: Option<Instant>,
}

impl DeviceLog {
    pub(super) fn new(record: Arc<SessionRecord>) -> Self {
        Self {
            record,
            left: None,
            entries: VecDeque::new(),
            bare: 0,
            bytes: 0,
            before: None,
            trimmed: None,
        }
    }

    pub(super) fn is_of(&self, device: &DeviceId, platform: &Platform) -> bool {
        self.record.device_id == *device && self.record.platform == *platform
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Adds an entry; returns how many pushes were forgotten for it.
    pub(super) fn append(&mut self, entry: Entry, room: Room) -> u64 {
        self.bytes += entry.size();
        if self.entries.len() == self.entries.capacity() {
            // A fifth of spare room instead of half: there are as many lists as devices.
            self.entries.reserve_exact(spare(self.entries.len()));
        }
        self.entries.push_back(entry);
        let mut forgotten = 0;
        while self.entries.len() - self.bare > room.pushes
            || (self.bytes > room.bytes && self.entries.len() - self.bare > 1)
        {
            forgotten += self.drop_first_body();
        }
        if self.entries.len() > room.entries
            && let Some(first) = self.entries.front()
        {
            forgotten += self.drop_entry(first.number, true);
        }
        forgotten
    }

    fn drop_first_body(&mut self) -> u64 {
        let Some((body, _)) = self
            .entries
            .get_mut(self.bare)
            .and_then(|entry| entry.push.take())
        else {
            return 0;
        };
        self.bytes -= size(&body);
        self.bare += 1;
        1
    }

    /// Forgets the push of this number, and those before it.
    pub(super) fn drop_body(&mut self, number: u64) -> u64 {
        let mut forgotten = 0;
        while self
            .entries
            .get(self.bare)
            .is_some_and(|entry| entry.number <= number)
        {
            forgotten += self.drop_first_body();
        }
        forgotten
    }

    /// Takes out the entry of this number, and those before it; `early`: before their time. Returns how many pushes were
    /// forgotten before their time.
    pub(super) fn drop_entry(&mut self, number: u64, early: bool) -> u64 {
        let mut forgotten = 0;
        while self.entries.front().is_some_and(|entry| entry.number <= number)
            && let Some(entry) = self.entries.pop_front()
        {
            match entry.push {
                Some((body, _)) => {
                    self.bytes -= size(&body);
                    forgotten += u64::from(early);
                }
                None => self.bare -= 1,
            }
            if early {
                self.trimmed = Some(entry.at);
            }
            self.before = Some((entry.mark, entry.at));
        }
        let needed = self.entries.len();
        if needed == 0 {
            self.entries = VecDeque::new();
        } else if self.entries.capacity() > 2 * (needed + spare(needed)) {
            self.entries.shrink_to(needed + spare(needed));
        }
        forgotten
    }

    /// The session has ended. False: the device has a newer one.
    pub(super) fn leave(&mut self, record: &Arc<SessionRecord>, now: Instant) -> bool {
        if self.record.epoch > record.epoch {
            return false;
        }
        self.record = record.clone();
        self.left = Some(now);
        true
    }

    /// Whether this session was the last and ended then.
    pub(super) fn has_left(&self, record: &SessionRecord, at: Instant) -> bool {
        self.left == Some(at) && self.record.session_id == record.session_id
    }

    /// A new session that has everything up to `last`: what follows it in here is taken out.
    pub(super) fn restart(&mut self, record: &Arc<SessionRecord>, last: Mark, now: Instant) {
        self.record = record.clone();
        self.left = None;
        let keep = match self.position(last, None) {
            Some((position, _)) => position,
            None => {
                self.before = Some((last, now));
                0
            }
        };
        for entry in self.entries.drain(keep..) {
            self.bytes -= entry.size();
        }
        self.bare = self.bare.min(keep);
    }

    /// How many entries the device has if this is its last push, and when that was sent; `None` where that cannot be told.
    /// Of a broadcast, which is in no log, the time tells it.
    pub(super) fn position(&self, last: Mark, broadcast: Option<Instant>) -> Option<(usize, Instant)> {
        if let Some(place) = self.entries.iter().rposition(|entry| entry.mark == last) {
            return Some((place + 1, self.entries[place].at));
        }
        if let Some((_, at)) = self.before.filter(|(before, _)| *before == last) {
            return Some((0, at));
        }
        let begun = broadcast.filter(|begun| self.trimmed.is_none_or(|trimmed| trimmed < *begun))?;
        Some((self.entries.partition_point(|entry| entry.at <= begun), begun))
    }

    pub(super) fn take(&mut self, mark: Mark) {
        if let Some(entry) = self.entries.iter_mut().rfind(|entry| entry.mark == mark) {
            entry.taken = true;
        }
    }

    pub(super) fn was_taken(&self, mark: Mark) -> bool {
        self.entries.iter().any(|entry| entry.taken && entry.mark == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{new_session, record};

    #[test]
    fn a_list_has_little_spare_room_and_gives_back_what_it_had() {
        let room = Room {
            pushes: usize::MAX,
            bytes: usize::MAX,
            entries: usize::MAX,
        };
        let mut log = DeviceLog::new(record(new_session("alice", "d", "web"), 1));
        for number in 1..=1_000 {
            let entry = Entry {
                number,
                mark: number,
                at: Instant::now(),
                push: None,
                to_all: true,
                taken: false,
            };
            log.append(entry, room);
            log.bare += 1;
            let (held, capacity) = (log.entries.len(), log.entries.capacity());
            assert!(capacity <= held + spare(held), "{capacity} for {held}");
        }
        log.drop_entry(900, false);
        assert!(log.entries.capacity() <= 2 * (100 + spare(100)));
    }
}
