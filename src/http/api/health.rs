//! `/livez`, `/readyz`: probes for load balancers and orchestrators.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::edge::admission::Admission;
use crate::http::edge::conventions::READY;
use crate::http::edge::problem::Problem;
use crate::http::request::json;

/// The health of a node, or of one of its dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Healthy.
    Ok,
    /// Serves, slower or with less.
    Degraded,
    /// Shutting down: no new clients.
    Draining,
    /// Does not serve.
    Unavailable,
}

/// The path of liveness probes.
pub const LIVE: &str = "/livez";

/// The health of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HealthReport {
    /// The worst of the checks.
    pub status: Health,
    /// The health of each dependency, by name.
    pub checks: BTreeMap<String, Health>,
}

impl HealthReport {
    /// The worst of its checks.
    pub fn of(checks: BTreeMap<String, Health>) -> Self {
        Self {
            status: checks.values().max().copied().unwrap_or(Health::Ok),
            checks,
        }
    }
}

/// Reads the health of the node at every `/readyz`: known state, without waiting.
pub type HealthSource = Arc<dyn Fn() -> HealthReport + Send + Sync>;

/// The two routes, which reply however busy the node is.
pub fn router(health: HealthSource, admission: Arc<Admission>) -> Router {
    Router::new()
        .route(LIVE, get(live))
        .route(READY, get(ready))
        .with_state((health, admission))
}

/// Check that the process replies
#[utoipa::path(
    get,
    path = LIVE,
    operation_id = "isAlive",
    tag = "Service",
    responses((status = 200, description = "It replies.", body = HealthReport, example = json!({"status": "ok", "checks": {}}))),
)]
pub async fn live() -> Result<Response, Problem> {
    json::reply(StatusCode::OK, &HealthReport::of(BTreeMap::new()))
}

/// Check whether the node is ready
///
/// Replies however busy the node is.
#[utoipa::path(
    get,
    path = READY,
    operation_id = "isReady",
    tag = "Service",
    responses(
        (status = 200, description = "Ready: `ok`, or `degraded`.", body = HealthReport, example = json!({
            "status": "degraded",
            "checks": {"stores": "degraded", "view": "ok"},
        })),
        (status = 503, description = "Not ready: `draining`, or `unavailable`.", body = HealthReport, example = json!({
            "status": "draining",
            "checks": {"stores": "ok", "view": "ok"},
        })),
    ),
)]
pub async fn ready(
    State((health, admission)): State<(HealthSource, Arc<Admission>)>,
) -> Result<Response, Problem> {
    let mut report = health();
    if admission.is_draining() {
        report.status = report.status.max(Health::Draining);
    }
    let status = match report.status {
        Health::Ok | Health::Degraded => StatusCode::OK,
        Health::Draining | Health::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    json::reply(status, &report)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::http::edge::overload::Overload;

    async fn get(path: &str, store: Health, admission: &Arc<Admission>) -> (u16, serde_json::Value) {
        let checks = BTreeMap::from([("carts".to_owned(), store), ("view".to_owned(), Health::Ok)]);
        let report = HealthReport::of(checks);
        let router = router(Arc::new(move || report.clone()), Arc::clone(admission));
        let response = router
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_worst_check() {
        let admission = Arc::new(Admission::new(1, Overload::never()));
        for (health, status, name) in [
            (Health::Ok, 200, "ok"),
            (Health::Degraded, 200, "degraded"),
            (Health::Unavailable, 503, "unavailable"),
        ] {
            let (code, body) = get("/readyz", health, &admission).await;
            assert_eq!(code, status);
            assert_eq!(
                body,
                serde_json::json!({"status": name, "checks": {"carts": name, "view": "ok"}})
            );
            let alive = (200, serde_json::json!({"status": "ok", "checks": {}}));
            assert_eq!(get("/livez", health, &admission).await, alive);
        }
    }

    #[tokio::test]
    async fn a_node_that_drains_is_not_ready() {
        let admission = Arc::new(Admission::new(1, Overload::never()));
        admission.drain();
        let (code, body) = get("/readyz", Health::Ok, &admission).await;
        assert_eq!((code, &body["status"]), (503, &"draining".into()));
    }
}
