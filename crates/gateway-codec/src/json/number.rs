//! Whole numbers as clients write them: `7`, and also `7.0` or `7e0`, which is how a language writes an integer that has
//! floating-point numbers only.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Largest whole number that every JSON implementation keeps exact: 2^53 − 1 (RFC 8259, 6).
pub(crate) const MAX_EXACT: u64 = (1 << 53) - 1;

/// A whole number from 0 to [`MAX_EXACT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                if number > MAX_EXACT {
                    return Err(E::custom("too large"));
                }
                Ok(Whole(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                if number.fract() != 0.0 || !(0.0..=MAX_EXACT as f64).contains(&number) {
                    return Err(E::custom("not whole, negative or too large"));
                }
                Ok(Whole(number as u64))
            }
        }
        deserializer.deserialize_u64(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction_or_an_exponent() {
        for (text, number) in [
            ("0", 0),
            ("7", 7),
            ("7.0", 7),
            ("-0.0", 0),
            ("7e2", 700),
            ("1.7e12", 1_700_000_000_000),
            ("9007199254740991", MAX_EXACT),
        ] {
            assert_eq!(
                serde_json::from_str::<Whole>(text).unwrap(),
                Whole(number),
                "{text}"
            );
        }
        for text in ["-1", "7.5", "9007199254740992", "1e300", "\"7\"", "[7]", "true"] {
            assert!(serde_json::from_str::<Whole>(text).is_err(), "{text}");
        }
    }
}
