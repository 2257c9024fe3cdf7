//! The log on stderr, and traces where they are configured.

use std::env;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;
use crate::config::{Log, LogFormat};

/// The target of the audit log.
const AUDIT: &str = "souk::audit";

/// Held as long as the node runs: sends the remaining traces when it is dropped.
#[derive(Default)]
pub(super) struct Kept {
    #[cfg(feature = "otlp")]
    _traces: Option<crate::traces::otlp::Traces>,
}

/// Starts the log of the node `name`. `RUST_LOG` overrides the filter.
pub(super) fn start(log: &Log, name: &str) -> Result<Kept, Failure> {
    #[cfg(feature = "otlp")]
    if let Some(collector) = &log.otlp {
        let traces = crate::traces::otlp::Traces::start(collector, log.otlp_one_in, name)
            .map_err(|error| Failure::failed("traces do not start", error))?;
        // Each has its own filter: a trace may contain spans that are not logged. That costs something for each line and span,
        // so it is used only with traces.
        let lines = lines(log.format).with_filter(filter(log)?);
        begin(tracing_subscriber::registry().with(lines).with(traces.layer()))?;
        return Ok(Kept {
            _traces: Some(traces),
        });
    }
    // The name is used for traces alone.
    let _ = name;
    begin(
        tracing_subscriber::registry()
            .with(lines(log.format))
            .with(filter(log)?),
    )?;
    Ok(Kept::default())
}

/// Starts the log of a command that is not a node: warnings and errors.
pub(super) fn start_quiet() -> Result<(), Failure> {
    let log = Log {
        filter: "warn".into(),
        ..Log::default()
    };
    begin(
        tracing_subscriber::registry()
            .with(lines(log.format))
            .with(filter(&log)?),
    )
}

fn begin(subscriber: impl SubscriberInitExt) -> Result<(), Failure> {
    subscriber
        .try_init()
        .map_err(|error| Failure::failed("the log does not start", error))
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(has_colours())
        .with_span_events(FmtSpan::NONE);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn filter(log: &Log) -> Result<Targets, Failure> {
    let (name, directives) = match env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => ("RUST_LOG", directives),
        _ => ("log.filter", log.filter.clone()),
    };
    completed(&directives)
        .parse()
        .map_err(|error| Failure::Usage(format!("{name} ({directives:?}) is not a filter: {error}")))
}

/// Levels of targets that a filter does not mention: one for other lines must not silence the audit log, and the driver of SQL
/// Server takes every error for worth a line, also one after which a statement is repeated. Whoever asked it says what matters.
const UNMENTIONED: [(&str, &str); 2] = [(AUDIT, "info"), ("tiberius", "off")];

fn completed(directives: &str) -> String {
    UNMENTIONED
        .iter()
        .filter(|(target, _)| !directives.contains(target))
        .fold(directives.to_owned(), |all, (target, level)| {
            format!("{all},{target}={level}")
        })
}

fn has_colours() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_does_not_mention_has_its_level() {
        for (directives, filter) in [
            (
                "warn,souk::access=info",
                "warn,souk::access=info,souk::audit=info,tiberius=off",
            ),
            (
                "error,souk::audit=off,tiberius=warn",
                "error,souk::audit=off,tiberius=warn",
            ),
        ] {
            assert_eq!(completed(directives), filter);
            assert!(completed(directives).parse::<Targets>().is_ok());
        }
    }
}
