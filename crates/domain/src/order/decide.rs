//! What each command does to an order.

use super::progress::CONFIRMED;
use super::{
    Attention, FailureReason, FulfilmentStatus, Lifecycle, Order, OrderCommand, OrderEvent, OrderRefusal,
    OrderSummary, OrderedItem, PaymentStatus, Phase, PlacedOrder, Placement, Progress, REASON_LIMIT,
    STEP_RECORD_LIMIT, TIMELINE_LIMIT, TimelineEntry,
};
use crate::checkout::{Step, StepRecord};
use crate::{EmailAddress, Money, PaymentId, Timestamp};

/// The timeline's event whose detail is the buyer's own text.
const CANCELLING: &str = "cancelling";

/// The events of a change, or `None` where nothing changes.
type Outcome = Result<Option<Vec<OrderEvent>>, OrderRefusal>;

/// The order after `command` with the events of the change; `None` where nothing changes.
pub(super) fn outcome(
    state: &Order,
    command: &OrderCommand,
    at: Timestamp,
) -> Result<Option<(Order, Vec<OrderEvent>)>, OrderRefusal> {
    if let OrderCommand::Place(placement) = command {
        // No event: others hear of an order once it is confirmed.
        return Ok(place(state, placement, at)?.map(|order| (with(state, order), Vec::new())));
    }
    if *command == OrderCommand::Forfeit {
        let is_open = state.placed.is_none() && !state.forfeited;
        let forfeited = || Order {
            forfeited: true,
            ..state.clone()
        };
        return Ok(is_open.then(|| (forfeited(), Vec::new())));
    }
    if *command == OrderCommand::Prune {
        return prune(state, at);
    }
    let mut order = state.placed.clone().ok_or(OrderRefusal::NotPlaced)?;
    let events = match command {
        OrderCommand::Get | OrderCommand::Place(_) | OrderCommand::Forfeit | OrderCommand::Prune => None,
        OrderCommand::Abandon { reason } => order.abandon(reason, at)?,
        OrderCommand::AwaitAction => order.await_action(at)?,
        OrderCommand::Confirm { payment } => order.confirm(payment, at)?,
        OrderCommand::Finish { captured, steps } => order.finish(*captured, steps, at)?,
        OrderCommand::EndFailed {
            voided,
            keep_until,
            steps,
        } => order.end_failed(*voided, *keep_until, steps, at)?,
        OrderCommand::Escalate { step, reason } => order.escalate(*step, reason, at)?,
        OrderCommand::Retry => order.retry(at),
        OrderCommand::Cancel { reason } => order.cancel(reason, at)?,
        OrderCommand::Claim { buyer } => order.claim(buyer, at)?,
        OrderCommand::Erase => order.erase(at)?,
        OrderCommand::EndCancelled { refunded, steps } => order.end_cancelled(*refunded, steps, at)?,
    };
    if !order.progress.phase.is_undecided() {
        // Only an authorisation needs the token, and none begins any more.
        order.placement.payment.token.clear();
    }
    Ok(events.map(|events| (with(state, order), events)))
}

fn with(state: &Order, order: PlacedOrder) -> Order {
    Order {
        id: state.id.clone(),
        placed: Some(order),
        forfeited: false,
    }
}

fn place(state: &Order, placement: &Placement, at: Timestamp) -> Result<Option<PlacedOrder>, OrderRefusal> {
    match &state.placed {
        Some(order) if order.placement.fingerprint == placement.fingerprint => Ok(None),
        Some(_) => Err(OrderRefusal::OtherPlacement),
        None if state.forfeited => Err(OrderRefusal::Forfeited),
        None if placement.id.as_str() != state.id || !placement.is_consistent() => {
            Err(OrderRefusal::InvalidPlacement)
        }
        None => {
            let mut progress = Progress {
                phase: Phase::Confirming,
                attention: None,
                payment_status: PaymentStatus::None,
                fulfilment_status: FulfilmentStatus::Unfulfilled,
                refunded: Money::zero(placement.total.currency),
                steps: Vec::new(),
                timeline: Vec::new(),
                created_at: at,
                keep_until: None,
            };
            progress.note(at, "placed", "");
            Ok(Some(PlacedOrder {
                placement: placement.clone(),
                progress,
            }))
        }
    }
}

/// The row stays, without the order: a request that is repeated, or a worker that was paused, finds it forfeited.
fn prune(state: &Order, at: Timestamp) -> Result<Option<(Order, Vec<OrderEvent>)>, OrderRefusal> {
    let Some(PlacedOrder { progress, .. }) = &state.placed else {
        return if state.forfeited {
            Ok(None)
        } else {
            Err(OrderRefusal::NotPlaced)
        };
    };
    let has_failed = matches!(progress.phase, Phase::Failed { .. });
    if !has_failed || progress.keep_until.is_none_or(|until| at < until) {
        return Err(OrderRefusal::NotAllowed);
    }
    let pruned = Order {
        id: state.id.clone(),
        placed: None,
        forfeited: true,
    };
    Ok(Some((pruned, Vec::new())))
}

