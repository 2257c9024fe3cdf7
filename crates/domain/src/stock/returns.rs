//! Orders that gave their pieces back, remembered so that a repetition counts once.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{OrderId, Timestamp};

/// Most orders that are remembered: they travel in the row of their SKU.
pub const RETURN_LIMIT: usize = 4_096;
/// For so long a return may be repeated by whoever did not hear that it was done (a node died, a store was away): before, no
/// order is forgotten to make room for another.
pub const REPEATED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// After this an order is forgotten in any case, so that the row does not stay large for ever.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Of an order in a row that held the orders alone. Its time begins when the next one gives back.
const UNKNOWN: Timestamp = Timestamp::from_millis(0);

/// The orders, oldest first, each with when it gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form")]
pub(super) struct Returns(VecDeque<(OrderId, Timestamp)>);

/// As rows hold them, and as they once did.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Timed(VecDeque<(OrderId, Timestamp)>),
    Orders(VecDeque<OrderId>),
}

impl From<Form> for Returns {
    fn from(form: Form) -> Self {
        Self(match form {
            Form::Timed(returns) => returns,
            Form::Orders(orders) => orders.into_iter().map(|order| (order, UNKNOWN)).collect(),
        })
    }
}

impl Returns {
    pub(super) fn contains(&self, order: &OrderId) -> bool {
        self.0.iter().any(|(known, _)| known == order)
    }

    /// Remembers an order. False where there is no room, since each of those that are remembered may still be repeated.
    #[must_use]
    pub(super) fn remember(&mut self, order: &OrderId, at: Timestamp) -> bool {
        for (_, since) in self.0.iter_mut().take_while(|(_, since)| *since == UNKNOWN) {
            *since = at;
        }
        self.forget(KEPT, at);
        if self.0.len() >= RETURN_LIMIT {
            let fresh = self
                .0
                .front()
                .is_some_and(|(_, since)| at <= since.plus(REPEATED_WITHIN));
            if fresh {
                return false;
            }
            self.0.pop_front();
        }
        self.0.push_back((order.clone(), at));
        true
    }

    fn forget(&mut self, after: Duration, at: Timestamp) {
        while self.0.front().is_some_and(|(_, since)| at > since.plus(after)) {
            self.0.pop_front();
        }
    }
}
