//! Round trips, and everything that must not open.

use proptest::prelude::*;

use super::*;
use crate::config::{SealingKey, SecretKey};

const PLACE: Place<'_> = Place {
    store: "orders",
    row: "ord_1",
    field: "/email",
};

fn key(id: &str, byte: u8) -> Key {
    Key::new(id, &[byte; KEY_BYTES]).unwrap()
}

fn ring(first: &str, others: &[&str]) -> Keyring {
    let byte = |id: &str| id.bytes().fold(1, |sum: u8, byte| sum.wrapping_mul(31) ^ byte);
    let others = others.iter().map(|id| key(id, byte(id))).collect();
    Keyring::new(key(first, byte(first)), others)
}

fn place([store, row, field]: &[String; 3]) -> Place<'_> {
    Place { store, row, field }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_in_its_place(plain: Vec<u8>, store: String, row: String, field: String) {
        let place = Place { store: &store, row: &row, field: &field };
        let sealed = ring("k1", &[]).seal(&plain, place).unwrap();
        prop_assert!(SealedText::recognise(sealed.as_str()));
        prop_assert_eq!(SealedText::key_of(sealed.as_str()), Some("k1"));
        prop_assert_eq!(&**ring("k2", &["k1"]).open(sealed.as_str(), place).unwrap(), &plain[..]);
    }

    #[test]
    fn no_bit_can_be_changed(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
        let ring = ring("k1", &["k2", "q1"]);
        let mut bytes = ring.seal(&plain, PLACE).unwrap().into_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(ring.open(&changed, PLACE).is_err());
        }
    }

    #[test]
    fn another_place_does_not_open(
        plain: Vec<u8>, parts in prop::array::uniform3("[a-c/]{0,3}"), other in prop::array::uniform3("[a-c/]{0,3}")
    ) {
        prop_assume!(parts != other);
        let ring = ring("k1", &[]);
        let sealed = ring.seal(&plain, place(&parts)).unwrap();
        let refused = matches!(
            ring.open(sealed.as_str(), place(&other)),
            Err(SealingError::DoesNotOpen { .. })
        );
        prop_assert!(refused);
    }

    #[test]
    fn garbage_does_not_open(garbage in "(sealed:v[12]:)?(k1:)?[A-Za-z0-9_=-]{0,80}") {
        prop_assert!(ring("k1", &[]).open(&garbage, PLACE).is_err());
    }
}

#[test]
fn an_unknown_key_is_reported_with_known_ones() {
    let sealed = ring("k9", &[]).seal(b"secret", PLACE).unwrap();
    let error = ring("k1", &["k2"]).open(sealed.as_str(), PLACE).unwrap_err();
    assert!(matches!(&error, SealingError::UnknownKey { id, .. } if id == "k9"));
    let text = error.to_string();
    assert!(text.contains("\"k9\"") && text.contains("k1, k2"), "{text}");
}

#[test]
fn another_key_with_the_same_id_does_not_open() {
    let sealed = Keyring::new(key("k1", 1), Vec::new())
        .seal(b"secret", PLACE)
        .unwrap();
    let error = Keyring::new(key("k1", 2), Vec::new())
        .open(sealed.as_str(), PLACE)
        .unwrap_err();
    assert!(matches!(&error, SealingError::DoesNotOpen { id, .. } if id == "k1"));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn the_key_id_is_authenticated() {
    // Both ids with the same key: only the authenticated id tells them apart.
    let ring = Keyring::new(key("k1", 1), vec![key("k2", 1)]);
    let sealed = ring.seal(b"secret", PLACE).unwrap().into_string();
    assert!(ring.open(&sealed.replace(":k1:", ":k2:"), PLACE).is_err());
}

#[test]
fn sealed_values_are_opened() {
    let ring = ring("k1", &[]);
    let sealed = ring.seal_json(&vec![Some("Ada"), None], PLACE).unwrap();
    let opened: Vec<Option<String>> = ring.open_json(sealed.as_str(), PLACE).unwrap();
    assert_eq!(opened, [Some("Ada".to_owned()), None]);
    let error = ring.open_json::<u8>(sealed.as_str(), PLACE).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Ada"));
    let bytes = ring.seal(&[0xff], PLACE).unwrap();
    assert_eq!(**ring.open(bytes.as_str(), PLACE).unwrap(), [0xff]);
    assert_eq!(format!("{bytes:?}"), "SealedText(under k1)");
}

#[test]
fn sealing_is_randomised() {
    let ring = ring("k1", &["k2"]);
    let seal = || ring.seal(b"secret", PLACE).unwrap();
    assert_ne!(seal(), seal());
    assert!(ring.is_current(seal().as_str()));
    assert_eq!(
        format!("{ring:?}"),
        "Keyring { first: Key(k1), others: [Key(k2)] }"
    );
}

#[test]
fn ids_of_keys_fit_into_the_text() {
    for bad in ["", "k:1", "K1", "-k", "k-", "k 1", &"k".repeat(33)] {
        assert!(
            matches!(Key::new(bad, &[1; KEY_BYTES]), Err(SealingError::KeyId(_))),
            "{bad:?}"
        );
    }
    assert!(Key::new("2026-01", &[1; KEY_BYTES]).is_ok());
}

#[test]
fn the_derived_key_is_last_unless_listed() {
    let cluster = ClusterKey::new([7; 32]).unwrap();
    let entry = |id: &str, key| SealingKey {
        id: id.to_owned(),
        key,
        key_file: None,
    };
    let ids = |keys| {
        let ring = Keyring::of(&Sealing { keys }, &cluster).unwrap();
        ring.ids().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ids(vec![]), [DERIVED_KEY]);
    let own = || entry("k1", Some(SecretKey::random()));
    assert_eq!(ids(vec![own()]), ["k1", DERIVED_KEY]);
    assert_eq!(ids(vec![entry(DERIVED_KEY, None), own()]), [DERIVED_KEY, "k1"]);
}
