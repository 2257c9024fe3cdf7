//! `[log]`: the log on stderr, and traces for a collector.

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

use super::error::Problems;
use super::section::Settings;

/// `[log]`: the log on stderr, and traces for a collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// Directives as in `RUST_LOG`, which overrides them.
    pub filter: String,
    /// The address of a collector that takes traces by OTLP over HTTP; no traces without. Needs the feature `otlp`.
    pub otlp: Option<String>,
    /// Of requests that belong to no trace, one in this many is recorded; 0 for none.
    pub otlp_one_in: u32,
}

/// Everything but the line for each request: at thousands of requests a second that is the most costly part of each.
const DEFAULT_FILTER: &str = "info,ractor=warn,ractor_cluster=warn,souk::access=off";

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: DEFAULT_FILTER.into(),
            otlp: None,
            otlp_one_in: 1,
        }
    }
}

/// Format of the log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings for Log {
    fn check(&self, problems: &mut Problems) {
        if let Err(error) = self.filter.parse::<Targets>() {
            problems.add(
                "log.filter",
                format!("({:?}) is not a filter: {error}", self.filter),
                "write directives as in \"info,souk=debug\"",
            );
        }
        let Some(address) = &self.otlp else {
            return;
        };
        if !cfg!(feature = "otlp") {
            problems.add(
                "log.otlp",
                "is set, but this build can't send traces",
                "build with the feature otlp (`cargo build --features otlp`), or remove it",
            );
        }
        if !reqwest::Url::parse(address).is_ok_and(|url| url.scheme() == "http" && url.has_host()) {
            problems.add(
                "log.otlp",
                format!("({address:?}) is not the address of a collector"),
                "write a plain HTTP address, as in \"http://127.0.0.1:4318\"",
            );
        }
    }
}
