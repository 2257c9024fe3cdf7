//! The numbered view: the member set that counts.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves HTTP.
    Front,
    /// Keeps entities.
    Entities,
}

/// Where a member stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Owns its share of the shards.
    Ready,
    /// Drains: owns nothing any more, hands over.
    Leaving,
}

/// One node as the view knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the configuration.
    pub name: String,
    /// Grows at each start of the node: a restarted node is another member.
    pub incarnation: u64,
    /// Where it stands.
    pub state: MemberState,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where other nodes reach it.
    pub cluster_address: SocketAddr,
    /// Where it gossips.
    pub gossip_address: SocketAddr,
    /// Where shoppers reach it.
    pub shop_address: SocketAddr,
    /// Where operators reach it.
    pub operator_address: SocketAddr,
    /// Its software version.
    pub version: String,
}

/// A numbered member set, decided by compare-and-set in the coordination store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Counts from 1; 0 is the empty view before the first.
    pub number: u64,
    /// Sorted by name.
    pub members: Vec<Member>,
}

impl View {
    /// The member with this name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Whether this very incarnation is a member.
    pub fn contains(&self, name: &str, incarnation: u64) -> bool {
        self.member(name)
            .is_some_and(|member| member.incarnation == incarnation)
    }
}

/// Members for tests.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::{Member, MemberState, Role};

    /// A ready member with all roles.
    pub(crate) fn member(name: &str, incarnation: u64) -> Member {
        let address = "127.0.0.1:1".parse().unwrap();
        Member {
            name: name.to_owned(),
            incarnation,
            state: MemberState::Ready,
            roles: vec![Role::Front, Role::Entities],
            cluster_address: address,
            gossip_address: address,
            shop_address: address,
            operator_address: address,
            version: String::new(),
        }
    }
}
