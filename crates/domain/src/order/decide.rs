//! What each command does to an order.

use super::{
    FailureReason, FulfilmentStatus, Lifecycle, Order, OrderCommand, OrderEvent, OrderRefusal, OrderStatus,
    OrderSummary, OrderView, OrderedItem, PaymentStatus, Placed, Placement, REASON_LIMIT, STEP_RECORD_LIMIT,
    TIMELINE_LIMIT, TimelineEntry,
};
use crate::checkout::StepRecord;
use crate::{EmailAddress, PaymentId, Timestamp};

/// The entry of the timeline that holds the buyer's own words.
const CANCELLING: &str = "cancelling";

/// What a command comes to on a copy of the order: the events of the change, or `None` where there is nothing to do.
type Outcome = Result<Option<Vec<OrderEvent>>, OrderRefusal>;

/// The order after `command` with the events of the change; `None` where there is nothing to do.
pub(super) fn outcome(
    state: &Order,
    command: &OrderCommand,
    at: Timestamp,
) -> Result<Option<(Order, Vec<OrderEvent>)>, OrderRefusal> {
    if let OrderCommand::Place(placement) = command {
        return place(state, placement, at);
    }
    let placed = state.placed.as_ref().ok_or(OrderRefusal::NotPlaced)?;
    if matches!(command, OrderCommand::Get) {
        return Ok(None);
    }
    let mut order = placed.order.clone();
    let events = match command {
        OrderCommand::Get | OrderCommand::Place(_) => None,
        OrderCommand::Abandon { reason } => order.abandon(reason, at)?,
        OrderCommand::AwaitAction => order.await_action(at)?,
        OrderCommand::Confirm { payment } => order.confirm(payment, at)?,
        OrderCommand::Finish { captured, steps } => order.finish(*captured, steps, at)?,
        OrderCommand::EndFailed { voided, steps } => order.end_failed(*voided, steps, at)?,
        OrderCommand::Cancel { reason } => order.cancel(reason, at)?,
        OrderCommand::Claim { buyer } => order.claim(buyer, at)?,
        OrderCommand::Erase => order.erase(at)?,
        OrderCommand::EndCancelled { refunded, steps } => order.end_cancelled(*refunded, steps, at)?,
    };
    Ok(events.map(|events| (with(state, placed.fingerprint.clone(), order), events)))
}

fn with(state: &Order, fingerprint: String, order: OrderView) -> Order {
    Order {
        id: state.id.clone(),
        placed: Some(Placed { fingerprint, order }),
    }
}

fn place(
    state: &Order,
    placement: &Placement,
    at: Timestamp,
) -> Result<Option<(Order, Vec<OrderEvent>)>, OrderRefusal> {
    if let Some(placed) = &state.placed {
        return if placed.fingerprint == placement.fingerprint {
            Ok(None)
        } else {
            Err(OrderRefusal::OtherPlacement)
        };
    }
    if placement.id.as_str() != state.id || !placement.is_consistent() {
        return Err(OrderRefusal::InvalidPlacement);
    }
    // No event: an order that is not confirmed is nobody's business yet.
    Ok(Some((
        with(state, placement.fingerprint.clone(), placement.order(at)),
        Vec::new(),
    )))
}

/// The one way in which a status changes (invariant 6).
fn advance<S: Lifecycle>(status: &mut S, next: S) -> Result<(), OrderRefusal> {
    if !status.may_become(next) {
        return Err(OrderRefusal::OutOfOrder);
    }
    *status = next;
    Ok(())
}

impl OrderView {
    fn abandon(&mut self, reason: &FailureReason, at: Timestamp) -> Outcome {
        match self.status {
            OrderStatus::Confirmed | OrderStatus::Completed => Err(OrderRefusal::AlreadyConfirmed),
            OrderStatus::Cancelled => Err(OrderRefusal::TooLate),
            OrderStatus::Pending | OrderStatus::Failed if self.abandoned.is_some() => Ok(None),
            OrderStatus::Pending | OrderStatus::Failed if self.cancelling => Err(OrderRefusal::Cancelling),
            OrderStatus::Pending | OrderStatus::Failed => {
                self.abandoned = Some(reason.clone());
                self.awaiting_action = false;
                self.note(at, "abandoned", reason.as_str());
                Ok(Some(Vec::new()))
            }
        }
    }

