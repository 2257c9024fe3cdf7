//! Rows for what is shown from the stores, and what must not be shown of them.

use super::node::Node;
use crate::actors::entity::Record;
use crate::stores::documents::outbox::{FailedDelivery, PURCHASES};
use crate::stores::documents::{Document, DocumentStore, DocumentWrite};
use souk_cluster::placement::shard_of;
use souk_domain::fixtures::{at, placement, run};
use souk_domain::order::OrderCommand;
use souk_domain::{Aggregate, EncodedEvent, NewEvent, Order, OrderId, Placement};

pub(super) fn placed(id: &str) -> Placement {
    Placement {
        id: OrderId::parse(id).unwrap(),
        ..placement(1, &[2])
    }
}

/// An order as its row holds it, after these commands.
pub(super) fn order(id: &str, commands: Vec<OrderCommand>) -> Document {
    let mut record = Record::<Order>::initial(id);
    let place = OrderCommand::Place(Box::new(placed(id)));
    for command in std::iter::once(place).chain(commands) {
        run(&mut record.state, &command, at(1));
    }
    Document {
        id: id.to_owned(),
        shard: shard_of(id),
        version: 4,
        fence: 0,
        due_at: record.state.due_at(),
        owner: None,
        body: serde_json::to_string(&record).unwrap(),
    }
}

pub(super) async fn put(store: &dyn DocumentStore, document: Document, events: Vec<(u64, EncodedEvent)>) {
    let write = DocumentWrite {
        events: NewEvent::number(&document.id, events).unwrap(),
        document,
        expected: 0,
    };
    store.write("test", &[write]).await.unwrap();
}

/// Makes the oldest pending event of an order a dead letter; its identifier.
pub(super) async fn bury(node: &Node, reason: &str) -> String {
    let outbox = &node.stores.order_events;
    let pending = outbox.pending(PURCHASES, 1).await.unwrap().remove(0);
    let failure = FailedDelivery {
        sequence: pending.event.sequence,
        reason: reason.to_owned(),
        retry_at: None,
    };
    outbox.failed(PURCHASES, &[failure]).await.unwrap();
    pending.event.id.to_string()
}

pub(super) fn assert_tells_nothing_personal(text: &str) {
    for hidden in ["ada@", "Ada", "Hidden Lane", "tok_secret"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}
