//! A shop in miniature: the real decisions over real rows, without actors, so that it stands still where a test wants
//! it to.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::actors::entity::Record;
use crate::audit::{Limits, audit};
use crate::gateways::payment::{Authorisation, PaymentGateway};
use crate::gateways::sandbox::SandboxGateway;
use crate::stores::Stores;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite, WriteOutcome};
use crate::stores::testing::embedded_stores;
use souk_cluster::placement::shard_of;
use souk_domain::fixtures::{at, cart_id, order_id, placement, sku};
use souk_domain::order::{FailureReason, OrderCommand, OrderReply};
use souk_domain::payment::{Payment, PaymentChange};
use souk_domain::stock::{Stock, StockCommand, StockReply};
use souk_domain::{
    Aggregate, Cart, EncodedEvent, Event, Money, NewEvent, NoEvent, Order, PaymentId, Timestamp,
};

/// When everything happens that a test gives no other time.
pub(super) const NOW: i64 = 100;

/// Small pages, so that every list is read in several; no pause, because nothing moves by itself.
pub(super) const LIMITS: Limits = Limits {
    page: 2,
    pause: Duration::ZERO,
    patience: Duration::from_millis(20),
    overdue_patience: Duration::from_millis(200),
    order_deadline: Duration::from_secs(900),
    payment_total: Duration::from_secs(30),
    sweep: Duration::from_secs(5),
    slack: Duration::from_secs(30),
};

pub(super) struct Shop {
    pub(super) stores: Stores,
    gateway: SandboxGateway,
    _directory: TempDir,
}

impl Shop {
    /// Documents in memory; 10 pieces of SKU 0 and of SKU 1.
    pub(super) async fn new() -> Self {
        Self::over(embedded_stores().await).await
    }

    async fn over((stores, directory): (Stores, TempDir)) -> Self {
        let shop = Self {
            gateway: SandboxGateway::new(Arc::clone(&stores.sandbox), || at(NOW)),
            stores,
            _directory: directory,
        };
        for line in 0..2 {
            for (reference, quantity) in [("first", 7), ("second", 3)] {
                let reference = reference.to_owned();
                shop.stock(line, StockCommand::Receive { reference, quantity })
                    .await;
            }
        }
        shop
    }

    /// What an auditor finds at this time: numbers and subjects.
    pub(super) async fn audit_at(&self, seconds: i64) -> Vec<(u8, String)> {
        self.audit_by(Arc::new(move || at(seconds))).await
    }

    pub(super) async fn audit_by(&self, clock: crate::clock::Clock) -> Vec<(u8, String)> {
        let found = audit(&self.stores, &clock, LIMITS).await.unwrap();
        found
            .into_iter()
            .map(|violation| (violation.invariant, violation.subject))
            .collect()
    }

    pub(super) async fn assert_clean(&self) {
        assert_eq!(self.audit_at(NOW).await, []);
    }

    /// That there is this violation and no other.
    pub(super) async fn assert_only(&self, invariant: u8, subject: &str) {
        assert_eq!(self.audit_at(NOW).await, [(invariant, subject.to_owned())]);
    }

    /// Has an entity decide, and writes what it decided.
    async fn decide<A: Aggregate>(
        &self,
        store: &dyn DocumentStore,
        id: &str,
        command: &A::Command,
        at: Timestamp,
    ) -> A::Reply {
        let row = store.load(id).await.unwrap();
        let version = row.as_ref().map_or(0, |row| row.version);
        let mut record = row.map_or_else(|| Record::<A>::initial(id), |row| Record::decode(&row).unwrap());
        let decision = record.state.decide(command, at);
        if let Some(change) = decision.change {
            record.state = change.state;
            let document = Document {
                id: id.to_owned(),
                shard: shard_of(id),
                version: version + 1,
                fence: 0,
                due_at: record.state.due_at(),
                owner: record.state.owner().map(str::to_owned),
                body: serde_json::to_string(&record).unwrap(),
            };
            put(store, document, change.events).await;
        }
        decision.reply
    }

    pub(super) async fn stock(&self, line: usize, command: StockCommand) {
        let reply = self
            .decide::<Stock>(&*self.stores.inventory, sku(line).as_str(), &command, at(NOW))
            .await;
        assert_eq!(reply, StockReply::Done, "{command:?}");
    }

    pub(super) async fn order_at(&self, index: usize, command: OrderCommand, seconds: i64) {
        let id = order_id(index);
        let reply = self
            .decide::<Order>(&*self.stores.orders, id.as_str(), &command, at(seconds))
            .await;
        assert_eq!(reply, OrderReply::Done, "{command:?}");
    }

    pub(super) async fn order(&self, index: usize, command: OrderCommand) {
        self.order_at(index, command, NOW).await;
    }

