//! Logs on stderr.

use std::env;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::Failure;
use crate::config::{Log, LogFormat};

/// Starts the log of a node. `RUST_LOG` overrides the filter.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let filter = match env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| Failure::Usage(format!("RUST_LOG ({directives:?}) is no filter: {error}")))?,
        _ => EnvFilter::try_new(&log.filter).map_err(|error| {
            Failure::Usage(format!("log.filter ({:?}) is no filter: {error}", log.filter))
        })?,
    };
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_span_events(FmtSpan::NONE);
    match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| Failure::failed("the log does not start", error))
}

/// Starts the log of a command that is not a node: what is wrong, and no more.
pub(super) fn start_quiet() -> Result<(), Failure> {
    start(&Log {
        filter: "warn".into(),
        ..Log::default()
    })
}
