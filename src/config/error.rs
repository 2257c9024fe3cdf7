//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, where it stands, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, as in `nodes[1].shop`; where an environment variable set it, that variable's name.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.key, self.what, self.remedy)
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
    /// The file is no TOML; the cause names line and column.
    #[error("{} is not valid TOML", file.display())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// The file reads, but what it says can't be; all that is wrong, not only the first.
    #[error("{}", listing(file, problems))]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// At least one.
        problems: Vec<Problem>,
    },
    /// A configuration can't be written as TOML.
    #[error("the configuration can't be written as TOML")]
    Write(#[from] toml::ser::Error),
}

fn listing(file: &std::path::Path, problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{}: {problem}", file.display()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A setting that works, and that one should not leave so.
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
