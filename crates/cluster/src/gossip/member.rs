//! What nodes publish about themselves in gossip, and the list of live members made of it.

use std::collections::{BTreeMap, HashSet};

use chitchat::{Chitchat, ChitchatId, NodeState};

use crate::view::{Member, MemberState, Role};

/// `ready` or `leaving`.
pub(super) const STATE: &str = "state";
/// `front`, `entities` or both, separated by commas.
const ROLES: &str = "roles";
const CLUSTER_ADDRESS: &str = "cluster_address";
const SHOP_ADDRESS: &str = "shop_address";
const OPERATOR_ADDRESS: &str = "operator_address";
const VERSION: &str = "version";

/// What a node publishes when it starts.
pub(super) fn key_values(me: &Member) -> Vec<(String, String)> {
    let roles: Vec<&str> = me.roles.iter().map(|role| role.as_str()).collect();
    [
        (STATE, me.state.as_str().to_owned()),
        (ROLES, roles.join(",")),
        (CLUSTER_ADDRESS, me.cluster_address.to_string()),
        (SHOP_ADDRESS, me.shop_address.to_string()),
        (OPERATOR_ADDRESS, me.operator_address.to_string()),
        (VERSION, me.version.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// The live nodes, sorted by name, each in its greatest known incarnation. Left out are nodes whose keys have not all
/// arrived yet or have values that this version does not know.
pub(super) fn members(chitchat: &Chitchat) -> Vec<Member> {
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
        .filter_map(|id| member(id, chitchat.node_state(id)?))
        .collect()
}

fn member(id: &ChitchatId, state: &NodeState) -> Option<Member> {
    let address = |key| state.get(key)?.parse().ok();
    Some(Member {
        name: id.node_id.to_string(),
        incarnation: id.generation_id,
        state: MemberState::parse(state.get(STATE)?)?,
        roles: state.get(ROLES)?.split(',').filter_map(Role::parse).collect(),
        gossip_address: id.gossip_advertise_addr,
        cluster_address: address(CLUSTER_ADDRESS)?,
        shop_address: address(SHOP_ADDRESS)?,
        operator_address: address(OPERATOR_ADDRESS)?,
        version: state.get(VERSION)?.to_owned(),
    })
}
