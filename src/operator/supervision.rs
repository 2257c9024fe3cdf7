//! `/v1/supervision`: the tree of what is supervised, with restarts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::peers::{self, Scope};
use crate::actors::figures::KindFigures;
use crate::actors::region::AnyRegion;
use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::json;

/// How a supervised part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisionStatus {
    /// At work.
    Running,
    /// It failed, and rests before it starts again.
    Restarting,
    /// It has ended, as it should.
    Stopped,
    /// It failed too often: its supervisor has given up.
    GivenUp,
    /// Its node does not answer.
    Unreachable,
}

/// A supervised part of the node with what it supervises itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisionTree {
    /// Which one.
    pub name: String,
    /// What it is: `node`, `membership`, `region`.
    pub kind: String,
    /// How it stands.
    pub status: SupervisionStatus,
    /// How often it was started again.
    pub restarts: u64,
    /// What ended it the last time.
    pub last_error: Option<String>,
    /// What it supervises.
    pub children: Vec<SupervisionTree>,
}

impl SupervisionTree {
    /// A running part that supervises nothing and never failed.
    pub fn running(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            status: SupervisionStatus::Running,
            restarts: 0,
            last_error: None,
            children: Vec::new(),
        }
    }

    /// The shards of a region with their entities, as one leaf for below the region's supervisor: there may be as many
    /// as a hundred thousand. Its restarts are those of entities, its last error the latest crash of one.
    pub fn of_entities(region: &dyn AnyRegion) -> Self {
        let figures = region.figures();
        let by_shard = region.entities_by_shard();
        let entities: usize = by_shard.values().sum();
        Self {
            restarts: KindFigures::read(&figures.restarts),
            last_error: figures
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
            status: SupervisionStatus::Unreachable,
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
