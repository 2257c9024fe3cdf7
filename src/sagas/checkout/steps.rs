//! The steps that concern stock and cart, and the decisions of the order.

use futures::future::join_all;

use super::run::{Checkout, StepError};
use souk_domain::CartCommand;
use souk_domain::checkout::Step;
use souk_domain::order::{FailureReason, OrderCommand, OrderLine, PlacedOrder};
use souk_domain::payment::PaymentState;
use souk_domain::stock::{StockCommand, StockRefusal, StockReply};

impl Checkout {
    /// Reserves every SKU. If some fall short, the failure names all of them.
    pub(super) async fn reserve(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let expires_at = self.services.now().plus(self.limits.reservation);
        let replies = self
            .for_each_sku(order, |line| StockCommand::Reserve {
                order: self.id.clone(),
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
                StockReply::Refused(refusal @ StockRefusal::TooManyReservations) => {
                    crowded = Some(refused(refusal));
                }
                // The order has returned its stock already, or its quantity is outside the limits.
                StockReply::Refused(
                    StockRefusal::NotReserved
                    | StockRefusal::OutOfRange
                    | StockRefusal::BelowReserved
                    | StockRefusal::TooManyReturns
                    | StockRefusal::TooManySales,
                ) => short.push((line.sku.clone(), 0)),
                StockReply::Done | StockReply::Overdue(_) => {}
            }
        }
        if !short.is_empty() {
            return Err(StepError::Abandon(FailureReason::OutOfStock { skus: short }));
        }
        crowded.map_or(Ok(()), Err)
    }

    /// Undoes [`Self::reserve`].
    pub(super) async fn release(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let id = &self.id;
        self.change_stock(order, |_| StockCommand::Release { order: id.clone() })
            .await
    }

    /// Turns reserved stock into sold stock.
    pub(super) async fn take(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let id = &self.id;
        self.change_stock(order, |_| StockCommand::Take { order: id.clone() })
            .await
    }

    /// Undoes [`Self::take`], and [`Self::reserve`] where nothing was taken yet.
    pub(super) async fn return_stock(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        self.change_stock(order, |line| StockCommand::Return {
            order: self.id.clone(),
            quantity: line.quantity,
        })
        .await
    }

    /// Sends a command to every SKU of the order, in parallel.
    async fn for_each_sku(
        &self,
        order: &PlacedOrder,
        command: impl Fn(&OrderLine) -> StockCommand,
    ) -> Result<Vec<StockReply>, StepError> {
        let lines = order.placement.lines.iter();
        let replies = join_all(lines.map(|line| self.services.stock(&line.sku, command(line)))).await;
        replies.into_iter().collect()
    }

    /// The same, with a command that no SKU may refuse.
    async fn change_stock(
        &self,
        order: &PlacedOrder,
        command: impl Fn(&OrderLine) -> StockCommand,
    ) -> Result<(), StepError> {
        let replies = self.for_each_sku(order, command).await?;
        let refusal = replies.into_iter().find_map(|reply| match reply {
            StockReply::Refused(refusal) => Some(refused(refusal)),
            StockReply::Done | StockReply::Overdue(_) => None,
        });
        refusal.map_or(Ok(()), Err)
    }

    /// Removes exactly the ordered quantities from the cart.
    pub(super) async fn clear(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let command = CartCommand::Clear {
            order: self.id.clone(),
            lines: order.placement.quantities(),
        };
        self.services.cart(&order.placement.cart, command).await
    }

    /// Ends the claim of the cart, so that its owner may try again.
    pub(super) async fn unclaim(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let command = CartCommand::Unclaim {
            order: self.id.clone(),
        };
        self.services.cart(&order.placement.cart, command).await
    }

    pub(super) async fn confirm(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let payment = Self::payment_id(order);
        self.decide(Step::Confirm, OrderCommand::Confirm { payment })
            .await
    }

    pub(super) async fn finish(&mut self, _order: &PlacedOrder) -> Result<(), StepError> {
        let steps = self.step_records(Step::Finish);
        let captured = true;
        self.decide(Step::Finish, OrderCommand::Finish { captured, steps })
            .await
    }

    pub(super) async fn end_failed(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let payment = self.payment(order).await?;
        let voided = payment.is_some_and(|(payment, _)| payment.reference.is_some());
        let steps = self.step_records(Step::EndFailed);
        let end = OrderCommand::EndFailed {
            voided,
            keep_until: self.services.now().plus(self.limits.keep_failed),
            steps,
        };
        self.decide(Step::EndFailed, end).await
    }

    pub(super) async fn end_cancelled(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let payment = self.payment(order).await?;
        let refunded = payment.is_some_and(|(payment, _)| payment.status == PaymentState::Refunded);
        let steps = self.step_records(Step::EndCancelled);
        self.decide(Step::EndCancelled, OrderCommand::EndCancelled { refunded, steps })
            .await
    }
}

fn refused(refusal: StockRefusal) -> StepError {
    StepError::retry(format_args!("the stock refused: {refusal}"))
}
