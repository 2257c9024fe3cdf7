//! `/livez`, `/readyz`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Operation, Tag};
use crate::http::api::health::HealthReport;

pub fn live() -> Operation {
    Operation::new(Tag::Service, "isAlive", "Say that the process answers")
        .reply::<HealthReport>(StatusCode::OK, "It does.")
        .example(json!({"status": "ok", "checks": {}}))
}

pub fn ready() -> Operation {
    Operation::new(Tag::Service, "isReady", "Say whether the node serves")
        .about("Answers however busy the node is.")
        .reply::<HealthReport>(StatusCode::OK, "It serves: `ok`, or `degraded`.")
        .example(json!({"status": "degraded", "checks": {"stores": "degraded", "view": "ok"}}))
        .reply::<HealthReport>(
            StatusCode::SERVICE_UNAVAILABLE,
            "It does not: `draining`, or `unavailable`.",
        )
        .example(json!({"status": "draining", "checks": {"stores": "ok", "view": "ok"}}))
}
