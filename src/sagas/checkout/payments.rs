//! The steps that deal with money: the intent is durable before the provider hears of it, and a provider whose answer
//! was lost is asked what it knows before anything is asked of it again.

use std::time::Instant;

use tokio::time::timeout;

use super::worker::{StepError, WorkerState};
use crate::actors::persistence::Written;
use crate::gateways::payment::{Authorisation, ChargeState, GatewayError, PaymentGateway};
use crate::stores::documents::{Document, DocumentWrite};
use souk_cluster::placement::shard_of;
use souk_domain::PaymentId;
use souk_domain::order::{FailureReason, OrderView};
use souk_domain::payment::{Payment, PaymentChange, PaymentState};

/// There is one attempt at the payment of an order: a declined one ends the order.
const ATTEMPT: u32 = 1;
/// Names the refund of a cancelled order at the provider.
const CANCELLATION: &str = "cancellation";

impl WorkerState {
    /// The payment's identifier, and the provider's idempotency key: one for each order and attempt.
    pub(super) fn payment_id(order: &OrderView) -> PaymentId {
        let suffix = order.id.as_str().trim_start_matches("ord_");
        PaymentId::from_suffix(format_args!("{suffix}-{ATTEMPT}"))
    }

    /// The payment as it stands in the store, with its version.
    pub(super) async fn payment(&self, order: &OrderView) -> Result<Option<(Payment, u64)>, StepError> {
        let id = Self::payment_id(order);
        let document = self
            .context
            .payments
            .store
            .load(id.as_str())
            .await
            .map_err(again)?;
        document
            .map(|document| {
                serde_json::from_str(&document.body)
                    .map(|payment| (payment, document.version))
                    .map_err(again)
            })
            .transpose()
    }

    /// Writes the payment over version `expected`.
    async fn keep(&self, payment: &Payment, expected: u64) -> Result<(), StepError> {
        let write = DocumentWrite {
            document: Document {
                id: payment.id.as_str().to_owned(),
                shard: shard_of(payment.order.as_str()),
                version: expected + 1,
                due_at: None,
                owner: Some(payment.order.as_str().to_owned()),
                body: serde_json::to_string(payment).map_err(again)?,
            },
            expected,
            events: Vec::new(),
        };
        match self.context.payments.write_and_wait(write).await {
            Written::Applied => Ok(()),
            Written::Conflict => Err(StepError::Again("another worker wrote the payment".to_owned())),
            Written::Unavailable | Written::Unknown => {
                Err(StepError::Again("the payments store was away".to_owned()))
            }
        }
    }

    /// Writes what has happened at the provider into the payment; returns the payment as it stands then.
    async fn record(
        &self,
        payment: Payment,
        version: u64,
        change: PaymentChange,
    ) -> Result<Payment, StepError> {
        match payment.apply(change) {
            Ok(Some(next)) => {
                self.keep(&next, version).await?;
                Ok(next)
            }
            Ok(None) => Ok(payment),
            Err(refusal) => Err(StepError::Again(format!("the payment refused: {refusal}"))),
        }
    }

    fn intended(&self, order: &OrderView) -> Payment {
        Payment::intend(
            Self::payment_id(order),
            order.id.clone(),
            ATTEMPT,
            order.payment.clone(),
            order.total,
            (self.context.clock)(),
        )
    }

    fn gateway(&self, order: &OrderView) -> Result<&dyn PaymentGateway, StepError> {
        self.context
            .gateways
            .get(&order.payment.gateway)
            .ok_or(StepError::Abandon(FailureReason::Internal))
    }

