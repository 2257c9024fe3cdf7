//! The payment of an order: a document without an actor, protected by compare-and-set of its version.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Money, OrderId, PaymentId, Timestamp};

#[cfg(test)]
mod tests;

/// Most refunds of one payment.
pub const REFUND_LIMIT: usize = 100;

/// How an order is paid. Debug output, which ends in logs, omits the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentInstruction {
    /// The name of the payment gateway.
    pub gateway: String,
    /// The provider's token for the shopper's payment method.
    pub token: String,
}

impl fmt::Debug for PaymentInstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentInstruction")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// State of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Recorded before the provider is called: from here on the provider has to be queried first.
    Intended,
    /// The money is held for the shop.
    Authorised,
    /// The shopper has to act at the provider first.
    RequiresAction,
    /// The provider declined.
    Declined {
        /// The provider's reason.
        code: String,
    },
    /// The money was taken.
    Captured,
    /// Nothing is held and nothing will be.
    Voided,
    /// Some of the money was refunded.
    PartiallyRefunded,
    /// All of it was refunded.
    Refunded,
}

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Identifies the refund, so that a repetition has no effect.
    pub key: String,
    /// How much.
    pub amount: Money,
}

/// The intent to charge an order's total, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its identifier, which is also the provider's idempotency key.
    pub id: PaymentId,
    /// The order.
    pub order: OrderId,
    /// Number of the attempt for this order, from 1.
    pub attempt: u32,
    /// How it is paid. Without the token, which the order has until its payment is decided.
    pub instruction: PaymentInstruction,
    /// How much.
    pub amount: Money,
    /// Its state.
    pub status: PaymentState,
    /// The provider's reference.
    pub reference: Option<String>,
    /// The captured amount: zero or `amount`.
    pub captured: Money,
    /// Sum of `refunds`.
    pub refunded: Money,
    /// The refunds.
    pub refunds: Vec<Refund>,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// A change at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentChange {
    /// The provider holds the money.
    Authorised {
        /// The provider's reference.
        reference: String,
    },
    /// The provider waits for the shopper.
    RequiresAction {
        /// The provider's reference.
        reference: String,
    },
    /// The provider declined.
    Declined {
        /// Why.
        code: String,
    },
    /// The provider took the money.
    Captured,
    /// The provider released the money, and will hold none under this payment's key.
    Voided,
    /// The provider refunded money.
    Refunded {
        /// Identifies the refund.
        key: String,
        /// How much.
        amount: Money,
    },
}

/// Why a change contradicts the payment's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// The money was taken: it can be refunded, not voided.
    #[error("the payment has been captured")]
    AlreadyCaptured,
    /// The payment was voided: what the provider holds must be voided there.
    #[error("the payment has been voided")]
    AlreadyVoided,
    /// The provider has declined this attempt.
    #[error("the payment has been declined")]
    AlreadyDeclined,
    /// The money is held already.
    #[error("the payment has been authorised")]
    AlreadyAuthorised,
    /// Nothing is held that could be captured.
    #[error("the payment has not been authorised")]
    NotAuthorised,
    /// Nothing was captured that could be refunded.
    #[error("the payment has not been captured")]
    NotCaptured,
    /// The refunds would exceed the captured amount (invariant 4).
    #[error("only {} minor units can be refunded", refundable.amount)]
    ExceedsCaptured {
        /// How much can be refunded.
        refundable: Money,
    },
    /// A refund of nothing, of a negative amount or in another currency.
    #[error("a refund needs an amount above zero in the payment's currency")]
    InvalidAmount,
    /// A refund with this key but another amount exists (invariant 9).
    #[error("a refund of another amount has the same key")]
    OtherRefund,
    /// [`REFUND_LIMIT`] is reached.
    #[error("a payment has at most {REFUND_LIMIT} refunds")]
    TooManyRefunds,
}

impl Payment {
    /// The intent to pay, to be stored before the provider is called.
    pub fn intend(
        id: PaymentId,
        order: OrderId,
        attempt: u32,
        gateway: &str,
        amount: Money,
        at: Timestamp,
    ) -> Self {
        let nothing = Money::zero(amount.currency);
        let instruction = PaymentInstruction {
            gateway: gateway.to_owned(),
            token: String::new(),
        };
        Self {
            id,
            order,
            attempt,
            instruction,
            amount,
            status: PaymentState::Intended,
            reference: None,
            captured: nothing,
            refunded: nothing,
            refunds: Vec::new(),
            created_at: at,
        }
    }

