//! What can be wrong with a configuration.

use std::fmt;
use std::path::{Path, PathBuf};

/// Longest name of a cluster, node or key in bytes: it stands in certificates and in names of files.
const NAME_BYTES: usize = 32;

/// One invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, as in `nodes[1].shop`; where an environment variable set it, that variable's name.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.key, self.what, self.remedy)
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Problem {
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// Reports a name that can't stand in certificates and names of files.
    pub(super) fn check_name(&mut self, key: &str, name: &str) {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=NAME_BYTES).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !is_name {
            self.add(
                key,
                format!("is {name:?}"),
                format!("write 1 to {NAME_BYTES} lower-case letters, digits and inner hyphens"),
            );
        }
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|problem| problem.key.as_str()).collect()
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{} can't be read", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML; the cause names line and column.
    #[error("{} is not valid TOML", file.display())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// Settings are invalid.
    #[error("{}", listing(file, problems))]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// All of them; at least one.
        problems: Vec<Problem>,
    },
    /// A configuration can't be written as TOML.
    #[error("the configuration can't be written as TOML")]
    Write(#[from] toml::ser::Error),
}

fn listing(file: &Path, problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{}: {problem}", file.display()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A valid setting that is weak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key's path.
    pub key: String,
    /// What is weak about it, and what would be better.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}
