//! The timing wheel of one worker: buckets of one tick, an entry per connection, no timer of the
//! runtime per connection.
//!
//! Re-insertion is lazy: a deadline that moves further away leaves its entry where it is, and the
//! owner looks again when it comes up. One that moves nearer gets a second entry; the owner's own
//! note of where its entry is makes the older one void. After hashed timing wheels, Varghese and
//! Lauck 1987, scheme 6 with one round.

use std::time::Duration;

use tokio::time::Instant;

/// Ticks since the start of the worker. Never 0, which means "none" wherever a tick is stored.
pub(crate) type Tick = u32;

/// Turns instants into ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickClock {
    start: Instant,
    tick: Duration,
}

impl TickClock {
    pub(crate) fn new(tick: Duration) -> Self {
        Self {
            start: Instant::now(),
            tick: tick.max(Duration::from_millis(1)),
        }
    }

    pub(crate) fn tick(&self) -> Duration {
        self.tick
    }

    /// The tick that `now` lies in.
    pub(crate) fn at(&self, now: Instant) -> Tick {
        Self::narrow(now.saturating_duration_since(self.start).as_nanos() / self.tick.as_nanos()) + 1
    }

    /// When `tick` began.
    pub(crate) fn moment(&self, tick: Tick) -> Instant {
        self.start + self.tick * tick.saturating_sub(1)
    }

    /// The first tick that begins at or after `due`.
    pub(crate) fn due(&self, due: Instant) -> Tick {
        Self::narrow(
            due.saturating_duration_since(self.start)
                .as_nanos()
                .div_ceil(self.tick.as_nanos()),
        ) + 1
    }

    /// How many ticks hold `duration`, at least one.
    pub(crate) fn ticks(&self, duration: Duration) -> Tick {
        Self::narrow(duration.as_nanos().div_ceil(self.tick.as_nanos())).max(1)
    }

    fn narrow(ticks: u128) -> u32 {
        // Half the range, so that sums of two ticks do not overflow.
        u32::try_from(ticks).unwrap_or(u32::MAX).min(u32::MAX / 2 - 1)
    }
}

/// Buckets of entries by the tick at which they come up.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    buckets: Box<[Vec<T>]>,
    /// The last tick that was worked off.
    now: Tick,
}

/// Buckets of one wheel: 64 s at the default tick. What is due later comes up on the way and goes back.
const BUCKETS: usize = 256;

impl<T> Wheel<T> {
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            now,
        }
    }

    /// The farthest tick an entry can be put at.
    pub(crate) fn horizon(&self) -> Tick {
        self.now + BUCKETS as Tick - 1
    }

    /// Puts an entry at `due`, or at the nearest tick that is possible; says where.
    pub(crate) fn insert(&mut self, entry: T, due: Tick) -> Tick {
        let at = due.clamp(self.now + 1, self.horizon());
        self.buckets[at as usize % BUCKETS].push(entry);
        at
    }

    /// Takes the entries of the next tick not past `now` into `out`; says which tick it was.
    pub(crate) fn advance(&mut self, now: Tick, out: &mut Vec<T>) -> Option<Tick> {
        if self.now >= now {
            return None;
        }
        self.now += 1;
        let bucket = &mut self.buckets[self.now as usize % BUCKETS];
        out.append(bucket);
        if bucket.capacity() > 1024 {
            bucket.shrink_to(1024);
        }
        Some(self.now)
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.buckets.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_up_at_their_tick() {
        let mut wheel = Wheel::new(1);
        wheel.insert("c", 5);
        wheel.insert("a", 2);
        wheel.insert("past", 0);
        let mut seen = Vec::new();
        let mut out = Vec::new();
        while let Some(tick) = wheel.advance(9, &mut out) {
            seen.extend(out.drain(..).map(|entry| (tick, entry)));
        }
        assert_eq!(seen, [(2, "a"), (2, "past"), (5, "c")]);
    }

    #[test]
    fn what_is_past_the_horizon_is_put_at_it() {
        let mut wheel = Wheel::new(1);
        assert_eq!(wheel.insert((), 100_000), wheel.horizon());
        let mut out = Vec::new();
        let mut last = 1;
        while let Some(tick) = wheel.advance(BUCKETS as Tick, &mut out) {
            last = tick;
        }
        assert_eq!((last, out.len()), (BUCKETS as Tick, 1));
    }

    #[test]
    fn a_due_tick_is_never_early() {
        let clock = TickClock::new(Duration::from_millis(250));
        let after = |millis| clock.start + Duration::from_millis(millis);
        assert_eq!(clock.at(after(0)), 1);
        assert!(clock.at(after(499)) < clock.due(after(300)));
        assert_eq!(clock.at(after(500)), clock.due(after(300)));
        assert_eq!(clock.due(after(u64::MAX / 1_000_000)), u32::MAX / 2);
    }
}
