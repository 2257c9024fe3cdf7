//! `/metrics`: the metrics of this node in Prometheus' text format.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::Shared;

/// Prometheus' text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Interval at which recorded values are merged into the histograms; until then they take memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Buckets of durations, in seconds.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Buckets of batch sizes, in rows.
const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Installs the recorder of this process.
///
/// # Errors
/// Where another recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    builder()?.install_recorder()
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), ROWS)
}

/// Merges recorded values regularly, so that they do not accumulate when nobody reads `/metrics`. Never returns.
pub async fn keep_up(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

/// All metrics of this node.
pub(super) async fn show(State(state): State<Shared>) -> Response {
    for region in state.regions.all() {
        region.metrics().export();
        let kind = region.kind().as_str();
        metrics::gauge!("souk_commands_in_flight", "kind" => kind).set(region.in_flight() as f64);
    }
    metrics::gauge!("souk_checkouts_running").set(state.traces.len() as f64);
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], state.metrics.render()).into_response()
}
