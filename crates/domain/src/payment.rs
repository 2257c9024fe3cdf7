//! The payment of an order: a document without an actor, guarded by its version in the store alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Money, OrderId, PaymentId, Timestamp};

#[cfg(test)]
mod tests;

/// Most refunds of one payment.
pub const REFUND_LIMIT: usize = 100;

/// Whom to charge, and how: what the shopper's page got from the provider. The token buys things, so that debug
/// output, which ends in logs, does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentInstruction {
    /// The name of the payment gateway.
    pub gateway: String,
    /// The provider's token for the shopper's means of payment.
    pub token: String,
}

impl fmt::Debug for PaymentInstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentInstruction")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// Where a payment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Written down before the provider is asked: from here on the provider has to be queried, not asked anew.
    Intended,
    /// The money is held for us.
    Authorised,
    /// The shopper has to do something at the provider first.
    RequiresAction,
    /// The provider said no.
    Declined {
        /// The provider's reason.
        code: String,
    },
    /// The money is ours.
    Captured,
    /// Nothing is held and nothing will be.
    Voided,
    /// Some of the money went back.
    PartiallyRefunded,
    /// All of it did.
    Refunded,
}

/// Money given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Names the refund, so that the same one counts once.
    pub key: String,
    /// How much.
    pub amount: Money,
}

/// The intent to take an order's total, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its identifier; the provider's idempotency key is made of it.
    pub id: PaymentId,
    /// The order that is paid for.
    pub order: OrderId,
    /// Counts the attempts for this order, from 1.
    pub attempt: u32,
    /// Whom to charge.
    pub instruction: PaymentInstruction,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub status: PaymentState,
    /// The provider's own name for it.
    pub reference: Option<String>,
    /// What was captured: nothing, or `amount`.
    pub captured: Money,
    /// The sum of `refunds`.
    pub refunded: Money,
    /// What was given back.
    pub refunds: Vec<Refund>,
    /// When it was intended.
    pub created_at: Timestamp,
}

/// Something that has happened at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentChange {
    /// It holds the money.
    Authorised {
        /// Its name for the payment.
        reference: String,
    },
    /// It waits for the shopper.
    RequiresAction {
        /// Its name for the payment.
        reference: String,
    },
    /// It said no.
    Declined {
        /// Why.
        code: String,
    },
    /// It took the money.
    Captured,
    /// It let the money go, and will not hold any under this payment's key.
    Voided,
    /// It gave money back.
    Refunded {
        /// Names the refund.
        key: String,
        /// How much.
        amount: Money,
    },
}

/// Why a change does not fit where the payment stands. Each asks for a remedy at the provider or for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// The money is taken: it can be refunded, not voided.
    #[error("the payment has been captured")]
    AlreadyCaptured,
    /// The payment was given up: what the provider holds must be voided there.
    #[error("the payment has been voided")]
    AlreadyVoided,
    /// The provider has said no to this attempt.
    #[error("the payment has been declined")]
    AlreadyDeclined,
    /// The money is held already.
    #[error("the payment has been authorised")]
    AlreadyAuthorised,
    /// Nothing is held that could be captured.
    #[error("the payment has not been authorised")]
    NotAuthorised,
    /// Nothing was taken that could be refunded.
    #[error("the payment has not been captured")]
    NotCaptured,
    /// More would go back than was taken (invariant 4).
    #[error("no more than {} minor units can be refunded", refundable.amount)]
    ExceedsCaptured {
        /// How much still can.
        refundable: Money,
    },
    /// A refund of nothing, of a negative amount or in another currency.
    #[error("a refund needs an amount above zero in the payment's currency")]
    InvalidAmount,
    /// A refund with this key but another amount stands already (invariant 9).
    #[error("a refund of another amount has the same key")]
    OtherRefund,
    /// [`REFUND_LIMIT`] is reached.
    #[error("a payment has at most {REFUND_LIMIT} refunds")]
    TooManyRefunds,
}

impl Payment {
    /// The intent to pay, to be stored before the provider is asked.
    pub fn intend(
        id: PaymentId,
        order: OrderId,
        attempt: u32,
        instruction: PaymentInstruction,
        amount: Money,
        at: Timestamp,
    ) -> Self {
        let nothing = Money::zero(amount.currency);
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

    /// The payment after `change`; `None` where it is known already or is overtaken by what came later (providers
    /// repeat and reorder their messages).
    ///
    /// # Errors
    /// [`PaymentRefusal`] when the change contradicts where the payment stands.
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

            // Known already, or overtaken.
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

    /// How much can still be given back.
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
