//! The offline box: pushes that no device of their user took, until one does.
//!
//! Idempotent by user and push id: what is in the box, or was delivered a short while ago, is not put in
//! again, since the gateway repeats a call whose answer it lost. A box keeps 10,000 pushes; past that the
//! oldest goes and is counted. All boxes together have a byte limit; past that the call is refused, so that
//! whoever asked knows.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Mutex,
};

use gateway_codec::proto::gateway::Push;
use metrics::Counter;
use prost::Message as _;

use crate::store::held;

const MOST_PER_USER: usize = 10_000;
const MOST_BYTES: usize = 512 << 20;
/// Delivered ids remembered per user.
const MOST_DELIVERED: usize = 128;
/// Users with a box.
const MOST_BOXES: usize = 2_000_000;
/// Pushes in one answer.
const PAGE: usize = 1_000;
/// Bytes in one answer: gRPC clients take 4 MiB by default.
const PAGE_BYTES: usize = 3 << 20;

/// All boxes together hold as much as they may.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the offline boxes are full")]
pub(crate) struct Full;

#[derive(Default)]
struct OfflineBox {
    waiting: VecDeque<Push>,
    ids: HashSet<String>,
    delivered: VecDeque<String>,
}

#[derive(Default)]
struct Inner {
    boxes: HashMap<String, OfflineBox>,
    bytes: usize,
}

/// The boxes of all users.
pub(crate) struct OfflineBoxes {
    inner: Mutex<Inner>,
    dropped: Counter,
    most: usize,
}

impl Default for OfflineBoxes {
    fn default() -> Self {
        Self::bounded(MOST_PER_USER)
    }
}

impl OfflineBoxes {
    fn bounded(most: usize) -> Self {
        let dropped = metrics::counter!("mock_service_offline_dropped_total");
        Self {
            inner: Mutex::default(),
            dropped,
            most,
        }
    }

    /// Puts a push at the end of a user's box, once per push id.
    pub(crate) fn record(&self, user: &str, push: Push) -> Result<(), Full> {
        let mut inner = held(&self.inner);
        let size = push.encoded_len();
        if inner.bytes + size > MOST_BYTES
            || (inner.boxes.len() >= MOST_BOXES && !inner.boxes.contains_key(user))
        {
            return Err(Full);
        }
        let inner = &mut *inner;
        let own = inner.boxes.entry(user.to_owned()).or_default();
        if own.delivered.contains(&push.push_id) || !own.ids.insert(push.push_id.clone()) {
            return Ok(());
        }
        inner.bytes += size;
        own.waiting.push_back(push);
        if own.waiting.len() > self.most
            && let Some(oldest) = own.waiting.pop_front()
        {
            own.ids.remove(&oldest.push_id);
            inner.bytes = inner.bytes.saturating_sub(oldest.encoded_len());
            self.dropped.increment(1);
        }
        Ok(())
    }

    /// What waits for a user, oldest first, at most 1,000 pushes and 3 MiB; `true`: there are more.
    pub(crate) fn waiting(&self, user: &str) -> (Vec<Push>, bool) {
        let inner = held(&self.inner);
        let Some(own) = inner.boxes.get(user) else {
            return (Vec::new(), false);
        };
        let mut bytes = 0;
        let mut page = Vec::new();
        for push in own.waiting.iter().take(PAGE) {
            bytes += push.encoded_len();
            if !page.is_empty() && bytes > PAGE_BYTES {
                break;
            }
            page.push(push.clone());
        }
        let more = page.len() < own.waiting.len();
        (page, more)
    }

    /// Takes delivered pushes out; ids that are not there are remembered all the same, because a delivery may
    /// overtake the record of the same push.
    pub(crate) fn delivered(&self, user: &str, push_ids: &[String]) {
        let mut inner = held(&self.inner);
        let inner = &mut *inner;
        if inner.boxes.len() >= MOST_BOXES && !inner.boxes.contains_key(user) {
            return;
        }
        let own = inner.boxes.entry(user.to_owned()).or_default();
        let gone: HashSet<&str> = push_ids.iter().map(String::as_str).collect();
        own.waiting.retain(|push| {
            let stays = !gone.contains(push.push_id.as_str());
            if !stays {
                inner.bytes = inner.bytes.saturating_sub(push.encoded_len());
            }
            stays
        });
        for id in push_ids {
            own.ids.remove(id);
            if !own.delivered.contains(id) {
                own.delivered.push_back(id.clone());
            }
            if own.delivered.len() > MOST_DELIVERED {
                own.delivered.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(id: usize) -> Push {
        Push {
            push_id: id.to_string(),
            ..Push::default()
        }
    }

    fn ids(boxes: &OfflineBoxes) -> Vec<String> {
        boxes
            .waiting("bob")
            .0
            .into_iter()
            .map(|push| push.push_id)
            .collect()
    }

    #[test]
    fn a_push_is_kept_once_and_not_again_after_its_delivery() {
        let boxes = OfflineBoxes::default();
        for id in [1, 2, 1, 3] {
            boxes.record("bob", push(id)).unwrap();
        }
        assert_eq!(ids(&boxes), ["1", "2", "3"]);
        boxes.delivered("bob", &["1".into(), "3".into(), "9".into()]);
        for id in [1, 9] {
            boxes.record("bob", push(id)).unwrap();
        }
        assert_eq!(ids(&boxes), ["2"]);
    }

    #[test]
    fn a_full_box_loses_its_oldest() {
        let boxes = OfflineBoxes::bounded(2);
        for id in 1..=3 {
            boxes.record("bob", push(id)).unwrap();
        }
        assert_eq!(ids(&boxes), ["2", "3"]);
    }

    #[test]
    fn a_page_holds_a_thousand_and_says_that_there_are_more() {
        let boxes = OfflineBoxes::default();
        for id in 0..1_001 {
            boxes.record("bob", push(id)).unwrap();
        }
        let (page, more) = boxes.waiting("bob");
        assert_eq!((page.len(), more), (1_000, true));
        boxes.delivered(
            "bob",
            &page.into_iter().map(|push| push.push_id).collect::<Vec<_>>(),
        );
        assert_eq!(boxes.waiting("bob").0.len(), 1);
    }

    #[test]
    fn a_page_of_large_pushes_fits_one_grpc_message() {
        let boxes = OfflineBoxes::default();
        for id in 0..100 {
            boxes
                .record(
                    "bob",
                    Push {
                        content: "x".repeat(64 << 10),
                        ..push(id)
                    },
                )
                .unwrap();
        }
        let (page, more) = boxes.waiting("bob");
        assert!(more && page.len() > 40 && page.len() < 50);
    }
}
