//! `/metrics`: Prometheus text.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::Shared;
use crate::actors::figures::KindFigures;

/// Prometheus' text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often what was recorded is folded into the histograms; in between it takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Bounds of durations, in seconds.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Bounds of batch sizes, in rows.
const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Makes this process record its metrics; once a process.
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

/// Keeps what is recorded from gathering while nobody reads `/metrics`. Never returns.
pub async fn keep_up(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

/// What stands at this moment, beside what was counted.
pub(super) async fn show(State(state): State<Shared>) -> Response {
    let figures = [
        &state.regions.carts.context().entity.figures,
        &state.regions.orders.context().entity.figures,
        &state.regions.skus.context().entity.figures,
    ];
    for figures in figures {
        let kind = figures.kind.as_str();
        metrics::gauge!("souk_entities", "kind" => kind).set(figures.live.load(Ordering::Relaxed) as f64);
        for (name, counter) in [
            ("souk_entity_activations_total", &figures.activations),
            ("souk_entity_passivations_total", &figures.passivations),
            ("souk_entity_restarts_total", &figures.restarts),
            ("souk_entity_conflicts_total", &figures.conflicts),
            ("souk_entity_refusals_total", &figures.refused),
        ] {
            metrics::counter!(name, "kind" => kind).absolute(KindFigures::read(counter));
        }
    }
    let in_flight = &state.regions.carts.context().in_flight;
    metrics::gauge!("souk_commands_in_flight").set(in_flight.load(Ordering::Relaxed) as f64);
    metrics::gauge!("souk_checkouts_running").set(state.traces.len() as f64);
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], state.metrics.render()).into_response()
}