impl PlacedOrder {
    fn abandon(&mut self, reason: &FailureReason, at: Timestamp) -> Outcome {
        if self.progress.phase.failure().is_some() {
            return Ok(None);
        }
        self.progress.check_undecided()?;
        self.progress.enter(Phase::Failing {
            reason: reason.clone(),
        })?;
        self.progress.note(at, "abandoned", reason.as_str());
        Ok(Some(Vec::new()))
    }

    fn claim(&mut self, buyer: &str, at: Timestamp) -> Outcome {
        if self.placement.buyer == buyer {
            return Ok(None);
        }
        // A guest's orders have the cart as their buyer.
        if self.placement.buyer != self.placement.cart.as_str() {
            return Err(OrderRefusal::NotAGuestOrder);
        }
        buyer.clone_into(&mut self.placement.buyer);
        self.progress.note(at, "claimed", "");
        Ok(Some(vec![OrderEvent::Claimed(self.summary())]))
    }

    fn erase(&mut self, at: Timestamp) -> Outcome {
        if !self.progress.phase.is_finished() {
            return Err(OrderRefusal::Unfinished);
        }
        let mut erased = self.clone();
        erased.placement.email = EmailAddress::erased();
        erased.placement.address = self.placement.address.erased();
        erased.placement.payment.token.clear();
        for entry in &mut erased.progress.timeline {
            if entry.event == CANCELLING {
                entry.detail.clear();
            }
        }
        if erased == *self {
            return Ok(None);
        }
        *self = erased;
        self.progress.note(at, "erased", "");
        Ok(Some(vec![OrderEvent::Erased(self.summary())]))
    }

    fn await_action(&mut self, at: Timestamp) -> Outcome {
        self.progress.check_undecided()?;
        if self.progress.phase == Phase::AwaitingAction {
            return Ok(None);
        }
        self.progress.enter(Phase::AwaitingAction)?;
        self.progress.note(at, "awaiting_action", "");
        Ok(Some(Vec::new()))
    }

    fn confirm(&mut self, payment: &PaymentId, at: Timestamp) -> Outcome {
        // The same confirmation has taken effect, whatever came after it.
        if self.progress.phase.payment() == Some(payment) {
            return Ok(None);
        }
        self.progress.check_undecided()?;
        self.progress.enter(Phase::Fulfilling {
            payment: payment.clone(),
        })?;
        advance(&mut self.progress.payment_status, PaymentStatus::Authorised)?;
        self.progress.note(at, CONFIRMED, "");
        Ok(Some(vec![OrderEvent::Confirmed(self.summary())]))
    }

    fn finish(&mut self, captured: bool, steps: &[StepRecord], at: Timestamp) -> Outcome {
        // A capture that was left for the shipment may be recorded after the checkout has finished.
        let newly_captured = captured && self.progress.payment_status == PaymentStatus::Authorised;
        match &self.progress.phase {
            Phase::Fulfilling { payment } => {
                let payment = payment.clone();
                self.progress.enter(Phase::Confirmed { payment })?;
            }
            Phase::Confirmed { .. } | Phase::Completed { .. } if newly_captured => {}
            Phase::Confirmed { .. } | Phase::Completed { .. } => return Ok(None),
            Phase::Cancelling { .. } | Phase::Cancelled { .. } => return Err(OrderRefusal::Cancelled),
            _ => return Err(OrderRefusal::NotAllowed),
        }
        self.progress.record(steps);
        if !newly_captured {
            return Ok(Some(Vec::new()));
        }
        advance(&mut self.progress.payment_status, PaymentStatus::Captured)?;
        self.progress.note(at, "paid", "");
        Ok(Some(vec![OrderEvent::Paid(self.summary())]))
    }

    fn end_failed(
        &mut self,
        voided: bool,
        keep_until: Timestamp,
        steps: &[StepRecord],
        at: Timestamp,
    ) -> Outcome {
        let reason = match &self.progress.phase {
            Phase::Failing { reason } => reason.clone(),
            Phase::Failed { .. } => return Ok(None),
            _ => return Err(OrderRefusal::NotAllowed),
        };
        let progress = &mut self.progress;
        progress.enter(Phase::Failed {
            reason: reason.clone(),
        })?;
        match reason {
            // A declined payment is voided too, so that it can't be tried again; the buyer should see the decline.
            FailureReason::PaymentDeclined { .. } => {
                advance(&mut progress.payment_status, PaymentStatus::Declined)?;
            }
            _ if voided => advance(&mut progress.payment_status, PaymentStatus::Voided)?,
            _ => {}
        }
        progress.keep_until = Some(keep_until);
        progress.record(steps);
        progress.note(at, "failed", reason.as_str());
        Ok(Some(vec![OrderEvent::Failed {
            order: self.summary(),
            reason: reason.as_str().to_owned(),
        }]))
    }

