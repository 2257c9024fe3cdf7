//! Orders that have returned their units, remembered so that a repetition has no effect.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{OrderId, Timestamp};

/// Most remembered orders: they are stored in the SKU's row.
pub const RETURN_LIMIT: usize = 4_096;
/// How long a return may be repeated by a caller who missed the reply (a node crashed, a store was unavailable). No order
/// is forgotten earlier.
pub const REPEATED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long an order is remembered at most, so that the row shrinks again.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The time of an order in a row of the older form, replaced at the next return.
const UNKNOWN: Timestamp = Timestamp::from_millis(0);

/// The orders, oldest first, each with the time of its return.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form")]
pub(super) struct Returns(VecDeque<(OrderId, Timestamp)>);

/// The current form in rows, and the older one without times.
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

    /// Remembers an order. `false` if there is no room: every remembered return may still be repeated.
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
