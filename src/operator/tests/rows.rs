//! Rows for what is shown from the stores, and what must not be shown of them.

use crate::actors::entity::Record;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite};
use souk_cluster::placement::shard_of;
use souk_domain::fixtures::{at, placement, run};
use souk_domain::order::OrderCommand;
use souk_domain::{Aggregate, Event, Order, OrderId, Placement};

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
        due_at: record.state.due_at(),
        owner: None,
        body: serde_json::to_string(&record).unwrap(),
    }
}

pub(super) async fn put(store: &dyn DocumentStore, document: Document, events: Vec<(u64, Event)>) {
    let write = DocumentWrite {
        document,
        expected: 0,
        events,
    };
    store.write("test", &[write]).await.unwrap();
}

pub(super) fn assert_tells_nothing_personal(text: &str) {
    for hidden in ["ada@", "Ada", "Hidden Lane", "tok_secret"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}
