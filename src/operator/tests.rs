//! What the tests of this interface share.

use souk_cluster::view::{Member, MemberState, Role};

mod entities;
mod interface;
mod node;
mod rows;

/// A ready node of this name.
pub(super) fn member(name: &str) -> Member {
    let address = "127.0.0.1:1".parse().unwrap();
    Member {
        name: name.to_owned(),
        incarnation: 1,
        state: MemberState::Ready,
        roles: vec![Role::Front, Role::Entities],
        cluster_address: address,
        gossip_address: address,
        shop_address: address,
        operator_address: address,
        version: "0.1.0".to_owned(),
    }
}
