//! The port of the payment providers.
//!
//! The caller chooses a key for each charge before the provider is called. Calls are idempotent by that key, so that a
//! caller who does not know the outcome of a call may query it with [`PaymentGateway::query`], repeat it, or end the
//! charge with [`PaymentGateway::void`] (invariants 4, 5 and 12).

use std::error::Error as StdError;

use async_trait::async_trait;

use souk_domain::{Money, OrderId};

/// The cause of a [`GatewayError`]; for the log.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// A request to authorise a payment for an order. Without debug output, which would show the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// The idempotency key: it names the charge.
    pub key: String,
    /// The provider's token for the shopper's means of payment. Secret.
    pub token: String,
    /// The amount; above zero.
    pub amount: Money,
    /// The order, as shown in the provider's ledger.
    pub order: OrderId,
}

/// The state of a charge at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeState {
    /// The amount is authorised.
    Authorised {
        /// The provider's name for the charge.
        reference: String,
    },
    /// The shopper must confirm first.
    RequiresAction {
        /// The provider's name for the charge.
        reference: String,
        /// The page for that.
        url: String,
    },
    /// The payment is declined. Final under this key.
    Declined {
        /// Why, in the provider's words: lower case and underscores.
        code: String,
    },
    /// Captured, and not refunded in full.
    Captured {
        /// The provider's name for the charge.
        reference: String,
    },
    /// Ended without a capture; the key authorises nothing any more.
    Voided,
    /// Captured and refunded in full.
    Refunded {
        /// The provider's name for the charge.
        reference: String,
    },
    /// The provider has decided nothing under this key.
    Unknown,
}

/// Why a call to a provider failed.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The call had no effect; it may be repeated under the same key.
    #[error("the payment provider is unavailable")]
    Unavailable(#[source] Cause),
    /// The call may have had its effect: query with [`PaymentGateway::query`] before anything else.
    #[error("the payment provider's answer was lost")]
    OutcomeUnknown(#[source] Cause),
    /// The provider refused for good.
    #[error("the payment provider refused: {code}")]
    Refused {
        /// Why: lower case and underscores.
        code: String,
    },
}

/// A payment provider. Calls have no time limit of their own: the caller sets one, and treats a call that exceeded it as
/// [`GatewayError::OutcomeUnknown`].
#[async_trait]
pub trait PaymentGateway: Send + Sync {
    /// Its name in orders, for example `sandbox`.
    fn name(&self) -> &'static str;

    /// Authorises the amount. The reply is [`ChargeState::Authorised`], [`ChargeState::RequiresAction`] or
    /// [`ChargeState::Declined`]; repeated under the same key, the call gives the first reply again.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when the key was voided, or used for another authorisation.
    async fn authorise(&self, request: &Authorisation) -> Result<ChargeState, GatewayError>;

    /// The state of the charge under this key.
    ///
    /// # Errors
    /// [`GatewayError::Unavailable`].
    async fn query(&self, key: &str) -> Result<ChargeState, GatewayError>;

    /// Captures `amount` of the authorised amount, once (invariant 4); the rest is voided. Repeated with the same
    /// amount, it succeeds and captures nothing more.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when nothing or too little is authorised, or another amount was captured.
    async fn capture(&self, key: &str, amount: Money) -> Result<(), GatewayError>;

    /// Releases the authorised amount. For a key that the provider has not seen, later authorisations under it are
    /// refused. Succeeds if nothing is authorised.
    ///
    /// # Errors
    /// [`GatewayError`]; refused after a capture: that needs a refund.
    async fn void(&self, key: &str) -> Result<(), GatewayError>;

    /// Refunds `amount`, in total never more than was captured (invariant 4). Repeated under the same `refund_key`, it
    /// succeeds and refunds nothing more.
    ///
    /// # Errors
    /// [`GatewayError`]; refused when nothing was captured, too little is left, or the `refund_key` was used for another
    /// amount.
    async fn refund(&self, key: &str, refund_key: &str, amount: Money) -> Result<(), GatewayError>;
}