    /// The payment after `change`; `None` where it is known already or outdated (providers repeat and reorder their
    /// messages).
    ///
    /// # Errors
    /// [`PaymentRefusal`] when the change contradicts the payment's state.
    pub fn apply(&self, change: PaymentChange) -> Result<Option<Self>, PaymentRefusal> {
        use PaymentState as State;
        match (&self.status, change) {
            (State::Intended | State::RequiresAction, PaymentChange::Authorised { reference }) => {
                Ok(Some(self.with_reference(State::Authorised, reference)))
            }
            (State::Intended, PaymentChange::RequiresAction { reference }) => {
                Ok(Some(self.with_reference(State::RequiresAction, reference)))
            }
            (State::Intended | State::RequiresAction, PaymentChange::Declined { code }) => {
                Ok(Some(self.with_status(State::Declined { code })))
            }
            (State::Authorised, PaymentChange::Captured) => {
                let mut next = self.with_status(State::Captured);
                next.captured = self.amount;
                Ok(Some(next))
            }
            (State::Intended | State::RequiresAction | State::Authorised, PaymentChange::Voided) => {
                Ok(Some(self.with_status(State::Voided)))
            }
            (
                State::Captured | State::PartiallyRefunded | State::Refunded,
                PaymentChange::Refunded { key, amount },
            ) => self.refund(key, amount),

            // Known already, or outdated.
            (State::RequiresAction, PaymentChange::RequiresAction { .. })
            | (State::Voided, PaymentChange::Voided | PaymentChange::Declined { .. })
            | (
                State::Declined { .. },
                PaymentChange::Declined { .. } | PaymentChange::Voided | PaymentChange::RequiresAction { .. },
            )
            | (
                State::Authorised | State::Captured | State::PartiallyRefunded | State::Refunded,
                PaymentChange::Authorised { .. } | PaymentChange::RequiresAction { .. },
            )
            | (State::Captured | State::PartiallyRefunded | State::Refunded, PaymentChange::Captured) => {
                Ok(None)
            }

            (_, PaymentChange::Refunded { .. }) => Err(PaymentRefusal::NotCaptured),
            (State::Voided, _) => Err(PaymentRefusal::AlreadyVoided),
            (State::Declined { .. }, _) => Err(PaymentRefusal::AlreadyDeclined),
            (State::Intended | State::RequiresAction, PaymentChange::Captured) => {
                Err(PaymentRefusal::NotAuthorised)
            }
            (State::Authorised, _) => Err(PaymentRefusal::AlreadyAuthorised),
            (State::Captured | State::PartiallyRefunded | State::Refunded, _) => {
                Err(PaymentRefusal::AlreadyCaptured)
            }
        }
    }

    /// How much can still be refunded.
    pub fn refundable(&self) -> Money {
        Money::new(
            self.captured.amount.saturating_sub(self.refunded.amount),
            self.captured.currency,
        )
    }

    fn with_status(&self, status: PaymentState) -> Self {
        Self {
            status,
            ..self.clone()
        }
    }

    fn with_reference(&self, status: PaymentState, reference: String) -> Self {
        Self {
            status,
            reference: Some(reference),
            ..self.clone()
        }
    }

    fn refund(&self, key: String, amount: Money) -> Result<Option<Self>, PaymentRefusal> {
        if let Some(known) = self.refunds.iter().find(|refund| refund.key == key) {
            return if known.amount == amount {
                Ok(None)
            } else {
                Err(PaymentRefusal::OtherRefund)
            };
        }
        if amount.amount <= 0 || amount.currency != self.captured.currency {
            return Err(PaymentRefusal::InvalidAmount);
        }
        // Invariant 4: refunds never exceed what was captured.
        let refundable = self.refundable();
        if amount.amount > refundable.amount {
            return Err(PaymentRefusal::ExceedsCaptured { refundable });
        }
        if self.refunds.len() >= REFUND_LIMIT {
            return Err(PaymentRefusal::TooManyRefunds);
        }
        let mut next = self.with_status(if amount == refundable {
            PaymentState::Refunded
        } else {
            PaymentState::PartiallyRefunded
        });
        // Fits: the sum is at most what was captured.
        next.refunded.amount = self.refunded.amount.saturating_add(amount.amount);
        next.refunds.push(Refund { key, amount });
        Ok(Some(next))
    }
}
