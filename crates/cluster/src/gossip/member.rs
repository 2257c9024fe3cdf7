//! What nodes say of themselves in gossip, and the list of members made of it.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use chitchat::{Chitchat, ChitchatId, NodeState};

use crate::view::Role;

/// The keys that a node publishes.
pub mod keys {
    /// `joining`, `ready` or `leaving`.
    pub const STATE: &str = "state";
    /// `front`, `entities` or both, separated by commas.
    pub const ROLES: &str = "roles";
    /// Where other nodes open links.
    pub const CLUSTER_ADDRESS: &str = "cluster_address";
    /// Where shoppers reach it.
    pub const SHOP_ADDRESS: &str = "shop_address";
    /// Where operators reach it.
    pub const OPERATOR_ADDRESS: &str = "operator_address";
    /// Its software version.
    pub const VERSION: &str = "version";
    /// Entities that are active on it, as a number.
    pub const LOAD: &str = "load";
}

/// Where a node says that it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GossipState {
    /// Starts; is in no view yet.
    Joining,
    /// Serves.
    Ready,
    /// Hands over what it has and goes.
    Leaving,
}

impl GossipState {
    /// As it is published.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Joining, Self::Ready, Self::Leaving]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// What a node says of itself from the start.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Where it stands.
    pub state: GossipState,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where other nodes open links.
    pub cluster_address: SocketAddr,
    /// Where shoppers reach it.
    pub shop_address: SocketAddr,
    /// Where operators reach it.
    pub operator_address: SocketAddr,
    /// Its software version.
    pub version: String,
}

impl Announcement {
    pub(super) fn key_values(&self) -> Vec<(String, String)> {
        let roles: Vec<&str> = self.roles.iter().copied().map(role_name).collect();
        [
            (keys::STATE, self.state.as_str().to_owned()),
            (keys::ROLES, roles.join(",")),
            (keys::CLUSTER_ADDRESS, self.cluster_address.to_string()),
            (keys::SHOP_ADDRESS, self.shop_address.to_string()),
            (keys::OPERATOR_ADDRESS, self.operator_address.to_string()),
            (keys::VERSION, self.version.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }
}

/// A live node, as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipMember {
    /// Its name in the configuration.
    pub name: String,
    /// Grows at each start.
    pub incarnation: u64,
    /// Where it says that it stands.
    pub state: GossipState,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where it gossips.
    pub gossip_address: SocketAddr,
    /// Where other nodes open links.
    pub cluster_address: SocketAddr,
    /// Where shoppers reach it.
    pub shop_address: SocketAddr,
    /// Where operators reach it.
    pub operator_address: SocketAddr,
    /// Its software version.
    pub version: String,
    /// Entities that are active on it; 0 until it says.
    pub load: u64,
}

/// The live nodes, sorted by name, each in the greatest incarnation that is known of it. A node whose keys have not all
/// arrived is not among them yet, nor is one that says what this software does not understand.
pub(super) fn members(chitchat: &Chitchat) -> Vec<GossipMember> {
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

fn member(id: &ChitchatId, state: &NodeState) -> Option<GossipMember> {
    let address = |key| state.get(key)?.parse().ok();
    Some(GossipMember {
        name: id.node_id.to_string(),
        incarnation: id.generation_id,
        state: GossipState::parse(state.get(keys::STATE)?)?,
        roles: state
            .get(keys::ROLES)?
            .split(',')
            .filter_map(parse_role)
            .collect(),
        gossip_address: id.gossip_advertise_addr,
        cluster_address: address(keys::CLUSTER_ADDRESS)?,
        shop_address: address(keys::SHOP_ADDRESS)?,
        operator_address: address(keys::OPERATOR_ADDRESS)?,
        version: state.get(keys::VERSION)?.to_owned(),
        load: state
            .get(keys::LOAD)
            .and_then(|load| load.parse().ok())
            .unwrap_or(0),
    })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Front => "front",
        Role::Entities => "entities",
    }
}

fn parse_role(text: &str) -> Option<Role> {
    [Role::Front, Role::Entities]
        .into_iter()
        .find(|role| role_name(*role) == text)
}
