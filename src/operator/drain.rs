//! `/v1/nodes/{name}/drain`: drains a node.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::peers::{self, PeerError, Scope};
use super::{Shared, access};
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::json;
use crate::http::request::path::PathParameter;

/// Starts the drain of a node and does not wait for its end (202).
pub(super) async fn start(
    State(state): State<Shared>,
    PathParameter(name): PathParameter,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    if name == state.me.name {
        access::log(&state, &context, "drain", &name);
        (state.drain)();
        return json::reply(StatusCode::ACCEPTED, &json!({ "name": name, "state": "leaving" }));
    }
    let unknown = || Problem::new(problem::NOT_FOUND).detail("no node of the cluster has this name");
    if scope == Scope::Node {
        return Err(unknown());
    }
    let others = peers::others(&state).await;
    let member = others
        .iter()
        .find(|member| member.name == name)
        .ok_or_else(unknown)?;
    access::log(&state, &context, "drain", &name);
    // Names of members need no encoding.
    let path = format!("/v1/nodes/{name}/drain");
    let answer: Result<Value, PeerError> = peers::ask(&state, &context, member, Method::POST, &path).await;
    match answer {
        Ok(answer) => json::reply(StatusCode::ACCEPTED, &answer),
        Err(error) => {
            tracing::warn!(
                node = name,
                error = &error as &dyn std::error::Error,
                "the drain of a node could not be started"
            );
            Err(Problem::new(problem::UNAVAILABLE)
                .detail(error.to_string())
                .retry_after(problem::RETRY_AFTER))
        }
    }
}
