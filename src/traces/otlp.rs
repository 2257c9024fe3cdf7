//! Spans for a collector: OTLP over HTTP, in protobuf, in batches.
//!
//! A collector that is away costs spans and nothing else: what waits is bounded, and what does not fit is dropped.

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Request, Response};
use bytes::Bytes;
use metrics::counter;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use tokio::runtime::{Builder, Runtime};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::{TraceContext, TraceParent};
use souk_cluster::certificates::{self, CertificateError};

/// Where a collector takes traces, below its address.
const PATH: &str = "v1/traces";
/// Spans that may wait to be sent; further ones are dropped.
const QUEUE: usize = 8_192;
/// Most spans of one message.
const BATCH: usize = 512;
/// How long a span waits for others at most.
const DELAY: Duration = Duration::from_secs(1);
/// How long a message may take.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// How long a node that ends takes to send what waits.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Longest answer of a collector that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;
/// The target of spans that are for collectors alone: `log.filter` never sees them.
const TARGET: &str = "souk::traces";

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// No client.
    #[error("there is no HTTP client for traces")]
    Client(#[from] reqwest::Error),
    /// No TLS that the client would not use.
    #[error("there is no TLS for the HTTP client of traces")]
    Tls(#[from] CertificateError),
    /// No runtime of its own.
    #[error("there is no runtime for traces")]
    Runtime(#[from] std::io::Error),
    /// The address of the collector is none.
    #[error("log.otlp can't be used")]
    Exporter(#[from] ExporterBuildError),
}

/// Traces on their way; what waits is sent when this goes.
#[must_use = "traces end with it"]
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(END_LIMIT) {
            tracing::warn!(error = &error as &dyn StdError, "the last traces were not sent");
        }
    }
}

impl Traces {
    /// Begins to send to the collector at `address`, as the node `node`. Of requests that belong to no trace, one in `one_in`
    /// is recorded; none where that is 0.
    ///
    /// # Errors
    /// [`TracesError`].
    pub fn start(address: &str, one_in: u32, node: &str) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Carrier::new()?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/{PATH}", address.trim_end_matches('/')))
            .with_timeout(SEND_LIMIT)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let roots = match one_in {
            0 => Sampler::AlwaysOff,
            one_in => Sampler::TraceIdRatioBased(1.0 / f64::from(one_in)),
        };
        let resource = Resource::builder_empty()
            .with_service_name("souk")
            .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(roots)))
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// What puts spans on their way: of the shop's own, and no line of the log.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer: SdkTracer = self.0.tracer("souk");
        OpenTelemetryLayer::new(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_exported as fn(&Metadata<'_>) -> bool))
    }
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with("souk")
}

/// Makes a span that has just begun a part of the caller's trace.
pub fn adopt(span: &Span, parent: &TraceParent<'_>) {
    // Both were read as hexadecimal digits.
    let (Ok(trace), Ok(caller)) = (
        TraceId::from_hex(parent.trace_id),
        SpanId::from_hex(parent.parent_id),
    ) else {
        return;
    };
    set_parent(span, trace, caller, parent.sampled);
}

/// The status of the reply that ends a request's span.
pub fn answered(span: &Span, status: u16) {
    span.record("status", status);
}

/// The span that runs, where it is recorded.
pub fn current() -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span();
    let known = span.span_context();
    (known.is_valid() && known.is_sampled()).then(|| TraceContext {
        trace_id: u128::from_be_bytes(known.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(known.span_id().to_bytes()),
    })
}

/// A span of a command that came from another node.
pub fn continued(parent: TraceContext, kind: &'static str, request_id: &str) -> Span {
    let span = tracing::info_span!(target: TARGET, parent: None, "command", kind, request_id);
    let (trace, caller) = (parent.trace_id.to_be_bytes(), parent.span_id.to_be_bytes());
    set_parent(
        &span,
        TraceId::from_bytes(trace),
        SpanId::from_bytes(caller),
        true,
    );
    span
}

fn set_parent(span: &Span, trace: TraceId, caller: SpanId, sampled: bool) {
    let flags = if sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let caller = SpanContext::new(trace, caller, flags, true, TraceState::default());
    // Nobody listens where no traces are sent.
    let _ = span.set_parent(Context::new().with_remote_span_context(caller));
}

/// Brings messages to the collector, on the thread that makes them up: it has a runtime of its own, so that it goes on when
/// that of the node ends.
struct Carrier {
    client: reqwest::Client,
    runtime: Option<Runtime>,
    failing: AtomicBool,
}

impl Carrier {
    fn new() -> Result<Self, TracesError> {
        let client = reqwest::Client::builder()
            // Plain HTTP alone: a collector stands nearby.
            .use_preconfigured_tls(certificates::http_client(None)?)
            .timeout(SEND_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            runtime: Some(Builder::new_current_thread().enable_all().build()?),
            failing: AtomicBool::new(false),
        })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let Some(runtime) = &self.runtime else {
            return Err("the traces have ended".into());
        };
        runtime.block_on(async {
            let mut answer = self.client.execute(request.try_into()?).await?;
            let mut body = Vec::new();
            while let Some(part) = answer.chunk().await? {
                if body.len() + part.len() > ANSWER_LIMIT {
                    return Err("the collector's answer is too long".into());
                }
                body.extend_from_slice(&part);
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        })
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The processor's thread does nothing else and waits for the answer anyway.
        let outcome = self.send(request);
        let failed = match &outcome {
            Ok(response) => !response.status().is_success(),
            Err(_) => true,
        };
        let failed_before = self.failing.swap(failed, Ordering::Relaxed);
        if failed {
            counter!("souk_traces_unsent_total").increment(1);
        }
        match &outcome {
            Ok(response) if failed && !failed_before => {
                tracing::warn!(
                    status = response.status().as_u16(),
                    "the collector refuses traces"
                );
            }
            Err(error) if !failed_before => {
                tracing::warn!(error = &**error as &dyn StdError, "traces can't be sent");
            }
            Ok(_) if failed_before && !failed => tracing::info!("traces are sent again"),
            _ => {}
        }
        outcome
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // It may be dropped within another runtime, where waiting for its end is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
