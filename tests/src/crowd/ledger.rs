//! What was promised, what came, and what the two make together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// Messages by sender and receiver, as clients know them.
#[derive(Default)]
pub(super) struct Ledger {
    /// The numbers answered 200.
    promised: HashMap<(u32, u32), Vec<u64>>,
    /// The numbers in the order of their arrival.
    received: HashMap<(u32, u32), Vec<u64>>,
    /// By receiver.
    push_ids: HashMap<u32, HashSet<String>>,
    known_ids: usize,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Account {
    pub promised: usize,
    pub received: usize,
    /// Promised and not received.
    pub lost: Vec<(u32, u32, u64)>,
    /// Came again under the same push id and were dropped by gateway-client.
    pub repeats: u64,
    /// Came again under the same push id to the application.
    pub known_ids: usize,
    /// One message under two push ids.
    pub twice: usize,
    /// Came after a later one of the same sender.
    pub overtaken: usize,
    /// Commands that were refused (not 200), by code.
    pub refused: BTreeMap<u16, u64>,
    /// Commands without an answer, which gateway-client may not send again, by why.
    pub unanswered: BTreeMap<String, u64>,
    /// Commands begun on one connection and answered on a later one.
    pub carried_over: u64,
    pub reconnects: u64,
    /// Clients that were told to stay away, by why.
    pub given_up: BTreeMap<String, u64>,
}

impl Ledger {
    pub(super) fn promise(&mut self, sender: u32, receiver: u32, number: u64) {
        self.promised.entry((sender, receiver)).or_default().push(number);
    }

    /// A push whose content is the sender's number and the message's.
    pub(super) fn take(&mut self, receiver: u32, push: &gateway_client::Push) {
        let ids = self.push_ids.entry(receiver).or_default();
        if !ids.insert(push.push_id.clone()) {
            self.known_ids += 1;
            return;
        }
        let mut words = push.content.split(' ');
        let sender = words.next().and_then(|word| word.parse().ok());
        let number = words.next().and_then(|word| word.parse().ok());
        if let (Some(sender), Some(number)) = (sender, number) {
            self.received.entry((sender, receiver)).or_default().push(number);
        }
    }

    /// What it knows; the rest of the account is the crowd's.
    pub(super) fn account(&self) -> Account {
        let mut account = Account {
            known_ids: self.known_ids,
            ..Account::default()
        };
        for (pair, numbers) in &self.promised {
            account.promised += numbers.len();
            let got: HashSet<u64> = self.received.get(pair).into_iter().flatten().copied().collect();
            let lost = numbers.iter().filter(|number| !got.contains(number));
            account.lost.extend(lost.map(|number| (pair.0, pair.1, *number)));
        }
        for numbers in self.received.values() {
            account.received += numbers.len();
            let distinct: HashSet<_> = numbers.iter().collect();
            account.twice += numbers.len() - distinct.len();
            account.overtaken += numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
        }
        account
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "promised {}, received {}, lost {}, again under a known push id {} (and {} dropped by gateway-client), \
             twice under two {}, overtaken {}, refused {:?}, unanswered {:?}, carried over to a later connection {}, \
             reconnects {}, given up {:?}",
            self.promised,
            self.received,
            self.lost.len(),
            self.known_ids,
            self.repeats,
            self.twice,
            self.overtaken,
            self.refused,
            self.unanswered,
            self.carried_over,
            self.reconnects,
            self.given_up
        )
    }
}
