//! What an adapter of the users store seals and opens: phone numbers, and addresses as a whole. The port is typed, so that
//! nothing can stand between it and its users that would hand it sealed values in their place.

use std::sync::Arc;

use crate::sealing::Keyring;
use crate::sealing::layout::{self, Layout, RowError};
use crate::stores::StoreError;
use souk_domain::{Address, AddressId, UserId};

/// The store's name in errors.
const STORE: &str = "users";

/// The primary key of an address, as one text. The parts are put together by a character below all that identifiers have,
/// so that rows sort as the pairs of their parts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRow<'a> {
    /// Whose it is.
    pub user: &'a str,
    /// Its own identifier.
    pub address: &'a str,
}

impl<'a> AddressRow<'a> {
    const BETWEEN: char = ' ';

    /// The parts of a text; what has no second part stands before all addresses of the first.
    pub fn parse(row: &'a str) -> Self {
        let (user, address) = row.split_once(Self::BETWEEN).unwrap_or((row, ""));
        Self { user, address }
    }
}

impl std::fmt::Display for AddressRow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.user, Self::BETWEEN, self.address)
    }
}

/// Seals and opens. What was written before there was a key is read as it is.
pub struct UserSeals {
    keyring: Arc<Keyring>,
}

impl UserSeals {
    /// Under this keyring.
    pub fn new(keyring: &Arc<Keyring>) -> Self {
        Self {
            keyring: Arc::clone(keyring),
        }
    }

    /// An account's phone number as it may lie in a store.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]
    pub fn seal_phone(&self, user: &UserId, phone: Option<&str>) -> Result<Option<String>, StoreError> {
        phone
            .map(|phone| self.seal(&layout::PHONES, user.as_str(), phone.as_bytes()))
            .transpose()
    }

    /// The phone number of which this lies in a store.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]; [`StoreError::Corrupt`] where it is no text.
    pub fn open_phone(&self, user: &UserId, kept: Option<String>) -> Result<Option<String>, StoreError> {
        kept.map(|kept| {
            let phone = self.open(&layout::PHONES, user.as_str(), kept)?;
            String::from_utf8(phone).map_err(|_| corrupt("phone"))
        })
        .transpose()
    }

    /// An address as it may lie in a store.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]; [`StoreError::Refused`] where it can't be written as JSON.
    pub fn seal_address(
        &self,
        user: &UserId,
        id: &AddressId,
        address: &Address,
    ) -> Result<String, StoreError> {
        let plain = serde_json::to_vec(address).map_err(|error| StoreError::Refused {
            store: STORE,
            cause: error.into(),
        })?;
        self.seal(&layout::ADDRESSES, &row(user, id), &plain)
    }

    /// The address of which this lies in a store.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]; [`StoreError::Corrupt`] where it is no address.
    pub fn open_address(&self, user: &UserId, id: &AddressId, kept: String) -> Result<Address, StoreError> {
        let plain = self.open(&layout::ADDRESSES, &row(user, id), kept)?;
        serde_json::from_slice(&plain).map_err(|_| corrupt("body"))
    }

    fn seal(&self, layout: &Layout, row: &str, plain: &[u8]) -> Result<String, StoreError> {
        let sealed = layout.seal(&self.keyring, row, plain);
        let sealed = sealed.map_err(|cause| failed(row, cause))?;
        // What is sealed as a whole always is, and a sealed value is a text; were it otherwise, nothing may be written.
        sealed
            .and_then(|sealed| String::from_utf8(sealed).ok())
            .ok_or_else(|| StoreError::Corrupt {
                store: STORE,
                what: format!("{row} is not sealed as a text"),
            })
    }

    fn open(&self, layout: &Layout, row: &str, kept: String) -> Result<Vec<u8>, StoreError> {
        let opened = layout.open(&self.keyring, row, kept.as_bytes());
        let opened = opened.map_err(|cause| failed(row, cause))?;
        Ok(opened.unwrap_or_else(|| kept.into_bytes()))
    }
}

fn row(user: &UserId, id: &AddressId) -> String {
    let row = AddressRow {
        user: user.as_str(),
        address: id.as_str(),
    };
    row.to_string()
}

fn failed(row: &str, cause: RowError) -> StoreError {
    StoreError::Sealing {
        store: STORE,
        row: row.to_owned(),
        cause,
    }
}

/// What does not decode is named by its column alone: it is personal.
fn corrupt(column: &str) -> StoreError {
    StoreError::Corrupt {
        store: STORE,
        what: format!("column {column} does not decode"),
    }
}
