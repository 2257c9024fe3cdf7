//! What the steps of a checkout need of the rest of the shop, and how a node provides it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::CheckoutContext;
use super::run::StepError;
use crate::actors::outcome::Ask;
use crate::actors::persistence::Written;
use crate::gateways::payment::PaymentGateway;
use crate::stores::documents::{Document, DocumentWrite};
use souk_cluster::placement::shard_of;
use souk_domain::order::{OrderCommand, PlacedOrder};
use souk_domain::payment::Payment;
use souk_domain::stock::{StockCommand, StockReply};
use souk_domain::{Aggregate, CartCommand, CartId, OrderId, PaymentId, Sku, Timestamp};

/// The services that a checkout uses. Every call may fail, and a call whose reply is lost may have taken effect.
#[async_trait]
pub(super) trait Services: Send + Sync {
    /// The present.
    fn now(&self) -> Timestamp;

    /// Sends a command to the order; the order as it is after the command. A refusal shows there too.
    async fn order(&self, id: &OrderId, command: OrderCommand) -> Result<Option<PlacedOrder>, StepError>;

    /// Sends a command to a SKU.
    async fn stock(&self, sku: &Sku, command: StockCommand) -> Result<StockReply, StepError>;

    /// Sends a command to a cart.
    async fn cart(&self, id: &CartId, command: CartCommand) -> Result<(), StepError>;

    /// Reads a payment and its version.
    async fn load_payment(&self, id: &PaymentId) -> Result<Option<(Payment, u64)>, StepError>;

    /// Writes a payment over version `expected`; false where another version is there.
    async fn save_payment(&self, payment: &Payment, expected: u64) -> Result<bool, StepError>;

    /// The payment provider of this name.
    fn gateway(&self, name: &str) -> Option<&dyn PaymentGateway>;
}

/// The services of a node, for the checkout of one order.
pub(super) struct NodeServices {
    pub(super) context: Arc<CheckoutContext>,
    pub(super) request_id: Arc<str>,
}

impl NodeServices {
    /// Every command of a checkout is safe to repeat, so it needs no id.
    fn ask<A: Aggregate>(&self, command: A::Command) -> Ask<A> {
        let deadline = Instant::now() + self.context.limits.ask;
        Ask::new(command, deadline, Arc::clone(&self.request_id)).in_background()
    }
}

#[async_trait]
impl Services for NodeServices {
    fn now(&self) -> Timestamp {
        (self.context.clock)()
    }

    async fn order(&self, id: &OrderId, command: OrderCommand) -> Result<Option<PlacedOrder>, StepError> {
        let orders = &self.context.regions.orders;
        Ok(orders.ask(id.as_str(), self.ask(command)).await?.view)
    }

    async fn stock(&self, sku: &Sku, command: StockCommand) -> Result<StockReply, StepError> {
        let skus = &self.context.regions.skus;
        Ok(skus.ask(sku.as_str(), self.ask(command)).await?.reply)
    }

    async fn cart(&self, id: &CartId, command: CartCommand) -> Result<(), StepError> {
        let carts = &self.context.regions.carts;
        carts.ask(id.as_str(), self.ask(command)).await?;
        Ok(())
    }

    async fn load_payment(&self, id: &PaymentId) -> Result<Option<(Payment, u64)>, StepError> {
        let store = &self.context.payments.store;
        let document = store.load(id.as_str()).await.map_err(StepError::retry)?;
        document
            .map(|document| {
                let payment = serde_json::from_str(&document.body).map_err(StepError::retry)?;
                Ok((payment, document.version))
            })
            .transpose()
    }

    async fn save_payment(&self, payment: &Payment, expected: u64) -> Result<bool, StepError> {
        let write = DocumentWrite {
            document: Document {
                id: payment.id.as_str().to_owned(),
                shard: shard_of(payment.order.as_str()),
                version: expected + 1,
                fence: 0,
                due_at: None,
                owner: Some(payment.order.as_str().to_owned()),
                body: serde_json::to_string(payment).map_err(StepError::retry)?,
            },
            expected,
            events: Vec::new(),
        };
        match self.context.payments.write_and_wait(write).await {
            Written::Applied => Ok(true),
            Written::Conflict => Ok(false),
            Written::Refused => Err(StepError::retry("the payments store refused the payment")),
            Written::Unavailable | Written::Unknown => Err(StepError::retry("payments store unavailable")),
        }
    }

    fn gateway(&self, name: &str) -> Option<&dyn PaymentGateway> {
        self.context.gateways.get(name)
    }
}
