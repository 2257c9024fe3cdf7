//! The open reservations of a SKU.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize, Serializer};

use crate::{OrderId, Timestamp};

/// Units reserved for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// How many, at least 1.
    pub quantity: u32,
    /// When the sweeper checks whether the order still needs them (invariant 11).
    pub expires_at: Timestamp,
}

/// The open reservations by order, with their sum and the order in which they expire. A copy shares its entries with the original.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Form")]
pub struct Reservations {
    by_order: RedBlackTreeMapSync<OrderId, Reservation>,
    by_expiry: RedBlackTreeMapSync<(Timestamp, OrderId), ()>,
    quantity: u64,
}

/// As stored: order, quantity, expiry.
type Rows = Vec<(OrderId, u32, Timestamp)>;

/// The current form in rows, and the older one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Rows(Rows),
    ByOrder(std::collections::BTreeMap<OrderId, Reservation>),
}

impl From<Form> for Reservations {
    fn from(form: Form) -> Self {
        match form {
            Form::Rows(rows) => rows
                .into_iter()
                .map(|(order, quantity, expires_at)| (order, Reservation { quantity, expires_at }))
                .collect(),
            Form::ByOrder(by_order) => by_order.into_iter().collect(),
        }
    }
}

// As `Rows`, without a copy of them: a SKU in demand is written some hundred times a second.
impl Serialize for Reservations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.iter();
        serializer.collect_seq(rows.map(|(order, held)| (order, held.quantity, held.expires_at)))
    }
}

impl FromIterator<(OrderId, Reservation)> for Reservations {
    fn from_iter<I: IntoIterator<Item = (OrderId, Reservation)>>(all: I) -> Self {
        let mut reservations = Self::default();
        for (order, reservation) in all {
            reservations.insert(order, reservation);
        }
        reservations
    }
}

impl Reservations {
    /// The reservation of an order.
    pub fn get(&self, order: &OrderId) -> Option<&Reservation> {
        self.by_order.get(order)
    }

    /// All of them, by order.
    pub fn iter(&self) -> impl Iterator<Item = (&OrderId, &Reservation)> {
        self.by_order.iter()
    }

    /// How many orders have one.
    pub fn len(&self) -> usize {
        self.by_order.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty()
    }

    /// The sum of their units (invariant 3).
    pub(super) fn quantity(&self) -> u64 {
        self.quantity
    }

    /// When the first of them expires.
    pub(super) fn first_expiry(&self) -> Option<Timestamp> {
        self.by_expiry.first().map(|((expires_at, _), ())| *expires_at)
    }

    /// The orders whose reservations have expired, the oldest first.
    pub(super) fn expired(&self, at: Timestamp) -> impl Iterator<Item = &OrderId> {
        let in_order = self.by_expiry.keys();
        in_order
            .take_while(move |(expires_at, _)| *expires_at <= at)
            .map(|(_, order)| order)
    }

    /// Adds a reservation, in place of one that the order has.
    pub(super) fn insert(&mut self, order: OrderId, reservation: Reservation) {
        self.remove(&order);
        self.quantity += u64::from(reservation.quantity);
        self.by_expiry
            .insert_mut((reservation.expires_at, order.clone()), ());
        self.by_order.insert_mut(order, reservation);
    }

    /// Ends the reservation of an order, and returns it.
    pub(super) fn remove(&mut self, order: &OrderId) -> Option<Reservation> {
        let held = *self.by_order.get(order)?;
        self.by_order.remove_mut(order);
        self.by_expiry.remove_mut(&(held.expires_at, order.clone()));
        self.quantity -= u64::from(held.quantity);
        Some(held)
    }
}
