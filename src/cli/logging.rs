//! The log on stderr, and traces where they are configured.

use std::env;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

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
        return with_traces(log, collector, name);
    }
    // The name is used for traces alone.
    let _ = name;
    start_alone(log)?;
    Ok(Kept::default())
}

/// Starts the log of a command that is not a node: warnings and errors.
pub(super) fn start_quiet() -> Result<(), Failure> {
    start_alone(&Log {
        filter: "warn".into(),
        ..Log::default()
    })
}

fn start_alone(log: &Log) -> Result<(), Failure> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(log)?)
        .with_writer(io::stderr)
        .with_ansi(has_colours())
        .with_span_events(FmtSpan::NONE);
    match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| Failure::failed("the log does not start", error))
}

/// The log and traces. Each has its own filter: a trace may contain spans that are not logged. That costs something for each
/// line and span, so it is used only with traces.
#[cfg(feature = "otlp")]
fn with_traces(log: &Log, collector: &str, name: &str) -> Result<Kept, Failure> {
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let traces = crate::traces::otlp::Traces::start(collector, log.otlp_one_in, name)
        .map_err(|error| Failure::failed("traces do not start", error))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(has_colours())
        .with_span_events(FmtSpan::NONE);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter(log)?))
        .with(traces.layer())
        .try_init()
        .map_err(|error| Failure::failed("the log does not start", error))?;
    Ok(Kept {
        _traces: Some(traces),
    })
}

fn filter(log: &Log) -> Result<EnvFilter, Failure> {
    match env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(audited(&directives))
            .map_err(|error| Failure::Usage(format!("RUST_LOG ({directives:?}) is not a filter: {error}"))),
        _ => EnvFilter::try_new(audited(&log.filter)).map_err(|error| {
            Failure::Usage(format!("log.filter ({:?}) is not a filter: {error}", log.filter))
        }),
    }
}

/// The directives, with the audit log enabled unless they mention it: a filter for other lines must not silence it.
fn audited(directives: &str) -> String {
    if directives.contains(AUDIT) {
        directives.to_owned()
    } else {
        format!("{directives},{AUDIT}=info")
    }
}

fn has_colours() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_silences_the_audit_log_by_the_way() {
        for (directives, filter) in [
            (
                "warn,souk::access=info",
                "warn,souk::access=info,souk::audit=info",
            ),
            ("error,souk::audit=off", "error,souk::audit=off"),
        ] {
            assert_eq!(audited(directives), filter);
            assert!(EnvFilter::try_new(audited(directives)).is_ok());
        }
    }
}
