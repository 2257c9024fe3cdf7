//! What each step of the table does in the world.

use futures::future::join_all;

use super::worker::{StepError, WorkerState};
use souk_domain::checkout::{self, Step};
use souk_domain::order::{FailureReason, OrderCommand, OrderLine, PlacedOrder};
use souk_domain::payment::PaymentState;
use souk_domain::stock::{Stock, StockCommand, StockRefusal, StockReply};
use souk_domain::{CartCommand, Timestamp};

/// The order as it stands after a step that let it decide; `None` after steps that leave it alone.
type Performed = Result<Option<PlacedOrder>, StepError>;

impl WorkerState {
    /// Does one step.
    pub(super) async fn perform(&mut self, step: Step, order: &PlacedOrder, began: Timestamp) -> Performed {
        match step {
            Step::Reserve => self.reserve(order).await.map(|()| None),
            Step::Authorise => self.authorise(order).await.map(|()| None),
            Step::Confirm => {
                let payment = Self::payment_id(order);
                self.decide_or_again(step, OrderCommand::Confirm { payment })
                    .await
            }
            Step::Take => self.take(order).await.map(|()| None),
            Step::Capture => self.capture(order).await.map(|()| None),
            Step::Clear => self.clear(order).await.map(|()| None),
            Step::Finish => {
                let steps = self.steps(step, began);
                let captured = true;
                self.decide_or_again(step, OrderCommand::Finish { captured, steps })
                    .await
            }
            Step::Void => self.void(order).await.map(|()| None),
            Step::Release => self.release(order).await.map(|()| None),
            Step::EndFailed => {
                let voided = self.payment_was_held(order).await?;
                let steps = self.steps(step, began);
                self.decide_or_again(step, OrderCommand::EndFailed { voided, steps })
                    .await
            }
            Step::ReturnStock => self.return_stock(order).await.map(|()| None),
            Step::Refund => self.refund(order).await.map(|()| None),
            Step::EndCancelled => {
                let refunded = self.payment_was_refunded(order).await?;
                let steps = self.steps(step, began);
                self.decide_or_again(step, OrderCommand::EndCancelled { refunded, steps })
                    .await
            }
        }
    }

    /// Has the order decide what `step` is for. Where it refuses, and would be asked the same again, what it was told is not
    /// so yet: asked without a pause, it would be asked for ever.
    async fn decide_or_again(&mut self, step: Step, command: OrderCommand) -> Performed {
        match self.decide(command).await {
            Some(view) if checkout::next(&view, &self.done) == Some(step) => {
                Err(StepError::Again("the order refuses to go on".to_owned()))
            }
            Some(view) => Ok(Some(view)),
            None => Err(StepError::Again("the order did not answer".to_owned())),
        }
    }

    async fn payment_was_held(&self, order: &PlacedOrder) -> Result<bool, StepError> {
        let payment = self.payment(order).await?;
        Ok(payment.is_some_and(|(payment, _)| payment.reference.is_some()))
    }

    async fn payment_was_refunded(&self, order: &PlacedOrder) -> Result<bool, StepError> {
        let payment = self.payment(order).await?;
        Ok(payment.is_some_and(|(payment, _)| payment.status == PaymentState::Refunded))
    }

    /// Holds every SKU, all at once. What falls short is told with all the SKUs that do.
    async fn reserve(&self, order: &PlacedOrder) -> Result<(), StepError> {
        let expires_at = (self.context.clock)().plus(self.context.limits.reservation);
        let replies = self
            .for_each_sku(order, |line| StockCommand::Reserve {
                order: order.placement.id.clone(),
                quantity: line.quantity,
                expires_at,
            })
            .await?;
        let (mut short, mut crowded) = (Vec::new(), None);
        for (line, reply) in order.placement.lines.iter().zip(replies) {
            match reply {
                StockReply::Refused(StockRefusal::OutOfStock { available }) => {
                    short.push((line.sku.clone(), available));
                }
                // There is some, but not for the moment.
                StockReply::Refused(refusal @ StockRefusal::TooManyReservations) => {
                    crowded = Some(StepError::Again(format!("the stock refused: {refusal}")));
                }
                // It gave back what it had, or asks for what no order may: nothing will be held for it.
                StockReply::Refused(
                    StockRefusal::NotReserved
                    | StockRefusal::OutOfRange
                    | StockRefusal::BelowReserved
                    | StockRefusal::TooManyReturns,
                ) => short.push((line.sku.clone(), 0)),
                StockReply::Done | StockReply::Overdue(_) => {}
            }
        }
        if !short.is_empty() {
            return Err(StepError::Abandon(FailureReason::OutOfStock { skus: short }));
        }
        crowded.map_or(Ok(()), Err)
    }

    async fn take(&self, order: &PlacedOrder) -> Result<(), StepError> {
        let take = |_: &OrderLine| StockCommand::Take {
            order: order.placement.id.clone(),
        };
        all_done(self.for_each_sku(order, take).await?)
    }

    async fn release(&self, order: &PlacedOrder) -> Result<(), StepError> {
        let release = |_: &OrderLine| StockCommand::Release {
            order: order.placement.id.clone(),
        };
        all_done(self.for_each_sku(order, release).await?)
    }

    async fn return_stock(&self, order: &PlacedOrder) -> Result<(), StepError> {
        let give_back = |line: &OrderLine| StockCommand::Return {
            order: order.placement.id.clone(),
            quantity: line.quantity,
        };
        all_done(self.for_each_sku(order, give_back).await?)
    }

    async fn for_each_sku(
        &self,
        order: &PlacedOrder,
        command: impl Fn(&OrderLine) -> StockCommand,
    ) -> Result<Vec<StockReply>, StepError> {
        let asks = order.placement.lines.iter().map(|line| {
            let ask = self.ask::<Stock>(command(line));
            async move { self.context.regions.skus.ask(line.sku.as_str(), ask).await }
        });
        let answers = join_all(asks).await;
        answers.into_iter().map(|answer| Ok(answer?.reply)).collect()
    }

    /// Takes exactly the ordered quantities out of the cart.
    async fn clear(&self, order: &PlacedOrder) -> Result<(), StepError> {
        let command = CartCommand::Clear {
            order: order.placement.id.clone(),
            lines: order
                .placement
                .lines
                .iter()
                .map(|line| (line.sku.clone(), line.quantity))
                .collect(),
        };
        self.context
            .regions
            .carts
            .ask(order.placement.cart.as_str(), self.ask(command))
            .await?;
        Ok(())
    }
}

fn all_done(replies: Vec<StockReply>) -> Result<(), StepError> {
    for reply in replies {
        if let StockReply::Refused(refusal) = reply {
            return Err(StepError::Again(format!("the stock refused: {refusal}")));
        }
    }
    Ok(())
}