    fn claim(&mut self, buyer: &str, at: Timestamp) -> Outcome {
        if self.buyer == buyer {
            return Ok(None);
        }
        // A guest is known by a cart, an account by its own identifier.
        if self.buyer != self.cart.as_str() {
            return Err(OrderRefusal::NotAGuests);
        }
        buyer.clone_into(&mut self.buyer);
        self.note(at, "claimed", "");
        Ok(Some(vec![OrderEvent::Claimed(self.summary())]))
    }

    fn erase(&mut self, at: Timestamp) -> Outcome {
        if !self.finished {
            return Err(OrderRefusal::UnderWay);
        }
        let (email, address) = (EmailAddress::erased(), self.address.erased());
        let is_stripped = self.email == email
            && self.address == address
            && self.payment.token.is_empty()
            && self.own_words().all(|words| words.is_empty());
        if is_stripped {
            return Ok(None);
        }
        (self.email, self.address) = (email, address);
        self.payment.token.clear();
        self.own_words().for_each(String::clear);
        self.note(at, "erased", "");
        Ok(Some(vec![OrderEvent::Erased(self.summary())]))
    }

    /// What the buyer wrote: why the order was called off.
    fn own_words(&mut self) -> impl Iterator<Item = &mut String> {
        self.timeline
            .iter_mut()
            .filter(|entry| entry.event == CANCELLING)
            .map(|entry| &mut entry.detail)
    }

    /// Whether the way forward is still open for a pending order.
    fn still_pending(&self) -> Result<(), OrderRefusal> {
        match self.status {
            OrderStatus::Pending if self.abandoned.is_none() && !self.cancelling => Ok(()),
            OrderStatus::Pending | OrderStatus::Failed | OrderStatus::Cancelled => {
                Err(OrderRefusal::Abandoned)
            }
            OrderStatus::Confirmed | OrderStatus::Completed => Err(OrderRefusal::AlreadyConfirmed),
        }
    }

    fn await_action(&mut self, at: Timestamp) -> Outcome {
        self.still_pending()?;
        if self.awaiting_action {
            return Ok(None);
        }
        self.awaiting_action = true;
        self.note(at, "awaiting_action", "");
        Ok(Some(Vec::new()))
    }

    fn confirm(&mut self, payment: &PaymentId, at: Timestamp) -> Outcome {
        // Only a confirmation sets the payment: the same one again has had its effect, whatever came after.
        if self.payment_id.as_ref() == Some(payment) {
            return Ok(None);
        }
        self.still_pending()?;
        advance(&mut self.status, OrderStatus::Confirmed)?;
        advance(&mut self.payment_status, PaymentStatus::Authorised)?;
        self.payment_id = Some(payment.clone());
        self.awaiting_action = false;
        self.note(at, "confirmed", "");
        Ok(Some(vec![OrderEvent::Confirmed(self.summary())]))
    }

    fn finish(&mut self, captured: bool, steps: &[StepRecord], at: Timestamp) -> Outcome {
        if self.cancelling {
            return Err(OrderRefusal::Cancelling);
        }
        if !matches!(self.status, OrderStatus::Confirmed | OrderStatus::Completed) {
            return Err(OrderRefusal::OutOfOrder);
        }
        // A capture that was left for the shipment may be noted after the checkout is complete.
        let newly_captured = captured && self.payment_status == PaymentStatus::Authorised;
        if self.finished && !newly_captured {
            return Ok(None);
        }
        self.finished = true;
        self.record(steps);
        if !newly_captured {
            return Ok(Some(Vec::new()));
        }
        advance(&mut self.payment_status, PaymentStatus::Captured)?;
        self.note(at, "paid", "");
        Ok(Some(vec![OrderEvent::Paid(self.summary())]))
    }