    fn escalate(&mut self, step: Step, reason: &str, at: Timestamp) -> Outcome {
        let progress = &mut self.progress;
        // A late worker's step is none of this phase.
        let step_of_phase = match progress.phase {
            Phase::Fulfilling { .. } => Step::Capture,
            Phase::Failing { .. } | Phase::Cancelling { payment: None } => Step::Void,
            Phase::Cancelling { payment: Some(_) } => Step::Refund,
            _ => return Err(OrderRefusal::NotAllowed),
        };
        if step != step_of_phase {
            return Err(OrderRefusal::NotAllowed);
        }
        if progress.attention.is_some() {
            return Ok(None);
        }
        progress.attention = Some(Attention {
            step,
            reason: reason.chars().take(REASON_LIMIT).collect(),
            since: at,
        });
        progress.note(at, "needs_attention", step.as_str());
        Ok(Some(Vec::new()))
    }

    fn retry(&mut self, at: Timestamp) -> Option<Vec<OrderEvent>> {
        let attention = self.progress.attention.take()?;
        self.progress.note(at, "retried", attention.step.as_str());
        Some(Vec::new())
    }

    fn cancel(&mut self, reason: &str, at: Timestamp) -> Outcome {
        let progress = &mut self.progress;
        let payment = match &progress.phase {
            Phase::Cancelling { .. } | Phase::Cancelled { .. } => return Ok(None),
            Phase::Failing { .. } | Phase::Failed { .. } => return Err(OrderRefusal::Failed),
            Phase::Completed { .. } => return Err(OrderRefusal::Shipped(progress.fulfilment_status)),
            phase => phase.payment().cloned(),
        };
        match progress.fulfilment_status {
            FulfilmentStatus::Unfulfilled | FulfilmentStatus::Preparing => {}
            shipped => return Err(OrderRefusal::Shipped(shipped)),
        }
        progress.enter(Phase::Cancelling { payment })?;
        let kept: String = reason.chars().take(REASON_LIMIT).collect();
        progress.note(at, CANCELLING, &kept);
        Ok(Some(Vec::new()))
    }

    fn end_cancelled(&mut self, refunded: bool, steps: &[StepRecord], at: Timestamp) -> Outcome {
        let payment = match &self.progress.phase {
            Phase::Cancelling { payment } => payment.clone(),
            Phase::Cancelled { .. } => return Ok(None),
            _ => return Err(OrderRefusal::NotAllowed),
        };
        let progress = &mut self.progress;
        progress.enter(Phase::Cancelled { payment })?;
        if refunded {
            if progress.payment_status == PaymentStatus::Authorised {
                // Captured, but cancelled before the order recorded it.
                advance(&mut progress.payment_status, PaymentStatus::Captured)?;
            }
            if progress.payment_status != PaymentStatus::Refunded {
                advance(&mut progress.payment_status, PaymentStatus::Refunded)?;
            }
            progress.refunded = self.placement.total;
        } else {
            match progress.payment_status {
                PaymentStatus::Captured | PaymentStatus::PartiallyRefunded => {
                    return Err(OrderRefusal::NotRefunded);
                }
                PaymentStatus::Refunded | PaymentStatus::Voided | PaymentStatus::Declined => {}
                PaymentStatus::None | PaymentStatus::Authorised => {
                    advance(&mut progress.payment_status, PaymentStatus::Voided)?;
                }
            }
        }
        progress.record(steps);
        let payment_status = progress.payment_status;
        progress.note(at, "cancelled", payment_status.as_str());
        Ok(Some(vec![OrderEvent::Cancelled {
            order: self.summary(),
            payment_status,
        }]))
    }

    fn summary(&self) -> OrderSummary {
        let placement = &self.placement;
        let item = |line: &super::OrderLine| OrderedItem {
            sku: line.sku.clone(),
            product_id: line.product_id.clone(),
            quantity: line.quantity,
        };
        OrderSummary {
            order: placement.id.clone(),
            number: placement.number.clone(),
            total: placement.total,
            lines: placement.lines.iter().map(item).collect(),
        }
    }
}

impl Progress {
    /// The only way in which the phase changes, so that the status moves along its table (invariant 6).
    fn enter(&mut self, phase: Phase) -> Result<(), OrderRefusal> {
        let mut status = self.phase.status();
        if status != phase.status() {
            advance(&mut status, phase.status())?;
        }
        self.phase = phase;
        self.attention = None;
        Ok(())
    }

    fn check_undecided(&self) -> Result<(), OrderRefusal> {
        match &self.phase {
            Phase::Confirming | Phase::AwaitingAction => Ok(()),
            Phase::Failing { .. } | Phase::Failed { .. } => Err(OrderRefusal::Failed),
            Phase::Cancelling { payment: None } | Phase::Cancelled { .. } => Err(OrderRefusal::Cancelled),
            Phase::Fulfilling { .. }
            | Phase::Confirmed { .. }
            | Phase::Completed { .. }
            | Phase::Cancelling { payment: Some(_) } => Err(OrderRefusal::Confirmed),
        }
    }

    fn note(&mut self, at: Timestamp, event: &str, detail: &str) {
        if self.timeline.len() >= TIMELINE_LIMIT {
            // The first entry stays.
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
}

/// The only way in which a status changes (invariant 6).
fn advance<S: Lifecycle>(status: &mut S, next: S) -> Result<(), OrderRefusal> {
    if !status.may_become(next) {
        return Err(OrderRefusal::NotAllowed);
    }
    *status = next;
    Ok(())
}
