//! The `section!` and `names!` macros: one declaration of a section or of a closed set of names, from which its
//! type, defaults, reading, showing and reference follow.

/// Declares a section: `"key" => field: Type = default, low..=high;` with the key's meaning as its doc comment.
///
/// The key differs from the field where a duration's unit is in the key: `"timeout_ms" => timeout: Duration`.
macro_rules! section {
    (
        $(#[$about:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $meaning:literal])+
                $key:literal => $field:ident : $type:ty = $default:expr $(, $low:literal ..= $high:literal)?;
            )*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $meaning])+ pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl crate::setting::Setting for $name {
            fn type_name(_: crate::setting::Unit) -> String {
                "section".to_owned()
            }

            fn read(
                value: &figment::value::Value,
                place: &crate::reading::Place,
                reading: &mut crate::reading::Reading,
            ) -> Option<Self> {
                let dict = reading.open(value, place, &Self::nested())?;
                Some(Self {
                    $( $field: reading.field(dict, place, $key, section!(@bounds $($low, $high)?), || $default), )*
                })
            }

            fn show(&self, _: crate::setting::Unit, secrets: crate::setting::Secrets) -> serde_json::Value {
                let mut shown = serde_json::Map::new();
                $(
                    let unit = crate::setting::Unit::of($key);
                    shown.insert($key.to_owned(), crate::setting::Setting::show(&self.$field, unit, secrets));
                )*
                serde_json::Value::Object(shown)
            }

            fn nested() -> Vec<crate::setting::Key> {
                use crate::setting::{Secrets, Setting, Unit};
                let default = Self::default();
                vec![$(
                    crate::setting::Key {
                        name: $key,
                        type_name: <$type as Setting>::type_name(Unit::of($key)),
                        default: default.$field.show(Unit::of($key), Secrets::Hidden),
                        bounds: section!(@bounds $($low, $high)?),
                        meaning: &[$($meaning),+],
                        nested: <$type as Setting>::nested(),
                        joint: <$type as Setting>::JOINT,
                    },
                )*]
            }
        }
    };
    (@bounds) => { None };
    (@bounds $low:literal, $high:literal) => { Some(($low, $high)) };
}

/// Declares a closed set of names; an unknown one is told the nearest.
macro_rules! names {
    (
        $(#[$about:meta])*
        pub enum $name:ident, $what:literal {
            $( $(#[doc = $meaning:literal])+ $text:literal => $variant:ident, )+
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $meaning])+ $variant, )+
        }

        impl $name {
            /// All names, in the order of the reference.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// Its name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }

            /// The variant of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$variant), )+ _ => None }
            }
        }

        impl crate::setting::Setting for $name {
            fn type_name(_: crate::setting::Unit) -> String {
                Self::NAMES.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")
            }

            fn read(
                value: &figment::value::Value,
                place: &crate::reading::Place,
                reading: &mut crate::reading::Reading,
            ) -> Option<Self> {
                let text = crate::setting::text_of(value, place, reading, $what)?;
                let found = Self::from_name(text.trim());
                if found.is_none() {
                    let nearest = crate::nearest::nearest(&text, Self::NAMES.iter().copied()).unwrap_or_default();
                    let kind = crate::error::ErrorKind::UnknownName {
                        what: $what,
                        found: text.chars().take(40).collect(),
                        nearest: nearest.to_owned(),
                    };
                    reading.fault(place, value, kind);
                }
                found
            }

            fn show(&self, _: crate::setting::Unit, _: crate::setting::Secrets) -> serde_json::Value {
                serde_json::Value::from(self.name())
            }
        }
    };
}

pub(crate) use {names, section};
