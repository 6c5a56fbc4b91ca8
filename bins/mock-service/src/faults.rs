//! Made-up trouble: latency, errors, silence, and a health check that says no.
//!
//! Faults are decided before a command is run and before its request id is looked up, so that a retry of a
//! command that failed this way is run. They can be changed at any time, by [`Faults::set`] in-process or by
//! the control command of each service.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway_codec::Code;

use crate::{error::ServiceError, store::held};

/// The longest latency that can be set.
const LONGEST: Duration = Duration::from_secs(60);

/// The trouble that a service makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultSettings {
    /// Time that every command takes; commands of one session take it one after the other. At most 60 s.
    pub latency: Duration,
    /// Share of commands, 0 to 1, answered by `error_code` without being run.
    pub error_rate: f64,
    /// Share of commands, 0 to 1, never answered and not run. They do not hold up their session.
    pub hang_rate: f64,
    /// What a made-up error says; Internal Server Error unless changed.
    pub error_code: Code,
    /// What the gRPC health check says.
    pub serving: bool,
}

impl Default for FaultSettings {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            error_rate: 0.0,
            hang_rate: 0.0,
            error_code: Code::Internal,
            serving: true,
        }
    }
}

/// A change of faults; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct FaultChange {
    pub(crate) latency_ms: Option<u64>,
    pub(crate) error_rate: Option<f64>,
    pub(crate) hang_rate: Option<f64>,
    pub(crate) error_code: Option<u16>,
    pub(crate) serving: Option<bool>,
}

/// What happens to one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Run(Duration),
    Fail(Code),
    Hang,
}

/// The faults of one running service.
pub(crate) struct Faults {
    settings: Mutex<FaultSettings>,
    /// Whether `settings` does anything to commands; asked by every command, which spares it the lock.
    any: AtomicBool,
    draws: AtomicU64,
}

impl Faults {
    pub(crate) fn new(settings: FaultSettings) -> Self {
        Self {
            settings: Mutex::new(settings),
            any: AtomicBool::new(touches_commands(&settings)),
            draws: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self) -> FaultSettings {
        *held(&self.settings)
    }

    pub(crate) fn set(&self, settings: FaultSettings) {
        self.keep(&mut held(&self.settings), settings);
    }

    /// Whether commands have trouble of any kind: where they have none, [`Faults::fate`] need not be asked.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn keep(&self, kept: &mut FaultSettings, settings: FaultSettings) {
        *kept = settings;
        self.any.store(touches_commands(&settings), Ordering::Relaxed);
    }

    /// Applies a change and gives what holds now; 400 for values out of range, changing nothing.
    pub(crate) fn change(&self, change: FaultChange) -> Result<FaultSettings, ServiceError> {
        let mut settings = held(&self.settings);
        let mut next = *settings;
        if let Some(latency) = change.latency_ms {
            next.latency = Duration::from_millis(latency);
        }
        next.error_rate = change.error_rate.unwrap_or(next.error_rate);
        next.hang_rate = change.hang_rate.unwrap_or(next.hang_rate);
        next.serving = change.serving.unwrap_or(next.serving);
        if let Some(code) = change.error_code {
            next.error_code = Code::from_json(code)
                .filter(|code| !code.is_success())
                .ok_or_else(|| ServiceError::bad("error_code is none of the contract's error codes"))?;
        }
        check(&next)?;
        self.keep(&mut settings, next);
        Ok(next)
    }

    /// Draws the fate of one command.
    pub(crate) fn fate(&self) -> Fate {
        let settings = self.get();
        if settings.hang_rate > 0.0 && self.draw() < settings.hang_rate {
            return Fate::Hang;
        }
        if settings.error_rate > 0.0 && self.draw() < settings.error_rate {
            return Fate::Fail(settings.error_code);
        }
        Fate::Run(settings.latency)
    }

    /// A number from 0 up to 1: SplitMix64 (Steele, Lea, Flood 2014) over a counter, the same series in each run.
    fn draw(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.draws.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits: every value is exact.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn touches_commands(settings: &FaultSettings) -> bool {
    !settings.latency.is_zero() || settings.error_rate > 0.0 || settings.hang_rate > 0.0
}

/// Refuses settings that mean nothing.
pub(crate) fn check(settings: &FaultSettings) -> Result<(), ServiceError> {
    let share = |value: f64| (0.0..=1.0).contains(&value);
    if !share(settings.error_rate) || !share(settings.hang_rate) {
        return Err(ServiceError::bad("a rate is a number from 0 to 1"));
    }
    if settings.latency > LONGEST {
        return Err(ServiceError::bad("latency is at most 60000 ms"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_decide_how_many_fail() {
        let faults = Faults::new(FaultSettings {
            error_rate: 0.25,
            ..FaultSettings::default()
        });
        let failed = (0..4_000)
            .filter(|_| faults.fate() == Fate::Fail(Code::Internal))
            .count();
        assert!((900..1_100).contains(&failed), "{failed} of 4000 failed");
    }

    #[test]
    fn a_change_out_of_range_changes_nothing() {
        let faults = Faults::new(FaultSettings::default());
        for change in [
            FaultChange {
                hang_rate: Some(1.5),
                serving: Some(false),
                ..FaultChange::default()
            },
            FaultChange {
                error_rate: Some(f64::NAN),
                ..FaultChange::default()
            },
            FaultChange {
                latency_ms: Some(60_001),
                ..FaultChange::default()
            },
            FaultChange {
                error_code: Some(200),
                ..FaultChange::default()
            },
        ] {
            assert_eq!(faults.change(change).unwrap_err().code, Code::BadRequest);
        }
        assert_eq!(faults.get(), FaultSettings::default());
        faults
            .change(FaultChange {
                hang_rate: Some(1.0),
                ..FaultChange::default()
            })
            .unwrap();
        assert_eq!(faults.fate(), Fate::Hang);
        assert!(faults.any());
        faults.set(FaultSettings {
            serving: false,
            ..FaultSettings::default()
        });
        assert!(!faults.any());
    }
}
