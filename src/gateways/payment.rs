//! The port of the payment providers.
//!
//! Every charge is named by a key of the caller's choice, before the provider hears of it. Whatever is asked twice
//! under one key happens once, so that a caller who does not know what became of a call may ask with
//! [`PaymentGateway::query`], repeat the call, or put an end to it with [`PaymentGateway::void`]
//! (invariants 4, 5 and 12).

use std::error::Error as StdError;

use async_trait::async_trait;

use souk_domain::{Money, OrderId};

/// Why something went wrong on the way; for the log.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// The wish to set money aside for an order.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// Names the charge: the same key, the same charge.
    pub key: String,
    /// What the provider's form gave the shopper for their means of payment. A secret of a kind.
    pub token: String,
    /// How much; above zero.
    pub amount: Money,
    /// What for, as it shows in the provider's ledger.
    pub order: OrderId,
}

impl std::fmt::Debug for Authorisation {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorisation")
            .field("key", &self.key)
            .field("amount", &self.amount)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// What a provider answers to an [`Authorisation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorised {
    /// The money is set aside.
    Authorised {
        /// The provider's name for the charge.
        reference: String,
    },
    /// The shopper has to confirm first.
    RequiresAction {
        /// The provider's name for the charge.
        reference: String,
        /// Where the shopper does so.
        url: String,
    },
    /// The money can't be had. Final under this key.
    Declined {
        /// Why, in the provider's words: lower case and underscores.
        code: String,
    },
}

/// What a provider knows under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeState {
    /// The money is set aside.
    Authorised {
        /// The provider's name for the charge.
        reference: String,
    },
    /// The shopper has to confirm first.
    RequiresAction {
        /// The provider's name for the charge.
        reference: String,
        /// Where the shopper does so.
        url: String,
    },
    /// The money could not be had.
    Declined {
        /// Why, in the provider's words: lower case and underscores.
        code: String,
    },
    /// The money was taken, and some of it at least was not given back.
    Captured,
    /// The charge is over without money taken, and will not come to life under this key.
    Voided,
    /// All the money that was taken was given back.
    Refunded,
    /// Nothing: the provider never decided anything under the key.
    Unknown,
}

impl From<Authorised> for ChargeState {
    fn from(answer: Authorised) -> Self {
        match answer {
            Authorised::Authorised { reference } => Self::Authorised { reference },
            Authorised::RequiresAction { reference, url } => Self::RequiresAction { reference, url },
            Authorised::Declined { code } => Self::Declined { code },
        }
    }
}

/// Why a provider did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Certainly not done: the call may be repeated under the same key.
    #[error("the payment provider is unavailable")]
    Unavailable(#[source] Cause),
    /// Done or not: ask with [`PaymentGateway::query`] before anything else is decided.
    #[error("the payment provider's answer was lost")]
    OutcomeUnknown(#[source] Cause),
    /// The provider understood and will not, now or later.
    #[error("the payment provider refused: {code}")]
    Refused {
        /// Why: lower case and underscores.
        code: String,
    },
}

/// A provider. No call has a time limit of its own: the caller sets one, and treats a call that it gave up as
/// [`GatewayError::OutcomeUnknown`].
#[async_trait]
pub trait PaymentGateway: Send + Sync {
    /// As orders name it: `sandbox`.
    fn name(&self) -> &'static str;

    /// Sets the money aside. Repeated under the same key, it answers what it answered first.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when the key was voided, or used for another authorisation.
    async fn authorise(&self, request: &Authorisation) -> Result<Authorised, GatewayError>;

    /// What the provider knows under that key.
    ///
    /// # Errors
    /// [`GatewayError::Unavailable`].
    async fn query(&self, key: &str) -> Result<ChargeState, GatewayError>;

    /// Takes the money: `amount` of what is set aside, once (invariant 4); the rest is let go. Repeated with the same
    /// amount, it succeeds and takes nothing more.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when nothing is set aside, too little, or another amount was taken.
    async fn capture(&self, key: &str, amount: Money) -> Result<(), GatewayError>;

    /// Lets the money go. Also good for a key that the provider never saw: an authorisation that arrives later under
    /// it is refused. Succeeds where there is nothing to let go.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when the money was taken: that takes a refund.
    async fn void(&self, key: &str) -> Result<(), GatewayError>;

    /// Gives money back, never more in all than was taken (invariant 4). Repeated under the same `refund_key`, it
    /// succeeds and gives nothing more.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when nothing was taken, too little is left, or the `refund_key` was used for another
    /// amount.
    async fn refund(&self, key: &str, refund_key: &str, amount: Money) -> Result<(), GatewayError>;
}
