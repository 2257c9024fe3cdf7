//! `/v1/supervision`: the supervision tree, with restarts.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::peers::{self, Scope};
use crate::actors::region::AnyRegion;
use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::json;

/// State of a supervised actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisionState {
    /// It is running.
    Running,
    /// It failed, and is restarted after a pause.
    Restarting,
    /// It ended normally.
    Stopped,
    /// It failed too often: its supervisor gave up.
    GivenUp,
    /// Its node does not answer.
    Unreachable,
}

/// A supervised actor, and the actors that it supervises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisionTree {
    /// Its name.
    pub name: String,
    /// Its kind, as in `node`, `membership`, `region`.
    pub kind: String,
    /// Its state.
    pub status: SupervisionState,
    /// Number of restarts.
    pub restarts: u64,
    /// Reason of its last failure.
    pub last_error: Option<String>,
    /// The actors that it supervises.
    pub children: Vec<SupervisionTree>,
}

impl SupervisionTree {
    /// A running actor without children or failures.
    pub fn running(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            status: SupervisionState::Running,
            restarts: 0,
            last_error: None,
            children: Vec::new(),
        }
    }

    /// The shards of a region with their entities, as one leaf: there may be a hundred thousand. Its restarts are those of
    /// entities, its last error the latest crash.
    pub fn of_entities(region: &dyn AnyRegion) -> Self {
        let metrics = region.metrics();
        let by_shard = region.entities_by_shard();
        let entities: usize = by_shard.values().sum();
        Self {
            restarts: metrics.restarts.load(Ordering::Relaxed),
            last_error: metrics
                .crashes()
                .pop()
                .map(|crash| format!("{}: {}", crash.id, crash.reason)),
            ..Self::running(
                format!("{} shards with {entities} entities", by_shard.len()),
                "shards",
            )
        }
    }

    fn unreachable(name: &str, error: String) -> Self {
        Self {
            status: SupervisionState::Unreachable,
            last_error: Some(error),
            ..Self::running(name, "node")
        }
    }
}

/// The tree of this node, or of all nodes below a root that stands for the cluster.
pub(super) async fn show(
    State(state): State<Shared>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let own = (state.supervision)();
    if scope == Scope::Node {
        return json::reply(StatusCode::OK, &own);
    }
    let mut nodes = vec![own];
    for (member, answer) in peers::ask_all::<SupervisionTree>(&state, &context, "/v1/supervision").await {
        nodes.push(match answer {
            Ok(tree) => tree,
            Err(error) => SupervisionTree::unreachable(&member.name, error.to_string()),
        });
    }
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let tree = SupervisionTree {
        children: nodes,
        ..SupervisionTree::running("cluster", "cluster")
    };
    json::reply(StatusCode::OK, &tree)
}
