//! The open reservations of a SKU.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::packed::{self, Form};
use crate::{OrderId, Timestamp};

/// Most reservations in one run. A change copies the run and the list of runs: of 2,000 reservations, about 100 rows and 20
/// pointers.
const RUN_LIMIT: usize = 128;

/// Units reserved for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// How many, at least 1.
    pub quantity: u32,
    /// When the sweeper checks whether the order still needs them (invariant 11).
    pub expires_at: Timestamp,
}

/// The open reservations by order, with their sum. A copy shares its runs with the original.
///
/// They lie side by side in memory, because every write of the row reads all of them: walking a tree, whose nodes lie apart,
/// would take longer than encoding what it holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Form")]
pub struct Reservations {
    /// Sorted by order, within a run and from one to the next. None is empty.
    runs: Arc<Vec<Arc<Vec<Held>>>>,
    len: usize,
    quantity: u64,
}

/// A reservation and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) order: OrderKey,
    pub(super) reservation: Reservation,
}

/// An order's identifier, without an allocation of its own where it has the usual form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OrderKey {
    /// 32 hexadecimal digits in lower case behind the prefix.
    Hash([u8; 16]),
    /// Any other.
    Text(OrderId),
}

impl From<&OrderId> for OrderKey {
    fn from(order: &OrderId) -> Self {
        let mut hash = [0; 16];
        let digits = order
            .as_str()
            .strip_prefix(OrderId::PREFIX)
            .filter(|digits| !digits.bytes().any(|digit| digit.is_ascii_uppercase()));
        match digits.map(|digits| hex::decode_to_slice(digits, &mut hash)) {
            Some(Ok(())) => Self::Hash(hash),
            _ => Self::Text(order.clone()),
        }
    }
}

impl From<&OrderKey> for OrderId {
    fn from(key: &OrderKey) -> Self {
        match key {
            OrderKey::Hash(hash) => Self::from_suffix(hex::encode(hash)),
            OrderKey::Text(order) => order.clone(),
        }
    }
}

/// Two are the same whatever their runs are.
impl PartialEq for Reservations {
    fn eq(&self, other: &Self) -> bool {
        self.held().eq(other.held())
    }
}

impl Eq for Reservations {}

impl Serialize for Reservations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match packed::pack(self) {
            Some(packed) => serializer.serialize_str(&packed),
            None => serializer.collect_seq(
                self.iter()
                    .map(|(order, held)| (order, held.quantity, held.expires_at)),
            ),
        }
    }
}

impl FromIterator<(OrderId, Reservation)> for Reservations {
    fn from_iter<I: IntoIterator<Item = (OrderId, Reservation)>>(all: I) -> Self {
        all.into_iter()
            .map(|(order, reservation)| Held {
                order: (&order).into(),
                reservation,
            })
            .collect()
    }
}

impl FromIterator<Held> for Reservations {
    fn from_iter<I: IntoIterator<Item = Held>>(all: I) -> Self {
        let mut reservations = Self::default();
        for held in all {
            reservations.put(held);
        }
        reservations
    }
}

impl Reservations {
    /// The reservation of an order.
    pub fn get(&self, order: &OrderId) -> Option<Reservation> {
        let (run, at) = self.find(&order.into());
        Some(self.runs.get(run)?.get(at.ok()?)?.reservation)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (OrderId, Reservation)> {
        self.held().map(|held| ((&held.order).into(), held.reservation))
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.runs.iter().flat_map(|run| run.iter())
    }

    /// How many orders have one.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of their units (invariant 3).
    pub(super) fn quantity(&self) -> u64 {
        self.quantity
    }

    /// When the first of them expires.
    pub(super) fn first_expiry(&self) -> Option<Timestamp> {
        self.held().map(|held| held.reservation.expires_at).min()
    }

    /// The orders whose reservations have expired, the oldest first; at most `limit`.
    pub(super) fn expired(&self, at: Timestamp, limit: usize) -> Vec<OrderId> {
        let mut expired: Vec<_> = self
            .held()
            .map(|held| (held.reservation.expires_at, &held.order))
            .filter(|(expires_at, _)| *expires_at <= at)
            .collect();
        expired.sort_unstable();
        expired
            .into_iter()
            .take(limit)
            .map(|(_, order)| order.into())
            .collect()
    }

    /// Adds a reservation, in place of one that the order has.
    pub(super) fn insert(&mut self, order: &OrderId, reservation: Reservation) {
        self.put(Held {
            order: order.into(),
            reservation,
        });
    }

    fn put(&mut self, held: Held) {
        let (number, at) = self.find(&held.order);
        self.quantity += u64::from(held.reservation.quantity);
        let runs = Arc::make_mut(&mut self.runs);
        let Some(run) = runs.get_mut(number).map(Arc::make_mut) else {
            self.len = 1;
            return runs.push(Arc::new(vec![held]));
        };
        match at {
            Ok(at) => {
                let former = std::mem::replace(&mut run[at], held);
                self.quantity -= u64::from(former.reservation.quantity);
            }
            Err(at) => {
                self.len += 1;
                run.insert(at, held);
                if run.len() > RUN_LIMIT {
                    let upper = run.split_off(run.len() / 2);
                    runs.insert(number + 1, Arc::new(upper));
                }
            }
        }
    }

    /// Ends the reservation of an order, and returns it.
    pub(super) fn remove(&mut self, order: &OrderId) -> Option<Reservation> {
        let (number, at) = self.find(&order.into());
        let at = at.ok()?;
        let runs = Arc::make_mut(&mut self.runs);
        let run = Arc::make_mut(runs.get_mut(number)?);
        let Held { reservation, .. } = run.remove(at);
        if run.is_empty() {
            runs.remove(number);
        }
        self.len -= 1;
        self.quantity -= u64::from(reservation.quantity);
        Some(reservation)
    }

    /// The number of the run that has this order or would get it, and the place within it.
    fn find(&self, order: &OrderKey) -> (usize, Result<usize, usize>) {
        let begins_before = |run: &Arc<Vec<Held>>| run.first().is_some_and(|first| first.order <= *order);
        let number = self.runs.partition_point(begins_before).saturating_sub(1);
        let at = match self.runs.get(number) {
            Some(run) => run.binary_search_by(|held| held.order.cmp(order)),
            None => Err(0),
        };
        (number, at)
    }
}

#[cfg(test)]
#[path = "reservations_tests.rs"]
mod tests;
