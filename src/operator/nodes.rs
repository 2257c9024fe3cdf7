//! `/v1/nodes`: the nodes and their state.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Shared;
use super::peers::{self, Scope};
use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::json;
use souk_cluster::view::{Member, MemberState};

/// This node, or all nodes by name.
pub(super) async fn list(
    State(state): State<Shared>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let mut items = vec![this_node(&state).await];
    if scope == Scope::Cluster {
        for (member, answer) in peers::ask_all::<Value>(&state, &context, "/v1/nodes").await {
            items.push(match answer {
                Ok(mut answer) => answer["items"][0].take(),
                Err(error) => unreachable(&state, &member, &error.to_string()),
            });
        }
        items.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    }
    json::reply(StatusCode::OK, &json!({ "items": items }))
}

async fn this_node(state: &Shared) -> Value {
    let description = peers::membership(state).await;
    let table = state.routing.table();
    let within = description.as_ref().map_or_else(
        || table.view.member(&state.me.name).is_some(),
        |description| description.is_member,
    );
    let leaving = state.admission.is_draining()
        || description
            .as_ref()
            .is_some_and(|description| description.me.state == MemberState::Leaving);
    let live = state
        .regions
        .all()
        .map(|region| (region.kind(), region.metrics().live.load(Ordering::Relaxed)));
    let by_kind: serde_json::Map<String, Value> = live
        .iter()
        .map(|(kind, count)| (kind.as_str().to_owned(), (*count).into()))
        .collect();
    let mut item = described(&state.me);
    for (field, value) in [
        (
            "state",
            if leaving {
                "leaving".into()
            } else if within {
                "ready".into()
            } else {
                "joining".into()
            },
        ),
        ("started_at", state.started_at.to_rfc3339().into()),
        ("shards", state.routing.served().len().into()),
        (
            "entities",
            live.iter().map(|(_, count)| count).sum::<usize>().into(),
        ),
        ("entities_by_kind", by_kind.into()),
        // Commands of all kinds.
        ("load", state.regions.in_flight().into()),
        ("rss_bytes", resident_bytes().into()),
        ("view", table.view.number.into()),
        ("verified", state.routing.holds_lease().into()),
    ] {
        item[field] = value;
    }
    item
}

/// A node that does not answer: what is known from the view.
fn unreachable(state: &Shared, member: &Member, error: &str) -> Value {
    let shards = souk_cluster::ownership::Owner::Remote(member.name.as_str().into());
    let owned = (0..souk_cluster::placement::SHARDS)
        .filter(|shard| state.routing.owner(*shard) == shards)
        .count();
    let mut item = described(member);
    item["state"] = "unreachable".into();
    item["shards"] = owned.into();
    item["verified"] = false.into();
    item["error"] = error.into();
    for unknown in [
        "started_at",
        "entities",
        "entities_by_kind",
        "load",
        "rss_bytes",
        "view",
    ] {
        item[unknown] = Value::Null;
    }
    item
}

fn described(member: &Member) -> Value {
    json!({
        "name": member.name,
        "roles": member.roles,
        "version": member.version,
        "addresses": {
            "shop": member.shop_address,
            "operator": member.operator_address,
            "cluster": member.cluster_address,
            "gossip": member.gossip_address,
        },
    })
}

/// The resident memory of this process, in bytes; `None` where the system does not report it.
fn resident_bytes() -> Option<u64> {
    // Not a file on disk, so reading it does not block.
    resident_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmRSS` of a `/proc/<pid>/status` (proc_pid_status(5)), which is in units of 1024 bytes.
fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_in_bytes() {
        assert_eq!(
            resident_of("Name:\tsouk\nVmHWM:\t 90 kB\nVmRSS:\t    12 kB\nThreads:\t3\n"),
            Some(12 * 1024)
        );
        assert_eq!(resident_of("Name:\tsouk\n"), None);
        assert!(resident_bytes().is_none_or(|bytes| bytes > 1024 * 1024));
    }
}
