//! The whole port behind the seal, and a search for everything personal in what lies in the stores.

use serde::Serialize;
use serde_json::Value;

use super::*;
use crate::actors::entity::Record;
use crate::config::KEY_BYTES;
use crate::gateways::payment::{Authorisation, PaymentGateway};
use crate::gateways::sandbox::SandboxGateway;
use crate::operator::redact;
use crate::sealing::{Key, SealedText};
use crate::stores::documents::Outbox;
use crate::stores::documents::contract;
use crate::stores::documents::faulty::FaultyDocuments;
use souk_domain::fixtures::{at, payment_id, placement, run};
use souk_domain::payment::{PaymentChange, PaymentState};
use souk_domain::stock::Stock;
use souk_domain::{
    Address, Cart, CommandId, EmailAddress, Event, NewEvent, NoEvent, Order, OrderCommand, Payment,
    PaymentInstruction,
};
use souk_error_chain::Chain;

/// In everything personal of the samples.
const MARKER: &str = "Marker";

fn keyring(id: &str) -> Arc<Keyring> {
    let key = Key::new(id, &[7; KEY_BYTES]).unwrap();
    Arc::new(Keyring::new(key, Vec::new()))
}

const NONE: Vec<NoEvent> = Vec::new();

/// A store, and the same behind the seal.
async fn pair(name: &'static str) -> (Arc<FaultyDocuments>, Arc<dyn DocumentStore>) {
    let raw = FaultyDocuments::with_consumers(name, contract::CONSUMERS).await;
    let sealed = SealedDocuments::before(Arc::clone(&raw) as Arc<dyn DocumentStore>, &keyring("k1"));
    (raw, sealed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_behind_the_seal() {
    let store = FaultyDocuments::new("orders").await;
    contract::rows(SealedDocuments::before(store, &keyring("k1"))).await;
}

#[tokio::test]
async fn what_has_nothing_to_hide_costs_nothing() {
    for name in ["carts", "inventory"] {
        let store: Arc<dyn DocumentStore> = FaultyDocuments::new(name).await;
        assert!(Arc::ptr_eq(
            &store,
            &SealedDocuments::before(Arc::clone(&store), &keyring("k1"))
        ));
    }
}

async fn put(
    store: &dyn DocumentStore,
    id: &str,
    version: u64,
    body: &impl Serialize,
    events: Vec<impl Event>,
) {
    let write = DocumentWrite {
        document: Document {
            id: id.to_owned(),
            shard: 1,
            version,
            fence: 0,
            due_at: None,
            owner: None,
            body: serde_json::to_string(body).unwrap(),
        },
        expected: version - 1,
        events: NewEvent::number(id, events.into_iter().map(|event| (version, event))).unwrap(),
    };
    assert_eq!(
        store.write("mark", &[write]).await.unwrap(),
        [WriteOutcome::Applied]
    );
}

/// Everything of the sample must have been written with a marker, must come back as it went, and must not lie open in
/// the row, whatever it is called: neither by its marker nor by a name that operators don't get to see either.
async fn nothing_lies_open(
    raw: &FaultyDocuments,
    sealed: &dyn DocumentStore,
    id: &str,
    written: &impl Serialize,
) {
    let written = serde_json::to_value(written).unwrap();
    let opened = sealed.load(id).await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&opened.body).unwrap(), written);
    let row = raw.load(id).await.unwrap().unwrap();
    let found = row
        .body
        .find(MARKER)
        .map(|at| &row.body[at.saturating_sub(60)..at]);
    assert_eq!(
        found, None,
        "a personal field of {id} is outside of the table of layouts"
    );
    let lying_open = redact::hidden(&serde_json::from_str(&row.body).unwrap())
        .into_iter()
        .filter(|value| value.as_str().is_none_or(|text| !SealedText::recognise(text)))
        .count();
    assert_eq!(
        lying_open, 0,
        "a field of {id} that operators don't see is outside of the table of layouts"
    );
    let ledger = raw.ledger(id, 0, 100).await.unwrap();
    let events = serde_json::to_string(&ledger.iter().map(|event| &event.event.detail).collect::<Vec<_>>());
    assert!(
        !events.unwrap().contains(MARKER),
        "an event of {id} tells of a person"
    );
}

fn marked(what: &str) -> String {
    format!("{MARKER}-{what}")
}

/// All fields are listed on purpose: whoever adds one has to say here whether it is personal.
fn instruction() -> PaymentInstruction {
    PaymentInstruction {
        gateway: "sandbox".into(),
        token: marked("token"),
    }
}

fn address() -> Address {
    Address {
        name: marked("name"),
        line1: marked("line1"),
        line2: Some(marked("line2")),
        city: marked("city"),
        region: Some(marked("region")),
        postcode: Some(marked("postcode")),
        country: "US".into(),
        phone: Some(marked("phone")),
    }
}

