//! Builders of commands and states for tests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::checkout::{Step, StepRecord};
use crate::*;

/// A timestamp some seconds after an arbitrary start.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
}

pub fn dollars(amount: i64) -> Money {
    Money::new(amount, Currency::USD)
}

pub fn sku(index: usize) -> Sku {
    Sku::from_suffix(format_args!("SKU-{index}"))
}

pub fn product(index: usize) -> ProductId {
    ProductId::from_suffix(index)
}

pub fn order_id(index: usize) -> OrderId {
    OrderId::from_suffix(index)
}

pub fn cart_id(index: usize) -> CartId {
    CartId::from_suffix(index)
}

pub fn payment_id(index: usize) -> PaymentId {
    PaymentId::from_suffix(index)
}

pub fn instruction() -> PaymentInstruction {
    PaymentInstruction {
        gateway: "sandbox".into(),
        token: "tok_secret".into(),
    }
}

pub fn step_record(step: Step) -> StepRecord {
    StepRecord {
        step,
        attempts: 1,
        started_at: at(1),
        finished_at: at(2),
    }
}

/// A consistent placement of these quantities (SKU 0, 1, …) for the order with this index.
pub fn placement(index: usize, quantities: &[u32]) -> Placement {
    let lines: Vec<_> = quantities
        .iter()
        .enumerate()
        .map(|(line, &quantity)| OrderLine {
            sku: sku(line),
            product_id: product(line),
            title: format!("Thing {line}"),
            options: BTreeMap::from([("size".to_owned(), "M".to_owned())]),
            quantity,
            unit_price: dollars(1_000),
            weight_grams: 250,
        })
        .collect();
    let subtotal = quantities
        .iter()
        .map(|&quantity| i64::from(quantity) * 1_000)
        .sum();
    Placement {
        id: order_id(index),
        number: format!("S-{index}"),
        buyer: cart_id(index).to_string(),
        cart: cart_id(index),
        cart_version: 1,
        email: EmailAddress::parse("ada@private.example").unwrap(),
        fingerprint: "fingerprint".into(),
        lines,
        subtotal: dollars(subtotal),
        tax: dollars(70),
        shipping: dollars(500),
        total: dollars(subtotal + 570),
        address: Address {
            name: "Ada Private".into(),
            line1: "1 Hidden Lane".into(),
            line2: None,
            city: "Springfield".into(),
            region: None,
            postcode: Some("62701".into()),
            country: "US".into(),
            phone: None,
        },
        shipping_option: "standard".into(),
        payment: instruction(),
        deadline: at(600),
    }
}

/// Events whose names and particulars a test makes up.
impl Event for EncodedEvent {}

/// An event of any name, with any particulars.
pub fn raw_event(name: &str, detail: serde_json::Value) -> EncodedEvent {
    EncodedEvent {
        name: name.to_owned(),
        detail,
    }
}

/// Runs `command` and applies its change; the reply, and the events of the change if there was one.
pub fn run<A: Aggregate>(
    state: &mut A,
    command: &A::Command,
    at: Timestamp,
) -> (A::Reply, Option<Vec<A::Event>>) {
    let decision = state.decide(command, at);
    let events = decision.change.map(|change| {
        *state = change.state;
        change.events
    });
    (decision.reply, events)
}

/// Checks that a value is unchanged by the wire codec between nodes.
pub fn survives_the_wire<T>(value: &T) -> Result<(), TestCaseError>
where
    T: std::fmt::Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    let bytes = souk_wire::encode(value).unwrap();
    prop_assert_eq!(&souk_wire::decode::<T>(&bytes).unwrap(), value);
    Ok(())
}

/// Checks that a state is unchanged by the JSON of its row.
pub fn survives_rest<T>(value: &T) -> Result<(), TestCaseError>
where
    T: std::fmt::Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    let text = serde_json::to_string(value).unwrap();
    prop_assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
    Ok(())
}