    fn end_failed(&mut self, voided: bool, steps: &[StepRecord], at: Timestamp) -> Outcome {
        if self.status == OrderStatus::Failed {
            return Ok(None);
        }
        let Some(reason) = self.abandoned.clone() else {
            return Err(OrderRefusal::OutOfOrder);
        };
        advance(&mut self.status, OrderStatus::Failed)?;
        match reason {
            // A refused payment is voided as well, lest it be tried again; what the buyer should see is the refusal.
            FailureReason::PaymentDeclined { .. } => {
                advance(&mut self.payment_status, PaymentStatus::Declined)?;
            }
            _ if voided => advance(&mut self.payment_status, PaymentStatus::Voided)?,
            _ => {}
        }
        self.finished = true;
        self.record(steps);
        self.note(at, "failed", reason.as_str());
        Ok(Some(vec![OrderEvent::Failed {
            order: self.summary(),
            reason: reason.as_str().to_owned(),
        }]))
    }

    fn cancel(&mut self, reason: &str, at: Timestamp) -> Outcome {
        if self.cancelling || self.status == OrderStatus::Cancelled {
            return Ok(None);
        }
        let open = matches!(self.status, OrderStatus::Pending | OrderStatus::Confirmed)
            && self.abandoned.is_none()
            && matches!(
                self.fulfilment_status,
                FulfilmentStatus::Unfulfilled | FulfilmentStatus::Preparing
            );
        if !open {
            return Err(OrderRefusal::TooLate);
        }
        self.cancelling = true;
        self.awaiting_action = false;
        self.finished = false;
        let kept: String = reason.chars().take(REASON_LIMIT).collect();
        self.note(at, CANCELLING, &kept);
        Ok(Some(Vec::new()))
    }

    fn end_cancelled(&mut self, refunded: bool, steps: &[StepRecord], at: Timestamp) -> Outcome {
        if self.status == OrderStatus::Cancelled {
            return Ok(None);
        }
        if !self.cancelling {
            return Err(OrderRefusal::OutOfOrder);
        }
        advance(&mut self.status, OrderStatus::Cancelled)?;
        if refunded {
            if self.payment_status == PaymentStatus::Authorised {
                // Captured, but called off before that was noted here.
                advance(&mut self.payment_status, PaymentStatus::Captured)?;
            }
            if self.payment_status != PaymentStatus::Refunded {
                advance(&mut self.payment_status, PaymentStatus::Refunded)?;
            }
            self.refunded = self.total;
        } else {
            match self.payment_status {
                PaymentStatus::Captured | PaymentStatus::PartiallyRefunded => {
                    return Err(OrderRefusal::MoneyNotReturned);
                }
                PaymentStatus::Refunded | PaymentStatus::Voided | PaymentStatus::Declined => {}
                PaymentStatus::None | PaymentStatus::Authorised => {
                    advance(&mut self.payment_status, PaymentStatus::Voided)?;
                }
            }
        }
        self.cancelling = false;
        self.finished = true;
        self.record(steps);
        self.note(at, "cancelled", self.payment_status.as_str());
        Ok(Some(vec![OrderEvent::Cancelled {
            order: self.summary(),
            payment_status: self.payment_status,
        }]))
    }

    fn note(&mut self, at: Timestamp, event: &str, detail: &str) {
        if self.timeline.len() >= TIMELINE_LIMIT {
            // How it began stays.
            self.timeline.remove(1);
        }
        self.timeline.push(TimelineEntry {
            at,
            event: event.to_owned(),
            detail: detail.to_owned(),
        });
    }

    fn record(&mut self, steps: &[StepRecord]) {
        self.steps.extend_from_slice(steps);
        let surplus = self.steps.len().saturating_sub(STEP_RECORD_LIMIT);
        self.steps.drain(..surplus);
    }

    fn summary(&self) -> OrderSummary {
        OrderSummary {
            order: self.id.clone(),
            number: self.number.clone(),
            total: self.total,
            lines: self
                .lines
                .iter()
                .map(|line| OrderedItem {
                    sku: line.sku.clone(),
                    product_id: line.product_id.clone(),
                    quantity: line.quantity,
                })
                .collect(),
        }
    }
}
