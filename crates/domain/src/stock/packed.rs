//! How the open reservations of a SKU are stored: in base64, 27 characters each instead of 57 as JSON. All of them are encoded
//! and written with every write of the row, and a SKU in demand is written some hundred times a second.
//!
//! The bytes begin with the earliest expiry (milliseconds, big-endian, 8 bytes). Each reservation follows: the order's hash (16
//! bytes), the quantity, and by how many milliseconds it expires later than the earliest; both as LEB128.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::Deserialize;

use super::reservations::{Held, OrderKey, Reservation, Reservations};
use crate::{OrderId, Timestamp};

/// Bytes of a reservation whose quantity and expiry are ordinary.
const USUAL_BYTES: usize = 20;

/// The forms in rows.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Form {
    /// Packed.
    Packed(String),
    /// Order, quantity, expiry: where an identifier has an unusual form. Versions before wrote all of them like this.
    Rows(Vec<(OrderId, u32, Timestamp)>),
    /// The form before that one.
    ByOrder(BTreeMap<OrderId, Reservation>),
}

/// Why packed reservations can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PackedError {
    #[error("the packed reservations are no base64")]
    Base64(#[from] base64::DecodeError),
    #[error("the packed reservations are truncated")]
    Truncated,
    #[error("a number in the packed reservations is too large")]
    OutOfRange,
}

impl TryFrom<Form> for Reservations {
    type Error = PackedError;

    fn try_from(form: Form) -> Result<Self, PackedError> {
        Ok(match form {
            Form::Packed(text) => return unpack(&text),
            Form::Rows(rows) => rows
                .into_iter()
                .map(|(order, quantity, expires_at)| (order, Reservation { quantity, expires_at }))
                .collect(),
            Form::ByOrder(by_order) => by_order.into_iter().collect(),
        })
    }
}

/// `None` where there is nothing to pack, or an identifier has another form than a hash.
pub(super) fn pack(reservations: &Reservations) -> Option<String> {
    let earliest = reservations.first_expiry()?.as_millis();
    let mut bytes = Vec::with_capacity(size_of_val(&earliest) + USUAL_BYTES * reservations.len());
    bytes.extend_from_slice(&earliest.to_be_bytes());
    for Held { order, reservation } in reservations.held() {
        let OrderKey::Hash(hash) = order else {
            return None;
        };
        bytes.extend_from_slice(hash);
        put_number(&mut bytes, reservation.quantity.into());
        put_number(&mut bytes, reservation.expires_at.as_millis().abs_diff(earliest));
    }
    Some(BASE64.encode(bytes))
}

fn unpack(text: &str) -> Result<Reservations, PackedError> {
    let bytes = BASE64.decode(text)?;
    let (earliest, mut rest) = bytes.split_first_chunk().ok_or(PackedError::Truncated)?;
    let earliest = i64::from_be_bytes(*earliest);
    std::iter::from_fn(|| (!rest.is_empty()).then(|| take_held(&mut rest, earliest))).collect()
}

fn take_held(bytes: &mut &[u8], earliest: i64) -> Result<Held, PackedError> {
    let (hash, rest) = bytes.split_first_chunk().ok_or(PackedError::Truncated)?;
    *bytes = rest;
    let quantity = u32::try_from(take_number(bytes)?).map_err(|_| PackedError::OutOfRange)?;
    let expires_at = earliest
        .checked_add_unsigned(take_number(bytes)?)
        .ok_or(PackedError::OutOfRange)?;
    Ok(Held {
        order: OrderKey::Hash(*hash),
        reservation: Reservation {
            quantity,
            expires_at: Timestamp::from_millis(expires_at),
        },
    })
}

/// LEB128: seven bits a byte, the lowest first, with a bit that says whether more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_number(bytes: &mut &[u8]) -> Result<u64, PackedError> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(PackedError::Truncated)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(PackedError::OutOfRange);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(PackedError::OutOfRange)
}