    pub(super) async fn place(&self, index: usize, quantities: &[u32]) {
        self.order(index, OrderCommand::Place(Box::new(placement(index, quantities))))
            .await;
    }

    pub(super) async fn reserve(&self, index: usize, line: usize, quantity: u32) {
        let (order, expires_at) = (order_id(index), at(NOW + 900));
        self.stock(
            line,
            StockCommand::Reserve {
                order,
                quantity,
                expires_at,
            },
        )
        .await;
    }

    pub(super) async fn release(&self, index: usize, line: usize) {
        self.stock(
            line,
            StockCommand::Release {
                order: order_id(index),
            },
        )
        .await;
    }

    pub(super) async fn take(&self, index: usize, line: usize) {
        self.stock(
            line,
            StockCommand::Take {
                order: order_id(index),
            },
        )
        .await;
    }

    pub(super) async fn give_back(&self, index: usize, line: usize, quantity: u32) {
        self.stock(
            line,
            StockCommand::Return {
                order: order_id(index),
                quantity,
            },
        )
        .await;
    }

    pub(super) fn payment_id(index: usize) -> PaymentId {
        PaymentId::from_suffix(format_args!("{index}-1"))
    }

    fn total(quantities: &[u32]) -> Money {
        placement(0, quantities).total
    }

    /// Writes an intent to pay for these quantities under this name.
    pub(super) async fn intend(&self, id: PaymentId, index: usize, quantities: &[u32]) {
        let payment = Payment::intend(
            id,
            order_id(index),
            1,
            "sandbox",
            Self::total(quantities),
            at(NOW),
        );
        self.keep(&payment, 0).await;
    }

    /// Writes what happened to a payment.
    pub(super) async fn paid(&self, id: &PaymentId, change: PaymentChange) {
        let row = self.stores.payments.load(id.as_str()).await.unwrap().unwrap();
        let payment: Payment = serde_json::from_str(&row.body).unwrap();
        let next = payment.apply(change).unwrap().unwrap();
        self.keep(&next, row.version).await;
    }

    async fn keep(&self, payment: &Payment, version: u64) {
        let document = Document {
            id: payment.id.as_str().to_owned(),
            shard: shard_of(payment.order.as_str()),
            version: version + 1,
            fence: 0,
            due_at: None,
            owner: Some(payment.order.as_str().to_owned()),
            body: serde_json::to_string(payment).unwrap(),
        };
        put(&*self.stores.payments, document, Vec::<NoEvent>::new()).await;
    }

    /// Has the provider hold the money under this key.
    pub(super) async fn authorise_at_provider(&self, key: &str, index: usize, quantities: &[u32]) {
        let authorisation = Authorisation {
            key: key.to_owned(),
            token: "tok_ok".to_owned(),
            amount: Self::total(quantities),
            order: order_id(index),
        };
        self.gateway.authorise(&authorisation).await.unwrap();
    }

    pub(super) async fn capture_at_provider(&self, key: &str, quantities: &[u32]) {
        self.gateway.capture(key, Self::total(quantities)).await.unwrap();
    }

    pub(super) async fn void_at_provider(&self, key: &str) {
        self.gateway.void(key).await.unwrap();
    }

    pub(super) async fn authorise(&self, index: usize, quantities: &[u32]) {
        let id = Self::payment_id(index);
        self.intend(id.clone(), index, quantities).await;
        self.authorise_at_provider(id.as_str(), index, quantities).await;
        let reference = "sbx_reference".to_owned();
        self.paid(&id, PaymentChange::Authorised { reference }).await;
    }

    pub(super) async fn capture(&self, index: usize, quantities: &[u32]) {
        let id = Self::payment_id(index);
        self.capture_at_provider(id.as_str(), quantities).await;
        self.paid(&id, PaymentChange::Captured).await;
    }

    pub(super) async fn void(&self, index: usize) {
        let id = Self::payment_id(index);
        self.void_at_provider(id.as_str()).await;
        self.paid(&id, PaymentChange::Voided).await;
    }

    pub(super) async fn refund(&self, index: usize, quantities: &[u32]) {
        let (id, amount) = (Self::payment_id(index), Self::total(quantities));
        self.gateway
            .refund(id.as_str(), "cancellation", amount)
            .await
            .unwrap();
        let key = "cancellation".to_owned();
        self.paid(&id, PaymentChange::Refunded { key, amount }).await;
    }

    pub(super) async fn confirm(&self, index: usize) {
        let payment = Self::payment_id(index);
        self.order(index, OrderCommand::Confirm { payment }).await;
    }

    pub(super) async fn finish(&self, index: usize) {
        let steps = Vec::new();
        self.order(
            index,
            OrderCommand::Finish {
                captured: true,
                steps,
            },
        )
        .await;
    }

