//! W3C trace context: read from requests and passed on between nodes.
//!
//! The trace id is logged in every build. With the feature `otlp` and the setting `log.otlp` spans are also sent to a
//! collector: one for each request, and one for each command that such a request sends to another node. A trace is
//! recorded if its `traceparent` says so; of requests without one, one in `log.otlp_one_in` is recorded.

#[cfg(test)]
pub(crate) mod captured;
#[cfg(feature = "otlp")]
pub mod otlp;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use serde::{Deserialize, Serialize};

/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A well-formed `traceparent` (W3C Trace Context, version 00 or later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent<'a> {
    /// The trace id: 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// The id of the caller's span: 16 hexadecimal digits.
    pub parent_id: &'a str,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl<'a> TraceParent<'a> {
    /// The one of a request.
    pub fn of(headers: &'a HeaderMap) -> Option<Self> {
        let is_hexadecimal = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
        };
        let mut parts = headers.get(TRACEPARENT)?.to_str().ok()?.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let well_formed = [(version, 2), (trace, 32), (parent, 16), (flags, 2)]
            .iter()
            .all(|(part, length)| part.len() == *length && is_hexadecimal(part));
        let is_valid = version != "ff" && (version != "00" || parts.next().is_none());
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        (well_formed && is_valid && !is_zero(trace) && !is_zero(parent)).then(|| Self {
            trace_id: trace,
            parent_id: parent,
            sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1),
        })
    }
}

/// A recorded span, as passed on to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The trace id.
    pub trace_id: u128,
    /// The span id.
    pub span_id: u64,
}

#[cfg(feature = "otlp")]
pub use otlp::{adopt, answered, continued, current};

#[cfg(not(feature = "otlp"))]
pub use disabled::{adopt, answered, continued, current};

/// A build without collectors: does nothing.
#[cfg(not(feature = "otlp"))]
mod disabled {
    use tracing::Span;

    use super::{TraceContext, TraceParent};

    /// Makes a new span part of the caller's trace.
    pub fn adopt(_span: &Span, _parent: &TraceParent<'_>) {}

    /// Records the status of the reply on a request's span.
    pub fn answered(_span: &Span, _status: u16) {}

    /// The current span, if it is recorded.
    pub fn current() -> Option<TraceContext> {
        None
    }

    /// A span for a command from another node.
    pub fn continued(_parent: TraceContext, _kind: &'static str, _request_id: &str) -> Span {
        Span::none()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn malformed_traceparents_are_ignored() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(value).unwrap())]);
            TraceParent::of(&headers).map(|parent| (parent.trace_id.to_owned(), parent.sampled))
        };
        assert_eq!(
            read(&format!("00-{trace}-00f067aa0ba902b7-01")),
            Some((trace.to_owned(), true))
        );
        assert_eq!(
            read(&format!("01-{trace}-00f067aa0ba902b7-02-more")),
            Some((trace.to_owned(), false))
        );
        for bad in [
            "",
            "00-1-2-3",
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
