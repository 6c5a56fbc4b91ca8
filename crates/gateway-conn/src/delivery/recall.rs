//! What nodes remember of a device, and what follows from it for one that has come back.
//!
//! A device may have been on any node, and what its user's other devices took while it was away may have gone over any.
//! So all nodes say what they remember; the one that knows the device's last push and held it last says what was sent to
//! it since, the others what was sent to its user's other devices after that. Times are given as ages, since the nodes'
//! clocks need not agree.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gateway_codec::proto::cluster;
use gateway_codec::{EncodedPush, PushBody, Timestamp};

/// How far the ages that two nodes give for one moment may be apart.
const SKEW: Duration = Duration::from_secs(2);
/// Most bytes of pushes that one node sends another for one device: what a session's outbound queue holds by default.
const MOST_BYTES: usize = 1 << 20;

/// Stands for a push id: its 64-bit FNV-1a. The same on all nodes, and chosen by callers, never by clients.
pub(super) type Mark = u64;

/// The mark of a push id.
pub(super) fn mark(push_id: &str) -> Mark {
    push_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// About the bytes of a push as it is sent, and as it is remembered.
pub(super) fn size(body: &PushBody) -> usize {
    const HEAD: usize = 256;
    HEAD + body.content.len() + body.push_id.len() + body.message_id.len() + body.conversation_id.len()
}

/// A push that was sent to a device.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) mark: Mark,
    /// How long ago.
    pub(super) age: Duration,
    /// `None`: only that there was one.
    pub(super) push: Option<Arc<EncodedPush>>,
}

/// What one node remembers for a device that has come back.
#[derive(Clone, Debug, Default)]
pub(super) struct Recalled {
    /// The node knows the device's last push; how long ago the device left it.
    pub(super) known: Option<Duration>,
    /// Up to the last push, as far as remembered.
    pub(super) had: Vec<Mark>,
    /// What was sent to the device after its last push, in order; empty where that is not known.
    pub(super) missed: Vec<Remembered>,
    /// What was sent to the user's other devices and is for all of them, and to this one where its last push is not known;
    /// in order.
    pub(super) others: Vec<Remembered>,
}

/// What a device gets that has come back.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// In order, each once.
    pub(super) pushes: Vec<Arc<EncodedPush>>,
    /// What is missing.
    pub(super) gap: Option<Gap>,
}

/// What a device that has come back cannot be given out of any memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Forgotten for the sake of a bound.
    forgotten: Vec<Mark>,
    /// There may be more.
    uncounted: bool,
}

impl Gap {
    fn unknown() -> Self {
        Self {
            forgotten: Vec::new(),
            uncounted: true,
        }
    }

    /// Some of it is in the offline box.
    pub(super) fn fill<'a>(&mut self, push_ids: impl Iterator<Item = &'a str>) {
        let found: HashSet<Mark> = push_ids.map(mark).collect();
        self.forgotten.retain(|forgotten| !found.contains(forgotten));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.forgotten.is_empty() && !self.uncounted
    }

    /// As the client is told: 0 where the number is not known.
    pub(super) fn count(&self) -> u64 {
        if self.uncounted {
            0
        } else {
            self.forgotten.len() as u64
        }
    }
}

/// Puts together what the nodes remember. `silent`: one of them did not say. `lost`: how long ago the memory of any node
/// was last lost.
pub(super) fn merge(answers: Vec<Recalled>, silent: bool, lost: Option<Duration>) -> Resumed {
    let (mut others, mut base) = (Vec::new(), None::<(Duration, Vec<Mark>, Vec<Remembered>)>);
    for answer in answers {
        if let Some(left) = answer.known
            && base.as_ref().is_none_or(|(newest, ..)| left < *newest)
        {
            // What another node has sent before is what this one was told of, when the device came to it.
            base = Some((left, answer.had, answer.missed));
        }
        others.extend(answer.others);
    }
    let Some((left, had, missed)) = base else {
        return Resumed {
            pushes: Vec::new(),
            gap: Some(Gap::unknown()),
        };
    };
    // The device may have been on the lost node after it had left the one that knows it.
    let vouched = !silent && lost.is_none_or(|lost| left < lost);
    let spare: HashMap<Mark, Arc<EncodedPush>> = missed
        .iter()
        .chain(&others)
        .filter_map(|other| Some((other.mark, other.push.clone()?)))
        .collect();
    let own: HashSet<Mark> = had
        .iter()
        .copied()
        .chain(missed.iter().map(|one| one.mark))
        .collect();
    let meanwhile = |other: &Remembered| other.age <= left + SKEW && !own.contains(&other.mark);
    let mut all = missed;
    all.extend(others.into_iter().filter(meanwhile));
    // What was sent to the device itself keeps its order.
    all.sort_by_key(|one| std::cmp::Reverse(one.age));
    let mut seen: HashSet<Mark> = had.into_iter().collect();
    let (mut pushes, mut forgotten) = (Vec::new(), Vec::new());
    for one in all {
        if seen.insert(one.mark) {
            match one.push.or_else(|| spare.get(&one.mark).cloned()) {
                Some(push) => pushes.push(push),
                None => forgotten.push(one.mark),
            }
        }
    }
    let gap = Gap {
        forgotten,
        uncounted: !vouched,
    };
    Resumed {
        pushes,
        gap: (!gap.is_closed()).then_some(gap),
    }
}

impl Recalled {
    /// As it is said to another node: of more than a megabyte the oldest pushes are left out.
    pub(super) fn into_answer(self, id: u64) -> cluster::Recalled {
        let mut room = MOST_BYTES;
        let mut written = |all: Vec<Remembered>| {
            let mut written: Vec<_> = all.into_iter().rev().map(|one| one.write(&mut room)).collect();
            written.reverse();
            written
        };
        let missed = written(self.missed);
        cluster::Recalled {
            id,
            known: self.known.is_some(),
            left_ms: self.known.map_or(0, millis),
            had: self.had,
            others: written(self.others),
            missed,
        }
    }

    /// What another node has said; `None` where it holds a push that cannot be made.
    pub(super) fn read(answer: cluster::Recalled) -> Option<Self> {
        let read = |all: Vec<cluster::Remembered>| -> Option<Vec<_>> {
            all.into_iter().map(Remembered::read).collect()
        };
        Some(Self {
            known: answer.known.then(|| Duration::from_millis(answer.left_ms)),
            had: answer.had,
            missed: read(answer.missed)?,
            others: read(answer.others)?,
        })
    }
}

impl Remembered {
    fn write(self, room: &mut usize) -> cluster::Remembered {
        let fits = |push: &Arc<EncodedPush>| {
            let left = room.checked_sub(size(&push.body));
            *room = left.unwrap_or(0);
            left.is_some()
        };
        let push = self.push.filter(fits);
        cluster::Remembered {
            mark: self.mark,
            age_ms: millis(self.age),
            made_at: push.as_ref().map_or(0, |push| push.timestamp().as_millis()),
            push: push.map(|push| (&*push.body).into()),
        }
    }

    fn read(one: cluster::Remembered) -> Option<Self> {
        let push = match one.push {
            Some(push) => {
                let body = PushBody::try_from(push).ok()?;
                let made_at = Timestamp::from_millis(one.made_at);
                Some(Arc::new(EncodedPush::new(body, made_at)))
            }
            None => None,
        };
        Some(Self {
            mark: one.mark,
            age: Duration::from_millis(one.age_ms),
            push,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
