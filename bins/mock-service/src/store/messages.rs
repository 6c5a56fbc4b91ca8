//! The history of conversations, direct and of groups.
//!
//! Bounded as a whole: past a million messages or 256 MiB of content the oldest message of all goes, whoever's
//! it is, and is counted. Times within the store never fall, so that pages can be cut by binary search.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use metrics::Counter;

use crate::store::{Ids, Page, held};

const MOST_MESSAGES: usize = 1_000_000;
const MOST_BYTES: usize = 256 << 20;
/// Content of one page, in bytes: a page has to fit a message of a client that takes 1 MiB.
const PAGE_BYTES: usize = 512 << 10;

/// Which conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Conversation {
    /// Two users in the order of their ids, so that both mean the same.
    Direct(Arc<str>, Arc<str>),
    Group(u64),
}

impl Conversation {
    pub(crate) fn direct(one: &str, other: &str) -> Self {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        Self::Direct(first.into(), second.into())
    }
}

/// A message before it has its place: who says what to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) sender: String,
    /// The peer's user id, or the group id in digits.
    pub(crate) receiver: String,
    pub(crate) content: String,
    /// `im.message.MessageType`.
    pub(crate) kind: i32,
    pub(crate) at_uids: String,
    pub(crate) ext: String,
}

/// One message of the history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) draft: Draft,
    /// Unix milliseconds.
    pub(crate) created: u64,
}

#[derive(Default)]
struct Inner {
    conversations: HashMap<Conversation, VecDeque<Arc<Message>>>,
    /// Conversations by the age of their messages, the oldest first.
    ages: VecDeque<Conversation>,
    bytes: usize,
    last_created: u64,
}

/// All conversations.
pub(crate) struct Messages {
    inner: Mutex<Inner>,
    dropped: Counter,
    most: usize,
}

impl Default for Messages {
    fn default() -> Self {
        Self::bounded(MOST_MESSAGES)
    }
}

impl Messages {
    fn bounded(most: usize) -> Self {
        let dropped = metrics::counter!("mock_service_history_dropped_total");
        Self {
            inner: Mutex::default(),
            dropped,
            most,
        }
    }

    /// Keeps a message; the id is made under the lock, so that ids and places agree.
    pub(crate) fn append(&self, to: Conversation, draft: Draft, ids: &Ids, now: u64) -> Arc<Message> {
        let mut inner = held(&self.inner);
        let created = now.max(inner.last_created);
        inner.last_created = created;
        let message = Arc::new(Message {
            id: ids.next(created),
            draft,
            created,
        });
        inner.bytes += message.draft.content.len();
        inner.ages.push_back(to.clone());
        inner
            .conversations
            .entry(to)
            .or_default()
            .push_back(Arc::clone(&message));
        while inner.ages.len() > self.most || inner.bytes > MOST_BYTES {
            inner.drop_oldest();
            self.dropped.increment(1);
        }
        message
    }

    /// A page, oldest first: the newest within the bounds, or with `since` the first ones after it. Shorter
    /// than asked where the content would pass 512 KiB; never empty while there is something to give.
    pub(crate) fn page(&self, of: &Conversation, page: Page) -> Vec<Arc<Message>> {
        let inner = held(&self.inner);
        let Some(messages) = inner.conversations.get(of) else {
            return Vec::new();
        };
        let start = messages.partition_point(|message| message.created <= page.since);
        let end = messages
            .partition_point(|message| message.created < page.before)
            .max(start);
        let mut bytes = 0;
        let mut fits = |message: &&Arc<Message>| {
            let first = bytes == 0;
            bytes += message.draft.content.len();
            first || bytes <= PAGE_BYTES
        };
        if page.since > 0 {
            return messages
                .range(start..end)
                .take(page.limit)
                .take_while(&mut fits)
                .cloned()
                .collect();
        }
        let mut newest: Vec<_> = messages
            .range(start..end)
            .rev()
            .take(page.limit)
            .take_while(&mut fits)
            .cloned()
            .collect();
        newest.reverse();
        newest
    }
}

impl Inner {
    fn drop_oldest(&mut self) {
        let Some(conversation) = self.ages.pop_front() else {
            self.bytes = 0;
            return;
        };
        if let Some(messages) = self.conversations.get_mut(&conversation) {
            if let Some(message) = messages.pop_front() {
                self.bytes = self.bytes.saturating_sub(message.draft.content.len());
            }
            if messages.is_empty() {
                self.conversations.remove(&conversation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(content: &str) -> Draft {
        Draft {
            content: content.to_owned(),
            ..Draft::default()
        }
    }

    fn contents(messages: &[Arc<Message>]) -> Vec<&str> {
        messages
            .iter()
            .map(|message| message.draft.content.as_str())
            .collect()
    }

    #[test]
    fn pages_are_oldest_first_and_cut_by_time() {
        let (messages, ids) = (Messages::default(), Ids::default());
        let talk = Conversation::direct("bob", "alice");
        for (at, text) in [(10, "a"), (20, "b"), (30, "c")] {
            messages.append(talk.clone(), draft(text), &ids, at);
        }
        let same = Conversation::direct("alice", "bob");
        assert_eq!(
            contents(&messages.page(&same, Page::clamped(0, 0, 2))),
            ["b", "c"]
        );
        assert_eq!(
            contents(&messages.page(&same, Page::clamped(0, 30, 9))),
            ["a", "b"]
        );
        assert_eq!(contents(&messages.page(&same, Page::clamped(10, 0, 1))), ["b"]);
        assert!(
            messages
                .page(&Conversation::Group(1), Page::clamped(0, 0, 9))
                .is_empty()
        );
    }

    #[test]
    fn the_oldest_message_of_all_goes_when_the_store_is_full() {
        let (messages, ids) = (Messages::bounded(2), Ids::default());
        let (one, two) = (Conversation::Group(1), Conversation::Group(2));
        messages.append(one.clone(), draft("a"), &ids, 1);
        messages.append(two.clone(), draft("b"), &ids, 2);
        messages.append(two.clone(), draft("c"), &ids, 3);
        assert!(messages.page(&one, Page::clamped(0, 0, 9)).is_empty());
        assert_eq!(contents(&messages.page(&two, Page::clamped(0, 0, 9))), ["b", "c"]);
    }

    #[test]
    fn a_page_stays_under_its_byte_limit_but_is_never_empty() {
        let (messages, ids) = (Messages::default(), Ids::default());
        let talk = Conversation::Group(1);
        for _ in 0..20 {
            messages.append(talk.clone(), draft(&"x".repeat(64 << 10)), &ids, 1);
        }
        assert_eq!(messages.page(&talk, Page::clamped(0, 0, 1_000)).len(), 8);
    }
}
