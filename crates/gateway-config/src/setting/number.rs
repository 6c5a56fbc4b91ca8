//! Whole numbers, durations and sizes, each within its key's bounds.

use std::num::NonZeroU32;
use std::time::Duration;

use figment::value::Value;
use serde_json::Value as Json;

use super::{Secrets, Setting, Unit};
use crate::byte_size::ByteSize;
use crate::error::ErrorKind;
use crate::reading::{Place, Reading};

/// A whole number from `low` to `high`, or the narrower bounds of the key.
fn whole(value: &Value, place: &Place, reading: &mut Reading, high: u64) -> Option<u64> {
    let text = if reading.is_text_layer(value) {
        value.as_str()
    } else {
        None
    };
    let number = match (value, text) {
        (Value::Num(_, number), _) => number.to_i128().or_else(|| number.to_u128().map(clamp)),
        (_, Some(text)) => text.trim().parse::<i128>().ok(),
        _ => None,
    };
    let Some(number) = number else {
        reading.wrong_type(place, value, "a whole number");
        return None;
    };
    bounded(number, value, place, reading, high)
}

fn clamp(number: u128) -> i128 {
    i128::try_from(number).unwrap_or(i128::MAX)
}

fn bounded(number: i128, value: &Value, place: &Place, reading: &mut Reading, high: u64) -> Option<u64> {
    let (low, high) = place.bounds.map_or((0, high), |(low, top)| (low, top.min(high)));
    match u64::try_from(number) {
        Ok(number) if (low..=high).contains(&number) => Some(number),
        _ => {
            reading.fault(
                place,
                value,
                ErrorKind::OutOfBounds {
                    low,
                    high,
                    found: number.to_string(),
                },
            );
            None
        }
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn type_name(_: Unit) -> String {
                "whole number".to_owned()
            }

            fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
                // The largest value fits 64 bits on every platform that the gateway runs on.
                let high = u64::try_from(<$type>::MAX).unwrap_or(u64::MAX);
                whole(value, place, reading, high).and_then(|number| <$type>::try_from(number).ok())
            }

            fn show(&self, _: Unit, _: Secrets) -> Json {
                Json::from(*self)
            }
        }
    )* };
}

whole_numbers!(u16, u32, u64, usize);

impl Setting for NonZeroU32 {
    fn type_name(_: Unit) -> String {
        "whole number".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let place = Place {
            bounds: place.bounds.or(Some((1, u64::from(u32::MAX)))),
            ..place.clone()
        };
        u32::read(value, &place, reading).and_then(Self::new)
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::from(self.get())
    }
}

impl Setting for Duration {
    fn type_name(unit: Unit) -> String {
        match unit {
            Unit::Millis => "milliseconds",
            Unit::Seconds | Unit::None => "seconds",
        }
        .to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let number = whole(value, place, reading, u64::from(u32::MAX))?;
        Some(if place.unit == Unit::Millis {
            Self::from_millis(number)
        } else {
            Self::from_secs(number)
        })
    }

    fn show(&self, unit: Unit, _: Secrets) -> Json {
        if unit == Unit::Millis {
            Json::from(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
        } else {
            Json::from(self.as_secs())
        }
    }
}

impl Setting for ByteSize {
    fn type_name(_: Unit) -> String {
        "size: a number of bytes, or text such as \"100MB\" or \"64KiB\"".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let Some(text) = value.as_str() else {
            return whole(value, place, reading, u64::MAX).map(Self::from_bytes);
        };
        let Ok(size) = text.parse::<Self>() else {
            reading.wrong_type(place, value, "a size such as 104857600, \"100MB\" or \"64KiB\"");
            return None;
        };
        bounded(i128::from(size.as_bytes()), value, place, reading, u64::MAX).map(Self::from_bytes)
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.to_string())
    }
}
