//! What every section has: how it is read, checked and written, and a macro for sections of numbers.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::Problems;
use super::reader::Reader;

/// A section of the file. It owns its keys, their defaults and their checks.
pub(super) trait Section: Sized {
    /// Reads and checks it. `None` where a required key is missing or invalid; the reader's problems say which.
    fn read(name: &str, reader: &mut Reader) -> Option<Self>;

    /// The section as it stands in a file in `folder`, secrets included.
    ///
    /// # Errors
    /// Where a number exceeds what TOML can hold.
    fn write(&self, folder: &Path) -> Result<Value, toml::ser::Error>;
}

/// A section in which every key has a default, and whose Rust form is its TOML form.
pub(super) trait Settings: Serialize + DeserializeOwned + Default {
    fn check(&self, problems: &mut Problems);
}

impl<T: Settings> Section for T {
    fn read(name: &str, reader: &mut Reader) -> Option<Self> {
        let settings: Self = reader.section(name);
        settings.check(&mut reader.problems);
        Some(settings)
    }

    /// Defaults are left out, so that a later version's better default applies.
    fn write(&self, _: &Path) -> Result<Value, toml::ser::Error> {
        let defaults = Table::try_from(Self::default())?;
        let mut table = Table::try_from(self)?;
        table.retain(|key, value| defaults.get(key) != Some(value));
        Ok(Value::Table(table))
    }
}

/// A text as TOML.
pub(super) fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

/// A path as TOML, relative to the folder of the file where it lies below that.
pub(super) fn relative(path: &Path, folder: &Path) -> Value {
    text(path.strip_prefix(folder).unwrap_or(path).display())
}

/// A time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// A time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milliseconds(pub u64);

/// A time in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Days(pub u64);

impl Days {
    /// As a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 * 24 * 3_600)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Seconds {
    /// As a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl Milliseconds {
    /// As a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reports a number outside its range.
pub(super) fn within<N: PartialOrd + fmt::Display>(
    key: &str,
    number: N,
    range: &RangeInclusive<N>,
    problems: &mut Problems,
) {
    if !range.contains(&number) {
        problems.add(
            key,
            format!("is {number}"),
            format!("it must be between {} and {}", range.start(), range.end()),
        );
    }
}

/// Reports two times of which the first, a part of the second, is the longer.
pub(super) fn ordered(
    (short_key, short): (&str, Duration),
    (long_key, long): (&str, Duration),
    reason: &str,
    problems: &mut Problems,
) {
    if short > long {
        problems.add(
            short_key,
            format!("({short:?}) is longer than {long_key} ({long:?})"),
            format!("shorten the former or lengthen the latter: {reason}"),
        );
    }
}

/// Declares a section of numbers: each key with its type, default and range. `as` names the type of the range's bounds for
/// times, which are written as plain numbers.
macro_rules! numbers {
    (
        $(#[$documentation:meta])*
        $name:ident $section:literal {
            $( #[doc = $field_documentation:literal] $field:ident: $type:tt = $default:literal, $low:literal..=$high:literal; )*
        }
    ) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                #[doc = $field_documentation]
                #[doc = concat!("\n\nDefault: ", $default, "; allowed: ", $low, " to ", $high, ".")]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::config::section::number!($type $default), )* }
            }
        }

        impl $name {
            /// Reports each number that is outside its range.
            fn check_ranges(&self, problems: &mut $crate::config::error::Problems) {
                $(
                    $crate::config::section::within(
                        concat!($section, ".", stringify!($field)),
                        self.$field,
                        &($crate::config::section::number!($type $low)..=$crate::config::section::number!($type $high)),
                        problems,
                    );
                )*
            }

            /// The rows of the section in docs/configuration.md.
            #[cfg(test)]
            pub(in crate::config) fn rows() -> Vec<String> {
                vec![$(
                    format!(
                        "| `{}` | {} | {} to {} |{} |",
                        stringify!($field), $default, $low, $high, $field_documentation,
                    ),
                )*]
            }
        }
    };
}

/// A number of a type: times are made from their count.
macro_rules! number {
    (Seconds $number:literal) => {
        $crate::config::section::Seconds($number)
    };
    (Milliseconds $number:literal) => {
        $crate::config::section::Milliseconds($number)
    };
    (Days $number:literal) => {
        $crate::config::section::Days($number)
    };
    ($type:ident $number:literal) => {
        $number
    };
}

pub(super) use {number, numbers};
