//! `/v1/shards`: which node has which shard of each kind, and what it does with it.

use std::collections::{BTreeMap, HashMap};

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
use souk_cluster::ownership::{Owner, Routing};
use souk_cluster::placement::SHARDS;
use souk_domain::Kind;

/// What becomes of a shard at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ShardState {
    /// Its owner keeps entities of it, or did a while ago.
    Active,
    /// Its owner serves it, and none of its entities was used yet.
    Idle,
    /// Its former owner finishes the commands in flight.
    HandingOver,
    /// It has no owner, or its owner may not serve it yet.
    Waiting,
    /// Its owner does not answer.
    Unreachable,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shard {
    kind: String,
    shard: u16,
    owner: Option<String>,
    state: ShardState,
    /// Live entities; `None` where it is not known.
    entities: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Shards {
    items: Vec<Shard>,
}

/// The shards that this node owns or still runs, or all shards.
pub(super) async fn list(
    State(state): State<Shared>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let own = own(&state);
    if scope == Scope::Node {
        return json::reply(StatusCode::OK, &Shards { items: own });
    }
    let mut answers = vec![(state.me.name.clone(), own)];
    for (member, answer) in peers::ask_all::<Shards>(&state, &context, "/v1/shards").await {
        // The shards of a node that does not answer stay unreachable in `merge`.
        if let Ok(answer) = answer {
            answers.push((member.name, answer.items));
        }
    }
    let kinds = state.regions.all().map(AnyRegion::kind);
    let items = merge(&state.routing, &kinds, answers);
    json::reply(StatusCode::OK, &Shards { items })
}

fn own(state: &Shared) -> Vec<Shard> {
    let regions = state.regions.all().into_iter();
    regions
        .flat_map(|region| own_of(&state.routing, region.kind(), &region.entities_by_shard()))
        .collect()
}

/// The shards of one kind that this node owns or has `started`, with their live entities.
fn own_of(routing: &Routing, kind: Kind, started: &HashMap<u16, usize>) -> Vec<Shard> {
    (0..SHARDS)
        .filter_map(|shard| {
            let entities = started.get(&shard).copied();
            let owner = routing.owner(shard);
            let state = match (&owner, entities) {
                (Owner::Local, Some(_)) => ShardState::Active,
                (Owner::Local, None) => ShardState::Idle,
                (Owner::AcquiringLease, _) => ShardState::Waiting,
                (Owner::Remote(_) | Owner::Nobody, Some(_)) => ShardState::HandingOver,
                (Owner::Remote(_) | Owner::Nobody, None) => return None,
            };
            Some(Shard {
                kind: kind.as_str().to_owned(),
                shard,
                owner: peers::owner(routing, shard),
                state,
                entities: Some(entities.unwrap_or(0)),
            })
        })
        .collect()
}

/// One entry for each shard: as reported by its owner, or by its former owner while that hands it over.
fn merge(routing: &Routing, kinds: &[Kind], answers: Vec<(String, Vec<Shard>)>) -> Vec<Shard> {
    let mut merged: BTreeMap<(String, u16), Shard> = BTreeMap::new();
    for kind in kinds.iter().map(|kind| kind.as_str()) {
        for shard in 0..SHARDS {
            let owner = peers::owner(routing, shard);
            let state = if owner.is_some() {
                ShardState::Unreachable
            } else {
                ShardState::Waiting
            };
            let entities = owner.is_none().then_some(0);
            merged.insert(
                (kind.to_owned(), shard),
                Shard {
                    kind: kind.to_owned(),
                    shard,
                    owner,
                    state,
                    entities,
                },
            );
        }
    }
    for (node, shards) in answers {
        for said in shards {
            let Some(known) = merged.get_mut(&(said.kind.clone(), said.shard)) else {
                continue;
            };
            let handing_over = said.state == ShardState::HandingOver;
            if handing_over || (known.owner.as_ref() == Some(&node) && known.state != ShardState::HandingOver)
            {
                // Views may differ for a moment: the owner is shown as this node sees it.
                let owner = known.owner.take();
                *known = Shard { owner, ..said };
            }
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::operator::tests::member;
    use souk_cluster::view::View;

    const CART: Kind = Kind("cart");
    const SKU: Kind = Kind("sku");
    const KINDS: [Kind; 2] = [CART, SKU];

    fn routing(me: &str, number: u64, members: &[&str]) -> std::sync::Arc<Routing> {
        let routing = Routing::new(me);
        let members = members.iter().map(|name| member(name)).collect();
        routing.install(View { number, members }, Instant::now(), Duration::ZERO);
        routing
    }

    fn states(shards: &[Shard], kind: Kind, shard: u16) -> (ShardState, Option<&str>, Option<usize>) {
        let found: Vec<_> = shards
            .iter()
            .filter(|item| (item.kind.as_str(), item.shard) == (kind.as_str(), shard))
            .collect();
        assert_eq!(
            found.len(),
            1,
            "shard {shard} of {kind:?} is listed {} times",
            found.len()
        );
        (found[0].state, found[0].owner.as_deref(), found[0].entities)
    }

    #[test]
    fn shards_are_listed_as_their_owners_report() {
        let (a, b) = (routing("a", 1, &["a", "b"]), routing("b", 1, &["a", "b"]));
        let (mine, theirs) = (a.owned()[0], b.owned()[0]);
        let started = HashMap::from([(mine, 3), (theirs, 2)]);
        let from_a = own_of(&a, SKU, &started);
        let from_b = own_of(&b, SKU, &HashMap::new());
        assert_eq!(
            states(&from_a, SKU, mine),
            (ShardState::Active, Some("a"), Some(3))
        );
        assert_eq!(
            states(&from_a, SKU, theirs),
            (ShardState::HandingOver, Some("b"), Some(2))
        );
        assert_eq!(
            states(&from_b, SKU, theirs),
            (ShardState::Idle, Some("b"), Some(0))
        );

        for answers in [
            vec![("a".to_owned(), from_a.clone()), ("b".to_owned(), from_b.clone())],
            vec![("b".to_owned(), from_b), ("a".to_owned(), from_a.clone())],
        ] {
            let merged = merge(&a, &KINDS, answers);
            assert_eq!(merged.len(), KINDS.len() * usize::from(SHARDS));
            assert_eq!(
                states(&merged, SKU, mine),
                (ShardState::Active, Some("a"), Some(3))
            );
            assert_eq!(
                states(&merged, SKU, theirs),
                (ShardState::HandingOver, Some("b"), Some(2))
            );
        }
        let without_b = merge(
            &a,
            &KINDS,
            vec![("a".to_owned(), own_of(&a, SKU, &HashMap::new()))],
        );
        assert_eq!(
            states(&without_b, SKU, theirs),
            (ShardState::Unreachable, Some("b"), None)
        );
    }

    #[test]
    fn a_shard_without_an_owner_is_waiting() {
        let merged = merge(&Routing::new("a"), &KINDS, Vec::new());
        assert_eq!(states(&merged, CART, 0), (ShardState::Waiting, None, Some(0)));
    }
}
