//! The steps that concern money: the intent is durable before the provider is called, and a provider whose answer was
//! lost is queried before anything is repeated.

use std::time::Instant;

use tokio::time::timeout;

use super::run::{Checkout, StepError};
use crate::gateways::payment::{Authorisation, ChargeState, GatewayError, PaymentGateway};
use souk_domain::PaymentId;
use souk_domain::order::{FailureReason, PlacedOrder};
use souk_domain::payment::{Payment, PaymentChange, PaymentState};

/// The number of the attempt at a payment. There is one: a declined payment fails the order.
const ATTEMPT: u32 = 1;
/// The provider's key for the refund of a cancelled order.
const CANCELLATION: &str = "cancellation";

impl Checkout {
    /// The payment's identifier, which is also the provider's idempotency key.
    pub(super) fn payment_id(order: &PlacedOrder) -> PaymentId {
        let suffix = order.placement.id.as_str().trim_start_matches("ord_");
        PaymentId::from_suffix(format_args!("{suffix}-{ATTEMPT}"))
    }

    /// The stored payment with its version.
    pub(super) async fn payment(&self, order: &PlacedOrder) -> Result<Option<(Payment, u64)>, StepError> {
        self.services.load_payment(&Self::payment_id(order)).await
    }

    /// Records in the payment what happened at the provider.
    async fn record(
        &self,
        payment: Payment,
        version: u64,
        change: PaymentChange,
    ) -> Result<Payment, StepError> {
        match payment.apply(change) {
            Ok(Some(next)) => {
                self.services.save_payment(&next, version).await?;
                Ok(next)
            }
            Ok(None) => Ok(payment),
            Err(refusal) => Err(StepError::retry(format_args!("the payment refused: {refusal}"))),
        }
    }

    fn intended(&self, order: &PlacedOrder) -> Payment {
        Payment::intend(
            Self::payment_id(order),
            order.placement.id.clone(),
            ATTEMPT,
            order.placement.payment.clone(),
            order.placement.total,
            self.services.now(),
        )
    }

    fn gateway(&self, order: &PlacedOrder) -> Result<&dyn PaymentGateway, StepError> {
        self.services
            .gateway(&order.placement.payment.gateway)
            .ok_or(StepError::Abandon(FailureReason::Internal))
    }

    /// Authorises the payment: intent, call, answer, each durable before the next.
    pub(super) async fn authorise(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let since = *self.authorising_since.get_or_insert_with(Instant::now);
        let (payment, version, fresh) = match self.payment(order).await? {
            Some((payment, version)) => (payment, version, false),
            None => {
                let payment = self.intended(order);
                self.services.save_payment(&payment, 0).await?;
                crate::fail::crash("checkout.authorise.intended");
                (payment, 1, true)
            }
        };
        match &payment.status {
            PaymentState::Intended => {}
            PaymentState::RequiresAction => return Err(StepError::AwaitAction),
            PaymentState::Declined { code } => return Err(declined(code)),
            PaymentState::Voided => return Err(StepError::Abandon(FailureReason::PaymentTimedOut)),
            PaymentState::Authorised
            | PaymentState::Captured
            | PaymentState::PartiallyRefunded
            | PaymentState::Refunded => return Ok(()),
        }
        let charge = self.charge(order, fresh).await;
        crate::fail::crash("checkout.authorise.answered");
        match charge {
            Ok(ChargeState::Unknown) | Err(StepError::Retry(_))
                if since.elapsed() >= self.limits.payment_total =>
            {
                Err(StepError::Abandon(FailureReason::PaymentTimedOut))
            }
            Ok(ChargeState::Unknown) => Err(StepError::retry("the payment provider has not decided")),
            Ok(state) => self.learn(payment, version, state).await,
            Err(error) => Err(error),
        }
    }

    /// Calls the provider; where it was called before, or its answer is lost, it is queried first.
    async fn charge(&self, order: &PlacedOrder, fresh: bool) -> Result<ChargeState, StepError> {
        let gateway = self.gateway(order)?;
        let key = Self::payment_id(order);
        if !fresh {
            let known = self.query(gateway, key.as_str()).await?;
            if known != ChargeState::Unknown {
                return Ok(known);
            }
        }
        let authorisation = Authorisation {
            key: key.as_str().to_owned(),
            token: order.placement.payment.token.clone(),
            amount: order.placement.total,
            order: order.placement.id.clone(),
        };
        match timeout(self.limits.payment_call, gateway.authorise(&authorisation)).await {
            Ok(Ok(authorised)) => Ok(authorised.into()),
            Ok(Err(GatewayError::Refused { code })) => Ok(ChargeState::Declined { code }),
            Ok(Err(GatewayError::Unavailable(error))) => Err(StepError::retry(error)),
            Ok(Err(GatewayError::OutcomeUnknown(_))) | Err(_) => self.query(gateway, key.as_str()).await,
        }
    }

