//! `/v1/config`: the effective configuration.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Shared;
use crate::http::edge::problem::Problem;
use crate::http::request::json;

/// All settings, without secrets.
pub(super) async fn show(State(state): State<Shared>) -> Result<Response, Problem> {
    json::reply(StatusCode::OK, &state.config)
}
