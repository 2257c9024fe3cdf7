//! Rows sealed, opened, sealed again; and everything that must not open.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::KEY_BYTES;
use crate::sealing::Key;

fn ring(ids: &[&str]) -> Keyring {
    let mut keys = ids
        .iter()
        .map(|id| Key::new(*id, &[id.as_bytes()[1]; KEY_BYTES]).unwrap());
    let first = keys.next().unwrap();
    Keyring::new(first, keys.collect())
}

fn payments() -> &'static Layout {
    layout("payments").unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn value(content: &[u8]) -> Value {
    serde_json::from_slice(content).unwrap()
}

fn payment(token: &str, reference: Value) -> Value {
    json!({ "id": "pay_1", "instruction": { "gateway": "sandbox", "token": token }, "reference": reference, "amount": 7 })
}

proptest! {
    #[test]
    fn a_row_opens_to_what_it_was(token in ".{0,20}", reference in prop::option::of(".{0,20}")) {
        let plain = payment(&token, reference.map_or(Value::Null, Value::String));
        let sealed = payments().seal(&ring(&["k1"]), "pay_1", &bytes(&plain)).unwrap();
        match sealed {
            None => {
                let empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
                prop_assert!(empty(&plain["instruction"]["token"]) && empty(&plain["reference"]));
            }
            Some(sealed) => {
                let opened = payments().open(&ring(&["k2", "k1"]), "pay_1", &sealed).unwrap().unwrap();
                prop_assert_eq!(value(&opened), plain);
                prop_assert!(payments().open(&ring(&["k1"]), "pay_2", &sealed).is_err());
                prop_assert!(payments().survey(&sealed).unwrap().is_all_under("k1"));
            }
        }
    }

    #[test]
    fn any_content_is_sealed_as_a_whole(plain: Vec<u8>, store in prop::sample::select(&["idempotency", "users", "addresses"])) {
        let layout = layout(store).unwrap();
        let sealed = layout.seal(&ring(&["k1"]), "key", &plain).unwrap().unwrap();
        prop_assert_eq!(layout.open(&ring(&["k1"]), "key", &sealed).unwrap(), Some(plain));
        prop_assert!(layout.open(&ring(&["k1"]), "yek", &sealed).is_err());
        prop_assert!(layout.survey(&sealed).unwrap().is_all_under("k1"));
    }
}

#[test]
fn what_is_not_in_the_table_stays_as_it_is() {
    let plain = payment("tok_1", json!("ref_1"));
    let sealed = value(
        &payments()
            .seal(&ring(&["k1"]), "pay_1", &bytes(&plain))
            .unwrap()
            .unwrap(),
    );
    for pointer in ["/id", "/instruction/gateway", "/amount"] {
        assert_eq!(sealed.pointer(pointer), plain.pointer(pointer));
    }
    assert!(
        ["carts", "inventory", "catalogue"]
            .iter()
            .all(|store| layout(store).is_none())
    );
    assert_eq!(
        payments().seal(&ring(&["k1"]), "x", b"{\"spaced\" : 1}").unwrap(),
        None
    );
}

#[test]
fn whole_content_is_bound_to_its_column() {
    let ring = ring(&["k1"]);
    let sealed = PHONES.seal(&ring, "usr_1", b"+1 217 555 0177").unwrap().unwrap();
    let error = ADDRESSES.open(&ring, "usr_1", &sealed).unwrap_err();
    assert!(
        matches!(&error, RowError::Field { field, cause: SealingError::DoesNotOpen { .. } } if field == "body"),
        "{error:?}"
    );
    assert!(PHONES.open(&ring, "usr_2", &sealed).is_err());
}

#[test]
fn fields_can_not_change_places_within_a_row() {
    let ring = ring(&["k1"]);
    let plain = payment("tok_1", json!("ref_1"));
    let mut sealed = value(&payments().seal(&ring, "pay_1", &bytes(&plain)).unwrap().unwrap());
    sealed["instruction"]["token"] = sealed["reference"].clone();
    let error = payments().open(&ring, "pay_1", &bytes(&sealed)).unwrap_err();
    assert!(
        matches!(&error, RowError::Field { field, cause: SealingError::DoesNotOpen { .. } } if field == "/instruction/token"),
        "{error:?}"
    );
}

#[test]
fn list_elements_are_sealed_separately() {
    let layout = layout("orders").unwrap();
    let ring = ring(&["k1"]);
    let plain = json!({ "state": { "placed": { "progress": { "timeline": [
        { "event": "placed", "detail": "" }, { "event": "cancelling", "detail": "for Ada" }, { "detail": "paid" }
    ] } } } });
    let sealed = layout.seal(&ring, "ord_1", &bytes(&plain)).unwrap().unwrap();
    let mut raw = value(&sealed);
    assert_eq!(
        value(&layout.open(&ring, "ord_1", &sealed).unwrap().unwrap()),
        plain
    );
    let timeline = &mut raw["state"]["placed"]["progress"]["timeline"];
    assert_eq!(timeline[0]["detail"], "");
    timeline[2]["detail"] = timeline[1]["detail"].clone();
    let error = layout.open(&ring, "ord_1", &bytes(&raw)).unwrap_err();
    assert!(error.to_string().ends_with("/timeline/2/detail"), "{error}");
}

#[test]
fn plain_text_is_read_and_sealed_later() {
    let (old, new) = (ring(&["k1"]), ring(&["k2", "k1"]));
    let plain = bytes(&payment("tok_1", json!("ref_1")));
    assert_eq!(payments().open(&old, "pay_1", &plain).unwrap(), None);
    // Half of it sealed, as no row of ours is: each value counts by itself.
    let mut mixed = value(&payments().seal(&old, "pay_1", &plain).unwrap().unwrap());
    mixed["reference"] = "ref_1".into();
    let survey = payments().survey(&bytes(&mixed)).unwrap();
    assert!(survey.plain && survey.keys.contains("k1"));
    let resealed = payments().reseal(&new, "pay_1", &bytes(&mixed)).unwrap().unwrap();
    assert!(payments().survey(&resealed).unwrap().is_all_under("k2"));
    assert_eq!(
        value(&payments().open(&new, "pay_1", &resealed).unwrap().unwrap()),
        value(&plain)
    );
    assert_eq!(payments().reseal(&new, "pay_1", &resealed).unwrap(), None);
    // A node that does not have the key says which it lacks.
    let error = payments().open(&old, "pay_1", &resealed).unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("\"k2\"")
    );
}

#[test]
fn text_that_looks_sealed_is_sealed() {
    let ring = ring(&["k1"]);
    let plain = payment("sealed:v1:k1:AAAA", Value::Null);
    let sealed = payments().seal(&ring, "pay_1", &bytes(&plain)).unwrap().unwrap();
    assert_eq!(
        value(&payments().open(&ring, "pay_1", &sealed).unwrap().unwrap()),
        plain
    );
}
