//! A size in bytes, written as a number or with a unit: `104857600`, `"100MB"`, `"64 KiB"`.
//!
//! `KB`, `MB`, `GB` are powers of 1,000 and `KiB`, `MiB`, `GiB` of 1,024 (IEC 80000-13).

use std::fmt;
use std::str::FromStr;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of so many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

const UNITS: &[(&str, u64)] = &[
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(())?;
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*factor))
            .map(Self)
            .ok_or(())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(name, factor): &&(&str, u64)| {
            name.len() > 1 && self.0 >= *factor && self.0.is_multiple_of(*factor)
        };
        match UNITS.iter().find(exact) {
            Some((name, factor)) => {
                let unit = match *name {
                    "gib" => "GiB",
                    "mib" => "MiB",
                    "kib" => "KiB",
                    "gb" => "GB",
                    "mb" => "MB",
                    _ => "KB",
                };
                write!(f, "{}{unit}", self.0 / factor)
            }
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_understood_in_any_case_and_refused_when_unknown() {
        for (text, bytes) in [
            ("100MB", Some(100_000_000)),
            ("64 KiB", Some(65_536)),
            ("1gib", Some(1 << 30)),
            ("12", Some(12)),
            ("7B", Some(7)),
            ("MB", None),
            ("1 TB", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("99999999999GB", None),
        ] {
            assert_eq!(
                text.parse::<ByteSize>().ok().map(ByteSize::as_bytes),
                bytes,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for bytes in [0, 1, 999, 1_000, 1_024, 100_000_000, 3 << 20] {
            let size = ByteSize::from_bytes(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