#[tokio::test]
async fn nothing_personal_of_an_order_lies_open() {
    let (raw, sealed) = pair("orders").await;
    let mut placement = placement(1, &[2]);
    placement.email = EmailAddress::parse(&format!("{MARKER}@private.example")).unwrap();
    placement.address = address();
    placement.payment = instruction();
    placement.fingerprint = marked("fingerprint");
    let id = placement.id.to_string();
    let mut record = Record::<Order>::initial(&id);
    let commands = [
        OrderCommand::Place(Box::new(placement)),
        OrderCommand::Confirm {
            payment: payment_id(1),
        },
        OrderCommand::Finish {
            captured: true,
            steps: Vec::new(),
        },
        OrderCommand::Cancel {
            reason: marked("reason"),
        },
        OrderCommand::EndCancelled {
            refunded: true,
            steps: Vec::new(),
        },
    ];
    for (version, command) in (1..).zip(commands) {
        let (reply, events) = run(&mut record.state, &command, at(1));
        record.remember(CommandId::from_suffix(version), reply);
        let events = events.expect("each of the commands changes the order");
        put(&*sealed, &id, version, &record, events).await;
        nothing_lies_open(&raw, &*sealed, &id, &record).await;
    }
    // Lists and single rows come back alike, and a row that was written before there was a key does too.
    put(&*raw, "ord_plain", 1, &record, NONE).await;
    let all: Vec<Document> = sealed
        .scan(None, 9)
        .await
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let ids = [id, "ord_plain".to_owned()];
    assert_eq!(all.len(), 2);
    assert_eq!(sealed.load_many(&ids).await.unwrap().len(), 2);
    assert!(
        all.iter()
            .all(|document| Record::<Order>::decode(document).is_ok())
    );
    // Its next write seals it.
    put(&*sealed, "ord_plain", 2, &record, NONE).await;
    nothing_lies_open(&raw, &*sealed, "ord_plain", &record).await;
}

#[tokio::test]
async fn nothing_personal_of_a_payment_lies_open() {
    let (raw, sealed) = pair("payments").await;
    let order = placement(1, &[2]);
    let intended = Payment::intend(payment_id(1), order.id, 1, "sandbox", order.total, at(0));
    let id = intended.id.to_string();
    put(&*sealed, &id, 1, &intended, NONE).await;
    nothing_lies_open(&raw, &*sealed, &id, &intended).await;
    let change = PaymentChange::Authorised {
        reference: marked("reference"),
    };
    let authorised = intended.apply(change).unwrap().unwrap();
    assert_eq!(authorised.status, PaymentState::Authorised);
    put(&*sealed, &id, 2, &authorised, NONE).await;
    nothing_lies_open(&raw, &*sealed, &id, &authorised).await;
}

#[tokio::test]
async fn sandbox_rows_reveal_no_token() {
    let (raw, sealed) = pair("sandbox").await;
    let gateway = SandboxGateway::new(Arc::clone(&sealed), || at(0));
    let order = placement(1, &[2]);
    let authorisation = Authorisation {
        key: marked("key"),
        token: marked("token"),
        amount: order.total,
        order: order.id,
    };
    // A token that the sandbox does not know is declined, and kept like any other.
    gateway.authorise(&authorisation).await.unwrap();
    let documents = sealed.scan(None, 9).await.unwrap();
    let document = documents[0].as_ref().unwrap();
    let body: Value = serde_json::from_str(&document.body).unwrap();
    assert_eq!(body["key"], marked("key"));
    nothing_lies_open(&raw, &*sealed, &document.id, &body).await;
}

/// What is not behind the seal has no field of a person at all.
#[test]
fn carts_and_stock_hold_nothing_personal() {
    let cart = serde_json::to_value(Record::<Cart>::initial("crt_1")).unwrap();
    let stock = serde_json::to_value(Record::<Stock>::initial("SKU-1")).unwrap();
    assert!(redact::hidden(&cart).is_empty() && redact::hidden(&stock).is_empty());
}

#[tokio::test]
async fn a_missing_key_is_named_with_the_row() {
    let (raw, sealed) = pair("payments").await;
    let order = placement(1, &[2]);
    let mut payment = Payment::intend(payment_id(1), order.id, 1, "sandbox", order.total, at(0));
    payment.reference = Some(marked("reference"));
    put(&*sealed, "pay_1", 1, &payment, NONE).await;
    let other = SealedDocuments::before(raw as Arc<dyn DocumentStore>, &keyring("k2"));
    let error = other.load("pay_1").await.unwrap_err();
    assert!(matches!(&error, StoreError::Sealing { store: "payments", row, .. } if row == "pay_1"));
    let said = Chain(&error).to_string();
    assert!(said.contains("\"k1\""), "{said}");
    assert!(!error.is_transient());
}

/// A body that can't be sealed is refused alone.
#[tokio::test]
async fn an_unsealable_row_is_refused_alone() {
    let (_, sealed) = pair("payments").await;
    let batch: Vec<_> = ["{\"instruction\": {\"token\": 7}", "{}"]
        .iter()
        .enumerate()
        .map(|(number, body)| {
            let mut write = contract::write(&format!("pay_{number}"), 0);
            write.document.body = (*body).to_owned();
            write
        })
        .collect();
    let outcomes = sealed.write("m", &batch).await.unwrap();
    assert!(matches!(
        outcomes[..],
        [WriteOutcome::Refused(_), WriteOutcome::Applied]
    ));
}
