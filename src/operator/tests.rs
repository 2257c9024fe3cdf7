//! What the tests of this interface share.

use souk_cluster::view::{Member, fixtures};

mod entities;
mod interface;
mod node;
mod rows;

/// A ready node of this name.
pub(super) fn member(name: &str) -> Member {
    Member {
        version: "0.1.0".to_owned(),
        ..fixtures::member(name, 1)
    }
}