    /// Has the provider hold the money: intent, question, answer, each durable before the next.
    pub(super) async fn authorise(&mut self, order: &OrderView) -> Result<(), StepError> {
        let since = *self.authorising_since.get_or_insert_with(Instant::now);
        let (payment, version, fresh) = match self.payment(order).await? {
            Some((payment, version)) => (payment, version, false),
            None => {
                let payment = self.intended(order);
                self.keep(&payment, 0).await?;
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
            Ok(ChargeState::Unknown) | Err(StepError::Again(_))
                if since.elapsed() >= self.context.limits.payment_total =>
            {
                Err(StepError::Abandon(FailureReason::PaymentTimedOut))
            }
            Ok(ChargeState::Unknown) => Err(StepError::Again("the provider has not decided".to_owned())),
            Ok(state) => self.learn(payment, version, state).await,
            Err(error) => Err(error),
        }
    }

    /// Asks the provider for the money; where that was asked before, or its answer is lost, what it knows comes first.
    async fn charge(&self, order: &OrderView, fresh: bool) -> Result<ChargeState, StepError> {
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
            token: order.payment.token.clone(),
            amount: order.total,
            order: order.id.clone(),
        };
        match timeout(
            self.context.limits.payment_call,
            gateway.authorise(&authorisation),
        )
        .await
        {
            Ok(Ok(authorised)) => Ok(authorised.into()),
            Ok(Err(GatewayError::Refused { code })) => Ok(ChargeState::Declined { code }),
            Ok(Err(GatewayError::Unavailable(error))) => Err(again(error)),
            Ok(Err(GatewayError::OutcomeUnknown(_))) | Err(_) => self.query(gateway, key.as_str()).await,
        }
    }

    async fn query(&self, gateway: &dyn PaymentGateway, key: &str) -> Result<ChargeState, StepError> {
        match timeout(self.context.limits.payment_call, gateway.query(key)).await {
            Ok(answer) => answer.map_err(again),
            Err(_) => Err(StepError::Again(
                "the provider did not say what it knows".to_owned(),
            )),
        }
    }

    /// Writes down what the provider said, and says what follows from it.
    async fn learn(&self, payment: Payment, version: u64, state: ChargeState) -> Result<(), StepError> {
        let change = match state {
            ChargeState::Authorised { reference } => PaymentChange::Authorised { reference },
            ChargeState::RequiresAction { reference, .. } => PaymentChange::RequiresAction { reference },
            ChargeState::Declined { code } => PaymentChange::Declined { code },
            ChargeState::Voided => PaymentChange::Voided,
            ChargeState::Captured | ChargeState::Refunded | ChargeState::Unknown => {
                return Err(StepError::Again(
                    "the provider is ahead of the payment".to_owned(),
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

    /// Takes the money that is held (invariant 4: the provider counts one capture a key).
    pub(super) async fn capture(&self, order: &OrderView) -> Result<(), StepError> {
        let Some((payment, version)) = self.payment(order).await? else {
            return Err(StepError::Again("a confirmed order has no payment".to_owned()));
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

    /// Lets the money go. Where there is no payment yet, a voided one is written, so that a worker elsewhere that has
    /// not noticed anything can't begin one any more.
    pub(super) async fn void(&self, order: &OrderView) -> Result<(), StepError> {
        let (payment, version) = match self.payment(order).await? {
            Some((payment, version)) => (payment, version),
            None => {
                let voided = self.intended(order).apply(PaymentChange::Voided).map_err(again)?;
                return match voided {
                    Some(voided) => self.keep(&voided, 0).await,
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

    /// Gives the money of a confirmed order back, whatever became of it.
    pub(super) async fn refund(&self, order: &OrderView) -> Result<(), StepError> {
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

    /// A worker that died may have captured without writing it down: the provider knows.
    async fn void_or_learn_of_capture(
        &self,
        order: &OrderView,
        payment: Payment,
        version: u64,
    ) -> Result<(), StepError> {
        let gateway = self.gateway(order)?;
        if self.query(gateway, payment.id.as_str()).await? == ChargeState::Captured {
            self.record(payment, version, PaymentChange::Captured).await?;
            return Err(StepError::Again(
                "the money had been captured; it is refunded now".to_owned(),
            ));
        }
        self.void(order).await
    }

    async fn call(&self, call: impl Future<Output = Result<(), GatewayError>>) -> Result<(), StepError> {
        match timeout(self.context.limits.payment_call, call).await {
            Ok(answer) => answer.map_err(again),
            Err(_) => Err(StepError::Again("the provider did not answer in time".to_owned())),
        }
    }
}

fn again(error: impl std::fmt::Display) -> StepError {
    StepError::Again(error.to_string())
}

fn declined(code: &str) -> StepError {
    StepError::Abandon(FailureReason::PaymentDeclined {
        code: code.to_owned(),
    })
}
