//! Events: what other parts of the shop hear of an entity's change, written in the same transaction as the change.

use serde::{Deserialize, Serialize};

/// One thing that happened to an entity. Delivered at least once and in order per entity (invariant 10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened, in dotted lower case: `order.confirmed`, `stock.sold`.
    pub name: String,
    /// The particulars, as JSON; never personal data.
    pub detail: serde_json::Value,
}

impl Event {
    /// An event with its particulars.
    pub fn new(name: &str, detail: serde_json::Value) -> Self {
        Self {
            name: name.to_owned(),
            detail,
        }
    }
}