    pub(super) async fn abandon(&self, index: usize) {
        let reason = FailureReason::PaymentTimedOut;
        self.order(index, OrderCommand::Abandon { reason }).await;
    }

    pub(super) async fn end_failed(&self, index: usize) {
        let end = OrderCommand::EndFailed {
            voided: true,
            keep_until: at(NOW),
            steps: Vec::new(),
        };
        self.order(index, end).await;
    }

    pub(super) async fn prune(&self, index: usize) {
        self.order(index, OrderCommand::Prune).await;
    }

    pub(super) async fn cancel_at(&self, index: usize, seconds: i64) {
        let reason = String::new();
        self.order_at(index, OrderCommand::Cancel { reason }, seconds)
            .await;
    }

    pub(super) async fn end_cancelled(&self, index: usize, refunded: bool) {
        let steps = Vec::new();
        self.order(index, OrderCommand::EndCancelled { refunded, steps })
            .await;
    }

    /// A checkout up to its confirmation.
    pub(super) async fn check_out_until_confirmed(&self, index: usize, quantities: &[u32]) {
        self.place(index, quantities).await;
        for (line, quantity) in quantities.iter().enumerate() {
            self.reserve(index, line, *quantity).await;
        }
        self.authorise(index, quantities).await;
        self.confirm(index).await;
    }

    /// A checkout from end to end.
    pub(super) async fn check_out(&self, index: usize, quantities: &[u32]) {
        self.check_out_until_confirmed(index, quantities).await;
        for line in 0..quantities.len() {
            self.take(index, line).await;
        }
        self.capture(index, quantities).await;
        self.finish(index).await;
    }

    /// A checkout that fails after everything was held.
    pub(super) async fn fail(&self, index: usize, quantities: &[u32]) {
        self.place(index, quantities).await;
        for (line, quantity) in quantities.iter().enumerate() {
            self.reserve(index, line, *quantity).await;
        }
        self.authorise(index, quantities).await;
        self.abandon(index).await;
        self.void(index).await;
        for line in 0..quantities.len() {
            self.release(index, line).await;
        }
        self.end_failed(index).await;
    }

    /// A checkout from end to end, called off afterwards.
    pub(super) async fn check_out_and_cancel(&self, index: usize, quantities: &[u32]) {
        self.check_out(index, quantities).await;
        self.cancel_at(index, NOW).await;
        self.refund(index, quantities).await;
        for (line, quantity) in quantities.iter().enumerate() {
            self.give_back(index, line, *quantity).await;
        }
        self.end_cancelled(index, true).await;
    }

    pub(super) async fn cart(&self, index: usize) {
        let id = cart_id(index);
        let record = Record::<Cart>::initial(id.as_str());
        self.write(
            &*self.stores.carts,
            id.as_str(),
            serde_json::to_value(record).unwrap(),
            Vec::new(),
        )
        .await;
    }

    /// Changes a row behind everybody's back.
    pub(super) async fn tamper(&self, store: &dyn DocumentStore, id: &str, change: impl FnOnce(&mut Value)) {
        let row = store.load(id).await.unwrap().unwrap();
        let mut body = serde_json::from_str(&row.body).unwrap();
        change(&mut body);
        self.write(store, id, body, Vec::new()).await;
    }

    /// Writes a body over whatever there is, with events of the versions given.
    pub(super) async fn write(
        &self,
        store: &dyn DocumentStore,
        id: &str,
        body: Value,
        events: Vec<(u64, EncodedEvent)>,
    ) {
        let row = store.load(id).await.unwrap();
        let version = row.as_ref().map_or(0, |row| row.version);
        let document = Document {
            id: id.to_owned(),
            shard: shard_of(id),
            version: version + 1,
            fence: 0,
            due_at: row.as_ref().and_then(|row| row.due_at),
            owner: row.and_then(|row| row.owner),
            body: body.to_string(),
        };
        let write = DocumentWrite {
            expected: version,
            document,
            events: NewEvent::number(id, events).unwrap(),
        };
        assert_eq!(
            store.write("tampered", &[write]).await.unwrap(),
            [WriteOutcome::Applied]
        );
    }

    pub(super) async fn body(&self, store: &dyn DocumentStore, id: &str) -> Value {
        let row = store.load(id).await.unwrap().unwrap();
        serde_json::from_str(&row.body).unwrap()
    }
}

async fn put(store: &dyn DocumentStore, document: Document, events: Vec<impl Event>) {
    let version = document.version;
    let write = DocumentWrite {
        expected: version - 1,
        events: NewEvent::number(&document.id, events.into_iter().map(|event| (version, event))).unwrap(),
        document,
    };
    assert_eq!(
        store.write("decided", &[write]).await.unwrap(),
        [WriteOutcome::Applied]
    );
}
