use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use proptest::collection::vec;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::*;
use crate::fixtures::{at, survives_rest};

/// As shops name orders: 32 hexadecimal digits of a hash.
fn hashed(number: usize) -> OrderId {
    OrderId::from_suffix(format_args!("{:032x}", xxh3_128(&number.to_le_bytes())))
}

fn named(number: usize) -> OrderId {
    OrderId::from_suffix(number)
}

/// Enough orders for several runs.
const ORDERS: usize = 4 * RUN_LIMIT;

#[derive(Clone, Debug)]
enum Change {
    Insert(OrderId, Reservation),
    Remove(OrderId),
}

fn change(order: fn(usize) -> OrderId) -> impl Strategy<Value = Change> {
    let quantity = prop_oneof![6 => 1u32..6, 1 => any::<u32>()];
    let expires_at = prop_oneof![
        6 => (0i64..1_000_000_000_000).prop_map(Timestamp::from_millis),
        1 => any::<i64>().prop_map(Timestamp::from_millis),
    ];
    let reservation =
        (quantity, expires_at).prop_map(|(quantity, expires_at)| Reservation { quantity, expires_at });
    prop_oneof![
        3 => (0..ORDERS, reservation).prop_map(move |(number, held)| Change::Insert(order(number), held)),
        1 => (0..ORDERS).prop_map(move |number| Change::Remove(order(number))),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop_oneof![
        3 => vec(change(hashed), 0..3 * ORDERS),
        1 => vec(prop_oneof![change(hashed), change(named)], 0..ORDERS),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn they_are_a_map(changes in changes()) {
        let mut model = BTreeMap::new();
        let mut reservations = Reservations::default();
        let mut former = Vec::new();
        for (number, change) in changes.into_iter().enumerate() {
            if number % 64 == 0 {
                former.push((reservations.clone(), model.clone()));
            }
            match change {
                Change::Insert(order, held) => {
                    reservations.insert(&order, held);
                    model.insert(order.clone(), held);
                    prop_assert_eq!(reservations.get(&order), Some(held));
                }
                Change::Remove(order) => {
                    prop_assert_eq!(reservations.get(&order), model.get(&order).copied());
                    prop_assert_eq!(reservations.remove(&order), model.remove(&order));
                    prop_assert_eq!(reservations.get(&order), None);
                }
            }
            prop_assert_eq!(reservations.len(), model.len());
        }
        for (shared, copied) in former {
            prop_assert_eq!(shared == reservations, copied == model);
            prop_assert_eq!(shared, copied.into_iter().collect(), "a change of a copy changed the original");
        }
        prop_assert!(reservations.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_LIMIT));
        prop_assert_eq!(reservations.iter().collect::<BTreeMap<_, _>>(), model.clone());
        prop_assert_eq!(reservations.quantity(), model.values().map(|held| u64::from(held.quantity)).sum::<u64>());
        prop_assert_eq!(reservations.first_expiry(), model.values().map(|held| held.expires_at).min());
        let now = Timestamp::from_millis(500_000_000_000);
        let expiry = |order: &OrderId| model[order].expires_at;
        let expired = reservations.expired(now, ORDERS * 2);
        prop_assert!(expired.is_sorted_by_key(expiry));
        prop_assert_eq!(expired.len(), model.values().filter(|held| held.expires_at <= now).count());
        prop_assert!(expired.iter().all(|order| expiry(order) <= now));
        prop_assert_eq!(&reservations.expired(now, 3)[..], &expired[..expired.len().min(3)]);
        survives_rest(&reservations)?;
    }

    #[test]
    fn no_text_makes_a_panic(bytes in vec(any::<u8>(), 0..80), text in "[A-Za-z0-9+/=]{0,80}") {
        for text in [BASE64.encode(bytes), text] {
            let _ = serde_json::from_value::<Reservations>(text.into());
        }
    }
}

fn of(orders: impl IntoIterator<Item = OrderId>) -> Reservations {
    let reservation = |number: u32| Reservation {
        quantity: 1 + number % 300,
        expires_at: at(i64::from(number)),
    };
    orders.into_iter().zip((0..).map(reservation)).collect()
}

/// Rows are read by later versions: the form must not change by accident.
#[test]
fn the_packed_form() {
    let row = serde_json::json!("AAABi8/laAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAABAugH");
    let orders = [0, 1].map(|number: u32| OrderId::from_suffix(format_args!("{number:032x}")));
    let reservations = of(orders);
    assert_eq!(serde_json::to_value(&reservations).unwrap(), row);
    assert_eq!(serde_json::from_value::<Reservations>(row).unwrap(), reservations);
}

#[test]
fn a_damaged_text_is_refused() {
    let read = |bytes: &[u8]| serde_json::from_value::<Reservations>(BASE64.encode(bytes).into());
    let mut bytes = [0; 8 + 16].to_vec();
    assert!(read(&bytes[..7]).is_err(), "without a time");
    assert!(read(&bytes[..20]).is_err(), "half an order");
    assert!(read(&bytes).is_err(), "without a quantity");
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(read(&bytes).is_err(), "without an expiry");
    assert!(read(&[&bytes[..], &[0]].concat()).is_ok());
    let endless = [&bytes[..], &[0xff; 9], &[0x02]].concat();
    assert!(read(&endless).is_err(), "an expiry of 65 bits");
    *bytes.last_mut().unwrap() = 0x10;
    assert!(
        read(&[&bytes[..], &[0]].concat()).is_err(),
        "a quantity of 33 bits"
    );
    assert!(serde_json::from_value::<Reservations>("no base64".into()).is_err());
}

#[test]
fn a_row_of_the_version_before_is_read() {
    let reservations = of((0..1_000).map(hashed));
    let rows: Vec<_> = reservations
        .iter()
        .map(|(order, held)| (order, held.quantity, held.expires_at))
        .collect();
    let row = serde_json::to_string(&rows).unwrap();
    assert_eq!(serde_json::from_str::<Reservations>(&row).unwrap(), reservations);
}

#[test]
fn two_thousand_take_less_than_sixty_kilobytes() {
    let bytes = serde_json::to_string(&of((0..2_000).map(hashed))).unwrap().len();
    assert!(bytes < 60_000, "{bytes}");
}

/// An identifier that only looks like a hash must come back as it was.
#[test]
fn unusual_identifiers_are_kept() {
    let suffixes = ["A".repeat(32), "a".repeat(30), "a".repeat(34), "g".repeat(32)];
    let reservations = of(suffixes.iter().map(OrderId::from_suffix));
    assert_eq!(reservations.len(), suffixes.len());
    for (order, _) in reservations.iter() {
        assert!(
            suffixes
                .iter()
                .any(|suffix| order.as_str() == format!("ord_{suffix}")),
            "{order}"
        );
    }
    survives_rest(&reservations).unwrap();
}
