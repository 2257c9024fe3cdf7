//! What nodes publish about themselves in gossip, and the reports made of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use chitchat::{Chitchat, ChitchatId, NodeState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

use crate::view::Member;

/// `ready` or `leaving`.
pub(super) const STATE: &str = "state";
/// `front`, `entities` or both, separated by commas.
const ROLES: &str = "roles";
const CLUSTER_ADDRESS: &str = "cluster_address";
const SHOP_ADDRESS: &str = "shop_address";
const OPERATOR_ADDRESS: &str = "operator_address";
const VERSION: &str = "version";
/// Names separated by commas; absent until a link was missing for too long.
pub(super) const UNREACHABLE: &str = "unreachable";

/// What a live node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// The node.
    pub member: Member,
    /// The names of the live nodes to which it has had no link for too long.
    pub unreachable: Vec<String>,
}

/// The name of a state or role: as in JSON.
pub(super) fn name(value: impl Serialize) -> String {
    fmt::from_fn(|f| value.serialize(f)).to_string()
}

/// The state or role with this name.
fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<Error>::new(name)).ok()
}

/// What a node publishes when it starts.
pub(super) fn key_values(me: &Member) -> Vec<(String, String)> {
    [
        (STATE, name(me.state)),
        (ROLES, me.roles.iter().map(name).collect::<Vec<_>>().join(",")),
        (CLUSTER_ADDRESS, me.cluster_address.to_string()),
        (SHOP_ADDRESS, me.shop_address.to_string()),
        (OPERATOR_ADDRESS, me.operator_address.to_string()),
        (VERSION, me.version.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// The reports of the live nodes, sorted by name, each of its greatest known incarnation. Left out are nodes whose keys
/// have not all arrived yet or have values that this version does not know.
pub(super) fn reports(chitchat: &Chitchat) -> Vec<NodeReport> {
    let mut latest: BTreeMap<&str, &ChitchatId> = BTreeMap::new();
    for id in chitchat.node_states().keys() {
        let entry = latest.entry(&id.node_id).or_insert(id);
        if entry.generation_id < id.generation_id {
            *entry = id;
        }
    }
    let live: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    latest
        .into_values()
        .filter(|id| live.contains(id))
        .filter_map(|id| report(id, chitchat.node_state(id)?))
        .collect()
}

fn report(id: &ChitchatId, state: &NodeState) -> Option<NodeReport> {
    let address = |key| state.get(key)?.parse().ok();
    let member = Member {
        name: id.node_id.to_string(),
        incarnation: id.generation_id,
        state: named(state.get(STATE)?)?,
        roles: state.get(ROLES)?.split(',').filter_map(named).collect(),
        gossip_address: id.gossip_advertise_addr,
        cluster_address: address(CLUSTER_ADDRESS)?,
        shop_address: address(SHOP_ADDRESS)?,
        operator_address: address(OPERATOR_ADDRESS)?,
        version: state.get(VERSION)?.to_owned(),
    };
    let unreachable = state.get(UNREACHABLE).unwrap_or_default().split(',');
    Some(NodeReport {
        member,
        unreachable: unreachable
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
