//! The steps that concern money: the intent is durable before the provider is called, and a provider whose answer was
//! lost is queried before anything is repeated.
//!
//! That a payment is authorised is written with its capture or its end: until then the order's confirmation says so, and the
//! provider can be asked.

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
        let refused = |refusal| StepError::retry(format_args!("the payment refused: {refusal}"));
        let Some(next) = payment.apply(change).map_err(refused)? else {
            return Ok(payment);
        };
        if !self.services.save_payment(&next, version).await? {
            return Err(StepError::retry("another worker has written the payment"));
        }
        Ok(next)
    }

    fn intended(&self, order: &PlacedOrder) -> Payment {
        Payment::intend(
            Self::payment_id(order),
            order.placement.id.clone(),
            ATTEMPT,
            &order.placement.payment.gateway,
            order.placement.total,
            self.services.now(),
        )
    }

    /// The provider of the order's payment, which has to be configured for as long as one of its payments is open.
    fn gateway(&self, order: &PlacedOrder) -> Result<&dyn PaymentGateway, StepError> {
        let name = &order.placement.payment.gateway;
        self.services
            .gateway(name)
            .ok_or_else(|| StepError::Escalate(format!("the payment provider {name} is not configured")))
    }

    /// Makes a call to the provider: within its time limit, and no longer than the order is wanted.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, GatewayError>>,
    ) -> Result<Result<T, GatewayError>, StepError> {
        tokio::select! {
            biased;
            () = self.cancelled.notified() => Err(StepError::Cancelled),
            answer = timeout(self.limits.payment_call, call) => {
                Ok(answer.unwrap_or_else(|elapsed| Err(GatewayError::OutcomeUnknown(elapsed.into()))))
            }
        }
    }

    /// The payment with what the provider says of it.
    fn known(payment: Payment, state: &ChargeState) -> Result<Payment, StepError> {
        let changes = match state {
            ChargeState::Authorised { reference } => vec![PaymentChange::Authorised {
                reference: reference.clone(),
            }],
            // What was refunded was captured before.
            ChargeState::Captured { reference } | ChargeState::Refunded { reference } => vec![
                PaymentChange::Authorised {
                    reference: reference.clone(),
                },
                PaymentChange::Captured,
            ],
            _ => Vec::new(),
        };
        changes.into_iter().try_fold(payment, |payment, change| {
            let next = payment.apply(change).map_err(StepError::retry)?;
            Ok(next.unwrap_or(payment))
        })
    }

    /// Authorises the payment: intent, call, answer, each durable before the next.
    pub(super) async fn authorise(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let since = *self.authorising_since.get_or_insert_with(Instant::now);
        let (payment, version, fresh) = self.open_payment(order).await?;
        if payment.status != PaymentState::Intended {
            return consequence(payment.status);
        }
        let charge = match self.charge(order, fresh).await {
            // The provider is no longer configured: what it may have charged is for a person to look at.
            Err(StepError::Escalate(_)) => return Err(StepError::Abandon(FailureReason::Internal)),
            charge => charge,
        };
        crate::fail::crash("checkout.authorise.answered");
        match charge {
            Ok(ChargeState::Unknown) | Err(StepError::Retry(_))
                if since.elapsed() >= self.limits.payment_total =>
            {
                Err(StepError::Abandon(FailureReason::PaymentTimedOut))
            }
            Ok(ChargeState::Unknown) => Err(StepError::retry("the payment provider has not decided")),
            Ok(ChargeState::Authorised { reference }) => {
                self.reference = Some(reference);
                Ok(())
            }
            Ok(state) => self.learn(payment, version, state).await,
            Err(error) => Err(error),
        }
    }

    /// The order's payment with its version, and whether it begins with this call.
    async fn open_payment(&mut self, order: &PlacedOrder) -> Result<(Payment, u64, bool), StepError> {
        if self.gateway(order).is_ok() {
            // Written without a look: as a rule there is none.
            let payment = self.intended(order);
            if self.services.save_payment(&payment, 0).await? {
                crate::fail::crash("checkout.authorise.intended");
                self.begun = Some((payment.clone(), 1));
                return Ok((payment, 1, true));
            }
        }
        let (payment, version) = self
            .payment(order)
            .await?
            // Nothing was charged yet, and can't be: only a provider that is not configured leads here.
            .ok_or(StepError::Abandon(FailureReason::Internal))?;
        Ok((payment, version, false))
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
        match self.call(gateway.authorise(&authorisation)).await? {
            Ok(charge) => Ok(charge),
            Err(GatewayError::Refused { code }) => Ok(ChargeState::Declined { code }),
            Err(GatewayError::Unavailable(error)) => Err(StepError::retry(error)),
            Err(GatewayError::OutcomeUnknown(_)) => self.query(gateway, key.as_str()).await,
        }
    }

    async fn query(&self, gateway: &dyn PaymentGateway, key: &str) -> Result<ChargeState, StepError> {
        self.call(gateway.query(key)).await?.map_err(StepError::retry)
    }

    /// Records what ends the attempt or interrupts it, and returns its consequence for the order.
    async fn learn(&self, payment: Payment, version: u64, state: ChargeState) -> Result<(), StepError> {
        let change = match state {
            ChargeState::RequiresAction { reference, .. } => PaymentChange::RequiresAction { reference },
            ChargeState::Declined { code } => PaymentChange::Declined { code },
            ChargeState::Voided => PaymentChange::Voided,
            ChargeState::Authorised { .. }
            | ChargeState::Captured { .. }
            | ChargeState::Refunded { .. }
            | ChargeState::Unknown => {
                return Err(StepError::retry("the payment provider is ahead of the order"));
            }
        };
        consequence(self.record(payment, version, change).await?.status)
    }

    /// Captures the authorised money (invariant 4: the provider accepts one capture per key).
    pub(super) async fn capture(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let found = match self.begun.take() {
            Some(begun) => Some(begun),
            None => self.payment(order).await?,
        };
        let (payment, version) =
            found.ok_or_else(|| StepError::retry("the confirmed order has no payment"))?;
        let gateway = self.gateway(order)?;
        let key = payment.id.clone();
        let payment = match payment.status {
            PaymentState::Intended => {
                let reference = match self.reference.clone() {
                    Some(reference) => reference,
                    // Another worker confirmed the order, and may have captured the payment.
                    None => match self.query(gateway, key.as_str()).await? {
                        ChargeState::Authorised { reference } | ChargeState::Captured { reference } => {
                            reference
                        }
                        _ => {
                            let reason = "the payment provider holds no money for it";
                            return Err(StepError::Escalate(reason.to_owned()));
                        }
                    },
                };
                Self::known(payment, &ChargeState::Authorised { reference })?
            }
            PaymentState::Authorised => payment,
            _ => return Ok(()),
        };
        // Somebody may have captured it at the provider by hand.
        let is_captured = |state: &ChargeState| matches!(state, ChargeState::Captured { .. });
        let capture = gateway.capture(key.as_str(), payment.amount);
        self.have_done(gateway, key.as_str(), capture, is_captured)
            .await?;
        crate::fail::crash("checkout.capture.captured");
        self.settle(payment, version, PaymentChange::Captured).await
    }

    /// Undoes [`Self::authorise`]. Where there is no payment yet, a voided one is written, so that a late worker on
    /// another node can't start one.
    pub(super) async fn void(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let Some((payment, version)) = self.payment(order).await? else {
            return self.settle(self.intended(order), 0, PaymentChange::Voided).await;
        };
        if matches!(
            payment.status,
            PaymentState::Voided | PaymentState::Declined { .. }
        ) {
            return Ok(());
        }
        let gateway = self.gateway(order)?;
        let payment = match self.query(gateway, payment.id.as_str()).await {
            Ok(state) => Self::known(payment, &state)?,
            // It is voided all the same, and nobody learns what it was.
            Err(_) => payment,
        };
        self.void_at(gateway, payment, version).await
    }

    async fn void_at(
        &self,
        gateway: &dyn PaymentGateway,
        payment: Payment,
        version: u64,
    ) -> Result<(), StepError> {
        let key = payment.id.as_str();
        let is_over =
            |state: &ChargeState| matches!(state, ChargeState::Voided | ChargeState::Declined { .. });
        self.have_done(gateway, key, gateway.void(key), is_over).await?;
        self.settle(payment, version, PaymentChange::Voided).await
    }

    /// Undoes [`Self::capture`], and [`Self::authorise`] where nothing was captured.
    pub(super) async fn refund(&mut self, order: &PlacedOrder) -> Result<(), StepError> {
        let Some((payment, version)) = self.payment(order).await? else {
            return self.void(order).await;
        };
        let gateway = self.gateway(order)?;
        let payment = match payment.status {
            PaymentState::Captured | PaymentState::PartiallyRefunded => payment,
            PaymentState::Refunded | PaymentState::Voided | PaymentState::Declined { .. } => return Ok(()),
            PaymentState::Intended | PaymentState::RequiresAction | PaymentState::Authorised => {
                // A worker that crashed may have captured without recording it.
                let state = self.query(gateway, payment.id.as_str()).await?;
                let payment = Self::known(payment, &state)?;
                if payment.status != PaymentState::Captured {
                    let voided = self.void_at(gateway, payment, version).await;
                    // A late worker may have captured it in this moment: it is refunded then.
                    if matches!(voided, Err(StepError::Escalate(_))) && self.is_captured(order).await? {
                        return Err(StepError::retry("the payment was captured meanwhile"));
                    }
                    return voided;
                }
                payment
            }
        };
        let amount = payment.refundable();
        let key = payment.id.as_str();
        let is_refunded = |state: &ChargeState| matches!(state, ChargeState::Refunded { .. });
        let refund = gateway.refund(key, CANCELLATION, amount);
        self.have_done(gateway, key, refund, is_refunded).await?;
        let change = PaymentChange::Refunded {
            key: CANCELLATION.to_owned(),
            amount,
        };
        self.settle(payment, version, change).await
    }

    async fn is_captured(&self, order: &PlacedOrder) -> Result<bool, StepError> {
        let state = self
            .query(self.gateway(order)?, Self::payment_id(order).as_str())
            .await?;
        Ok(matches!(
            state,
            ChargeState::Captured { .. } | ChargeState::Refunded { .. }
        ))
    }

    async fn settle(&self, payment: Payment, version: u64, change: PaymentChange) -> Result<(), StepError> {
        self.record(payment, version, change).await.map(drop)
    }

    /// Makes a call that must succeed in the end. A refusal is for good, unless the provider says that what was asked for has
    /// been done.
    async fn have_done(
        &self,
        gateway: &dyn PaymentGateway,
        key: &str,
        call: impl Future<Output = Result<(), GatewayError>>,
        is_done: impl Fn(&ChargeState) -> bool + Send,
    ) -> Result<(), StepError> {
        match self.call(call).await? {
            Ok(()) => Ok(()),
            Err(GatewayError::Refused { code }) => {
                if is_done(&self.query(gateway, key).await?) {
                    return Ok(());
                }
                Err(StepError::Escalate(format!(
                    "the payment provider refused it: {code}"
                )))
            }
            Err(error) => Err(StepError::retry(error)),
        }
    }
}

/// What a payment in this state means for the order that it was to be authorised for.
fn consequence(state: PaymentState) -> Result<(), StepError> {
    match state {
        PaymentState::RequiresAction => Err(StepError::AwaitAction),
        PaymentState::Declined { code } => Err(StepError::Abandon(FailureReason::PaymentDeclined { code })),
        PaymentState::Voided => Err(StepError::Abandon(FailureReason::PaymentTimedOut)),
        PaymentState::Intended
        | PaymentState::Authorised
        | PaymentState::Captured
        | PaymentState::PartiallyRefunded
        | PaymentState::Refunded => Ok(()),
    }
}
