//! The numbered view: the member set that counts.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves HTTP.
    Front,
    /// Owns shards and runs their entities.
    Entities,
}

/// Whether a member owns shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Owns its share of the shards.
    Ready,
    /// Draining: owns nothing any more and hands over what it had.
    Leaving,
}

/// One incarnation of a node. A restarted node is another member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The node's name in the configuration.
    pub name: String,
    /// Grows at each start of the node.
    pub incarnation: u64,
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.incarnation)
    }
}

/// A node as the view and gossip describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the configuration.
    pub name: String,
    /// Grows at each start of the node.
    pub incarnation: u64,
    /// Whether it owns shards.
    pub state: MemberState,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where other nodes open links.
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

impl Member {
    /// Its name and incarnation.
    pub fn identity(&self) -> NodeIdentity {
        NodeIdentity {
            name: self.name.clone(),
            incarnation: self.incarnation,
        }
    }

    /// Whether it is this incarnation.
    pub fn is(&self, identity: &NodeIdentity) -> bool {
        self.name == identity.name && self.incarnation == identity.incarnation
    }
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

    /// Whether this incarnation is a member.
    pub fn contains(&self, identity: &NodeIdentity) -> bool {
        self.members.iter().any(|member| member.is(identity))
    }
}

/// Members for tests.
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures {
    use super::{Member, MemberState, Role};
    use crate::gossip::NodeReport;

    /// A ready member with all roles.
    pub fn member(name: &str, incarnation: u64) -> Member {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
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

    /// The report of a live node that reaches all others.
    pub fn report(member: &Member) -> NodeReport {
        NodeReport {
            member: member.clone(),
            unreachable: Vec::new(),
        }
    }
}
