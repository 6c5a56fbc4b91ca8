//! The pushes of the last while, so that one asked for twice is made once.
//!
//! Bounded in number and time, whichever ends first; what falls out is made again if it is asked for again, and the
//! client, which knows push ids too, drops it then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gateway_codec::UserId;
use tokio::time::Instant;

use super::flight::Flight;
use crate::sharded::Sharded;

type Key = (UserId, Arc<str>);

fn key_of(flight: &Flight) -> Key {
    (flight.user.clone(), flight.push_id.clone())
}

#[derive(Default)]
struct Window {
    flights: HashMap<Key, Arc<Flight>>,
    /// Oldest first. May hold a flight that another one has taken the place of.
    order: VecDeque<(Instant, Arc<Flight>)>,
}

/// See the module.
pub(crate) struct Dedup {
    windows: Sharded<Window>,
    life: Duration,
    most: usize,
}

impl Dedup {
    pub(crate) fn new(life: Duration, entries: usize) -> Self {
        let most = entries.div_ceil(Sharded::<Window>::COUNT).max(1);
        Self {
            windows: Sharded::new(Window::default),
            life,
            most,
        }
    }

    /// Enters a push, or returns the one it repeats. One that failed is not repeated but tried again.
    pub(crate) fn enter(&self, flight: &Arc<Flight>, now: Instant) -> Option<Arc<Flight>> {
        if flight.push_id.is_empty() {
            return None;
        }
        let key = key_of(flight);
        let mut window = self.windows.of(&key);
        window.forget(now, self.life, usize::MAX);
        if let Some(first) = window.flights.get(&key)
            && !first.has_failed()
        {
            return Some(first.clone());
        }
        window.forget(now, self.life, self.most - 1);
        window.add(key, flight.clone(), now, self.most);
        None
    }
}

impl Window {
    fn add(&mut self, key: Key, flight: Arc<Flight>, now: Instant, most: usize) {
        self.flights.insert(key, flight.clone());
        self.order.push_back((now, flight));
        // What is taken out leaves its mark in a hash table; one that is full of marks doubles, though it holds no more than
        // before. Over all shards that were 4 MiB, come by and by in ten minutes of chat.
        if self.flights.capacity() > 2 * most {
            self.flights.shrink_to(most);
        }
    }

    fn forget(&mut self, now: Instant, life: Duration, most: usize) {
        while self
            .order
            .front()
            .is_some_and(|(entered, _)| now.duration_since(*entered) >= life)
            || self.order.len() > most
        {
            let Some((_, flight)) = self.order.pop_front() else {
                return;
            };
            let key = key_of(&flight);
            if self
                .flights
                .get(&key)
                .is_some_and(|held| Arc::ptr_eq(held, &flight))
            {
                self.flights.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_table_does_not_grow_as_pushes_come_and_go() {
        let most = 1_024;
        let mut window = Window::default();
        let (now, life) = (Instant::now(), Duration::from_secs(120));
        for number in 0..200 * most {
            let user = UserId::parse(&format!("user{}", number % 79)).unwrap();
            let flight = Arc::new(Flight::to_the_box(format!("push-{number}").into(), user));
            window.forget(now, life, most - 1);
            window.add(key_of(&flight), flight, now, most);
        }
        assert_eq!(window.flights.len(), most);
        assert!(
            window.flights.capacity() < 2 * most,
            "{}",
            window.flights.capacity()
        );
    }
}
