//! Exports spans to a collector: OTLP over HTTP, in protobuf, in batches.
//!
//! An unavailable collector costs spans and nothing else: the queue is bounded, and what does not fit is dropped.

use std::error::Error as StdError;
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

/// Path of the collector's traces endpoint.
const PATH: &str = "v1/traces";
/// Most queued spans; further ones are dropped.
const QUEUE: usize = 8_192;
/// Most spans per request.
const BATCH: usize = 512;
/// Longest time a span waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// Time limit of a request to the collector.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for sending the queue when the node ends.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Largest response of a collector, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;
/// Target of spans that are exported only, and not subject to `log.filter`.
const TARGET: &str = "souk::traces";

/// Why traces can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The HTTP client can't be built.
    #[error("the HTTP client for traces can't be built")]
    Client(#[from] reqwest::Error),
    /// The client's TLS settings can't be built.
    #[error("the TLS settings for traces can't be built")]
    Tls(#[from] CertificateError),
    /// The runtime can't be started.
    #[error("the runtime for traces can't be started")]
    Runtime(#[from] std::io::Error),
    /// `log.otlp` is not a valid address.
    #[error("log.otlp can't be used")]
    Exporter(#[from] ExporterBuildError),
}

/// The exporter. Dropping it sends the queue.
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
    /// Exports to the collector at `address` for the node `node`. Of requests without a trace, one in `one_in`
    /// is recorded; none if that is 0.
    ///
    /// # Errors
    /// [`TracesError`].
    pub fn start(address: &str, one_in: u32, node: &str) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(CollectorClient::new()?)
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

    /// The layer that exports Souk's own spans, and no events.
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

/// Makes a new span part of the caller's trace.
pub fn adopt(span: &Span, parent: &TraceParent<'_>) {
    // Both were read as hexadecimal digits.
    if let Ok(trace) = TraceId::from_hex(parent.trace_id)
        && let Ok(caller) = SpanId::from_hex(parent.parent_id)
    {
        set_parent(span, trace, caller, parent.sampled);
    }
}

/// Records the status of the reply on a request's span.
pub fn answered(span: &Span, status: u16) {
    span.record("status", status);
}

/// The current span, if it is recorded.
pub fn current() -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span();
    let known = span.span_context();
    (known.is_valid() && known.is_sampled()).then(|| TraceContext {
        trace_id: u128::from_be_bytes(known.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(known.span_id().to_bytes()),
    })
}

/// A span for a command from another node.
pub fn continued(parent: TraceContext, kind: &'static str, request_id: &str) -> Span {
    let span = tracing::info_span!(target: TARGET, parent: None, "command", kind, request_id);
    set_parent(&span, parent.trace_id.into(), parent.span_id.into(), true);
    span
}

fn set_parent(span: &Span, trace: TraceId, caller: SpanId, sampled: bool) {
    let flags = TraceFlags::default().with_sampled(sampled);
    let caller = SpanContext::new(trace, caller, flags, true, TraceState::default());
    // Fails only if no traces are exported.
    let _ = span.set_parent(Context::new().with_remote_span_context(caller));
}

/// The HTTP client of the exporter. Has a runtime of its own, so that it outlives the node's.
#[derive(Debug)]
struct CollectorClient {
    client: reqwest::Client,
    runtime: Option<Runtime>,
    failing: AtomicBool,
}

impl CollectorClient {
    fn new() -> Result<Self, TracesError> {
        let client = reqwest::Client::builder()
            // Plain HTTP only: the collector is nearby.
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
                    return Err("the collector's response is too long".into());
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

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Blocks the processor's own thread, which waits for the response anyway.
        let outcome = self.send(request);
        let failed = !outcome
            .as_ref()
            .is_ok_and(|response| response.status().is_success());
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

impl Drop for CollectorClient {
    fn drop(&mut self) {
        // May be dropped within another runtime, where blocking is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
