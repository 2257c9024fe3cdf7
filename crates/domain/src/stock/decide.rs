//! What each command does to a stock.

use super::{
    ON_HAND_LIMIT, REASON_LIMIT, REFERENCE_LIMIT, REFERENCED, RESERVATION_LIMIT, RETURNED, Reservation,
    Stock, StockEvent, StockFigures, StockRefusal, TAKEN, TOTAL_LIMIT,
};
use crate::{OrderId, Timestamp};

/// The events of a change, or `None` where nothing changes. After a refusal the stock is of no use.
type Outcome = Result<Option<Vec<StockEvent>>, StockRefusal>;

impl Stock {
    /// What the ledger says of the stock after an event.
    fn figures(&self) -> StockFigures {
        let level = self.level();
        StockFigures {
            on_hand: level.on_hand,
            available: level.available,
        }
    }

    pub(super) fn receive(&mut self, reference: &str, quantity: u32, at: Timestamp) -> Outcome {
        let reference = checked_reference(reference)?;
        if self.receipts.contains(&reference) {
            return Ok(None);
        }
        self.received = self.received.saturating_add(quantity.into());
        if quantity == 0 || self.received > TOTAL_LIMIT || self.level().on_hand > ON_HAND_LIMIT {
            return Err(StockRefusal::OutOfRange);
        }
        // There is always room: the oldest is forgotten.
        let _ = self.receipts.remember(&reference, at, REFERENCED);
        let event = StockEvent::Received {
            quantity,
            reference,
            after: self.figures(),
        };
        Ok(Some(vec![event]))
    }

    pub(super) fn adjust(&mut self, delta: i64, reason: &str, reference: &str, at: Timestamp) -> Outcome {
        let reference = checked_reference(reference)?;
        if self.adjustments.contains(&reference) {
            return Ok(None);
        }
        if delta == 0 || delta.unsigned_abs() > TOTAL_LIMIT || reason.len() > REASON_LIMIT {
            return Err(StockRefusal::OutOfRange);
        }
        let level = self.level();
        // Fits: both lie within TOTAL_LIMIT in either direction.
        let on_hand = i64::try_from(level.on_hand)
            .unwrap_or(i64::MAX)
            .saturating_add(delta);
        let Ok(on_hand) = u64::try_from(on_hand) else {
            return Err(StockRefusal::BelowReserved);
        };
        if on_hand < level.reserved {
            return Err(StockRefusal::BelowReserved);
        }
        let adjusted = self.adjusted.saturating_add(delta);
        if on_hand > ON_HAND_LIMIT || adjusted.unsigned_abs() > TOTAL_LIMIT {
            return Err(StockRefusal::OutOfRange);
        }
        self.adjusted = adjusted;
        let _ = self.adjustments.remember(&reference, at, REFERENCED);
        let event = StockEvent::Adjusted {
            delta,
            reason: reason.to_owned(),
            reference,
            after: self.figures(),
        };
        Ok(Some(vec![event]))
    }

    pub(super) fn reserve(&mut self, order: &OrderId, quantity: u32, expires_at: Timestamp) -> Outcome {
        if quantity == 0 {
            return Err(StockRefusal::OutOfRange);
        }
        if let Some(held) = self.reservations.get(order) {
            return if held.quantity == quantity {
                Ok(None)
            } else {
                Err(StockRefusal::OutOfRange)
            };
        }
        if self.returned.contains(order.as_str()) {
            return Err(StockRefusal::NotReserved);
        }
        if self.taken.contains(order.as_str()) {
            return Ok(None);
        }
        // Invariant 1.
        let available = self.level().available;
        if available < u64::from(quantity) {
            return Err(StockRefusal::OutOfStock {
                available: u32::try_from(available).unwrap_or(u32::MAX),
            });
        }
        if self.reservations.len() >= RESERVATION_LIMIT {
            return Err(StockRefusal::TooManyReservations);
        }
        self.reservations
            .insert(order, Reservation { quantity, expires_at });
        Ok(Some(Vec::new()))
    }

    pub(super) fn extend(&mut self, order: &OrderId, expires_at: Timestamp) -> Outcome {
        let held = self.reservations.get(order).ok_or(StockRefusal::NotReserved)?;
        if held.expires_at >= expires_at {
            return Ok(None);
        }
        self.reservations
            .insert(order, Reservation { expires_at, ..held });
        Ok(Some(Vec::new()))
    }

    pub(super) fn release(&mut self, order: &OrderId) -> Outcome {
        let released = self.reservations.remove(order);
        Ok(released.map(|held| vec![self.released(order, held)]))
    }

    fn released(&self, order: &OrderId, held: Reservation) -> StockEvent {
        StockEvent::Released {
            quantity: held.quantity,
            order: order.clone(),
            after: self.figures(),
        }
    }

    pub(super) fn take(&mut self, order: &OrderId, at: Timestamp) -> Outcome {
        let Some(Reservation { quantity, .. }) = self.reservations.remove(order) else {
            return Ok(None);
        };
        // on_hand and reserved decrease together: available stays the same (invariants 1 and 2).
        self.sold = self.sold.saturating_add(quantity.into());
        if !self.taken.remember(order.as_str(), at, TAKEN) {
            return Err(StockRefusal::TooManySales);
        }
        let event = StockEvent::Sold {
            quantity,
            order: order.clone(),
            after: self.figures(),
        };
        Ok(Some(vec![event]))
    }

    pub(super) fn give_back(&mut self, order: &OrderId, quantity: u32, at: Timestamp) -> Outcome {
        if self.returned.contains(order.as_str()) {
            return Ok(None);
        }
        // Remembered in both cases: a repetition after the release must not count as a return of sold units.
        if !self.returned.remember(order.as_str(), at, RETURNED) {
            return Err(StockRefusal::TooManyReturns);
        }
        if let Some(held) = self.reservations.remove(order) {
            return Ok(Some(vec![self.released(order, held)]));
        }
        if quantity == 0 {
            return Err(StockRefusal::OutOfRange);
        }
        self.sold = self
            .sold
            .checked_sub(quantity.into())
            .ok_or(StockRefusal::OutOfRange)?;
        let event = StockEvent::Returned {
            quantity,
            order: order.clone(),
            after: self.figures(),
        };
        Ok(Some(vec![event]))
    }
}

fn checked_reference(reference: &str) -> Result<String, StockRefusal> {
    if reference.is_empty() || reference.len() > REFERENCE_LIMIT {
        return Err(StockRefusal::OutOfRange);
    }
    Ok(reference.to_owned())
}