    async fn query(&self, gateway: &dyn PaymentGateway, key: &str) -> Result<ChargeState, StepError> {
        match timeout(self.limits.payment_call, gateway.query(key)).await {
            Ok(answer) => answer.map_err(StepError::retry),
            Err(_) => Err(StepError::retry(
                "the payment provider did not answer the query in time",
            )),
        }
    }

    /// Records the provider's answer and returns its consequence for the order.
    async fn learn(&self, payment: Payment, version: u64, state: ChargeState) -> Result<(), StepError> {
        let change = match state {
            ChargeState::Authorised { reference } => PaymentChange::Authorised { reference },
            ChargeState::RequiresAction { reference, .. } => PaymentChange::RequiresAction { reference },
            ChargeState::Declined { code } => PaymentChange::Declined { code },
            ChargeState::Voided => PaymentChange::Voided,
            ChargeState::Captured | ChargeState::Refunded | ChargeState::Unknown => {
                return Err(StepError::retry(
                    "the payment provider is ahead of the stored payment",
                ));
            }
        };
        match self.record(payment, version, change).await?.status {
            PaymentState::RequiresAction => Err(StepError::AwaitAction),
            PaymentState::Declined { code } => Err(declined(&code)),
            PaymentState::Voided => Err(StepError::Abandon(FailureReason::PaymentTimedOut)),
            _ => Ok(()),
        }
    }

    /// Captures the authorised money (invariant 4: the provider accepts one capture per key).
    pub(super) async fn capture(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let Some((payment, version)) = self.payment(order).await? else {
            return Err(StepError::retry("the confirmed order has no payment"));
        };
        if payment.status != PaymentState::Authorised {
            return Ok(());
        }
        let gateway = self.gateway(order)?;
        self.call(gateway.capture(payment.id.as_str(), payment.amount))
            .await?;
        crate::fail::crash("checkout.capture.captured");
        self.record(payment, version, PaymentChange::Captured)
            .await
            .map(|_| ())
    }

    /// Undoes [`Self::authorise`]. Where there is no payment yet, a voided one is written, so that a late worker on
    /// another node can't start one.
    pub(super) async fn void(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let (payment, version) = match self.payment(order).await? {
            Some((payment, version)) => (payment, version),
            None => {
                let voided = self
                    .intended(order)
                    .apply(PaymentChange::Voided)
                    .map_err(StepError::retry)?;
                return match voided {
                    Some(voided) => self.services.save_payment(&voided, 0).await,
                    None => Ok(()),
                };
            }
        };
        if matches!(
            payment.status,
            PaymentState::Voided | PaymentState::Declined { .. }
        ) {
            return Ok(());
        }
        let gateway = self.gateway(order)?;
        self.call(gateway.void(payment.id.as_str())).await?;
        self.record(payment, version, PaymentChange::Voided)
            .await
            .map(|_| ())
    }

    /// Undoes [`Self::capture`], and [`Self::authorise`] where nothing was captured.
    pub(super) async fn refund(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let Some((payment, version)) = self.payment(order).await? else {
            return self.void(order).await;
        };
        match payment.status {
            PaymentState::Captured | PaymentState::PartiallyRefunded => {}
            PaymentState::Refunded | PaymentState::Voided | PaymentState::Declined { .. } => return Ok(()),
            PaymentState::Intended | PaymentState::RequiresAction | PaymentState::Authorised => {
                return self.void_or_learn_of_capture(order, payment, version).await;
            }
        }
        let amount = payment.refundable();
        let gateway = self.gateway(order)?;
        self.call(gateway.refund(payment.id.as_str(), CANCELLATION, amount))
            .await?;
        let change = PaymentChange::Refunded {
            key: CANCELLATION.to_owned(),
            amount,
        };
        self.record(payment, version, change).await.map(|_| ())
    }

    /// A worker that crashed may have captured without recording it: the provider is asked.
    async fn void_or_learn_of_capture(
        &mut self,
        order: &PlacedOrder,
        payment: Payment,
        version: u64,
    ) -> Result<(), StepError> {
        let gateway = self.gateway(order)?;
        if self.query(gateway, payment.id.as_str()).await? == ChargeState::Captured {
            self.record(payment, version, PaymentChange::Captured).await?;
            return Err(StepError::retry("the payment turned out to be captured"));
        }
        self.void(order).await
    }

    async fn call(&self, call: impl Future<Output = Result<(), GatewayError>>) -> Result<(), StepError> {
        match timeout(self.limits.payment_call, call).await {
            Ok(answer) => answer.map_err(StepError::retry),
            Err(_) => Err(StepError::retry("the payment provider did not answer in time")),
        }
    }
}

fn declined(code: &str) -> StepError {
    StepError::Abandon(FailureReason::PaymentDeclined {
        code: code.to_owned(),
    })
}
