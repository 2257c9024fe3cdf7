//! Seals phone numbers and addresses for the adapters of the users port. The port is typed, so that a wrapper in front of it
//! could not pass sealed values through.

use std::sync::Arc;

use crate::sealing::Keyring;
use crate::sealing::layout::{self, Layout, RowError};
use crate::stores::StoreError;
use souk_domain::{Address, AddressId, UserId};

/// The store's name in errors.
const STORE: &str = "users";

/// The primary key of an address as one text. Its parts are separated by a character below all that identifiers have, so
/// that the texts sort as the pairs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRow<'a> {
    /// The account's identifier.
    pub user: &'a str,
    /// The address's identifier.
    pub address: &'a str,
}

impl<'a> AddressRow<'a> {
    const SEPARATOR: char = ' ';

    /// The parts of a text; a text without a second part sorts before all addresses of the first.
    pub fn parse(row: &'a str) -> Self {
        let (user, address) = row.split_once(Self::SEPARATOR).unwrap_or((row, ""));
        Self { user, address }
    }
}

impl std::fmt::Display for AddressRow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.user, Self::SEPARATOR, self.address)
    }
}

/// Seals and opens values. Values that were written before there was a key are read as they are.
pub struct UserSeals {
    keyring: Arc<Keyring>,
}

impl UserSeals {
    /// Seals under this keyring.
    pub fn new(keyring: &Arc<Keyring>) -> Self {
        Self {
            keyring: Arc::clone(keyring),
        }
    }

    /// Seals an account's phone number.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]
    pub fn seal_phone(&self, user: &UserId, phone: Option<&str>) -> Result<Option<String>, StoreError> {
        phone
            .map(|phone| self.seal(&layout::PHONES, user.as_str(), phone.as_bytes()))
            .transpose()
    }

    /// Opens an account's stored phone number.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]; [`StoreError::Corrupt`] where it is not text.
    pub fn open_phone(&self, user: &UserId, stored: Option<String>) -> Result<Option<String>, StoreError> {
        stored
            .map(|stored| {
                let phone = self.open(&layout::PHONES, user.as_str(), stored)?;
                String::from_utf8(phone).map_err(|_| corrupt("phone"))
            })
            .transpose()
    }

    /// Seals an address.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]; [`StoreError::Refused`] where it can't be encoded as JSON.
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

    /// Opens a stored address.
    ///
    /// # Errors
    /// [`StoreError::Sealing`]; [`StoreError::Corrupt`] where it is not an address.
    pub fn open_address(&self, user: &UserId, id: &AddressId, stored: String) -> Result<Address, StoreError> {
        let plain = self.open(&layout::ADDRESSES, &row(user, id), stored)?;
        serde_json::from_slice(&plain).map_err(|_| corrupt("body"))
    }

    fn seal(&self, layout: &Layout, row: &str, plain: &[u8]) -> Result<String, StoreError> {
        let sealed = layout.seal(&self.keyring, row, plain);
        let sealed = sealed.map_err(|cause| failed(row, cause))?;
        // Whole values are always sealed, as text; anything else must not be written.
        sealed
            .and_then(|sealed| String::from_utf8(sealed).ok())
            .ok_or_else(|| StoreError::Corrupt {
                store: STORE,
                what: format!("{row} is not sealed as text"),
            })
    }

    fn open(&self, layout: &Layout, row: &str, stored: String) -> Result<Vec<u8>, StoreError> {
        let opened = layout.open(&self.keyring, row, stored.as_bytes());
        let opened = opened.map_err(|cause| failed(row, cause))?;
        Ok(opened.unwrap_or_else(|| stored.into_bytes()))
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

/// The error names the column alone: the value is personal.
fn corrupt(column: &str) -> StoreError {
    StoreError::Corrupt {
        store: STORE,
        what: format!("column {column} does not decode"),
    }
}
