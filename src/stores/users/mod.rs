//! The port of the users store: accounts with their credentials, and what belongs to a person: addresses, notification
//! preferences, purchases.
//!
//! A write whose answer was lost ([`StoreError::OutcomeUnknown`]) may be repeated where its method says so; else what
//! stands there must be read before.
//!
//! Phone numbers and addresses lie in it sealed ([`seals`]); e-mail address and name don't: an account is found by the one.

pub mod at_rest;
#[cfg(test)]
pub mod contract;
pub mod seals;
mod sql;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod testing {
    //! A store for the tests of what stands above it.

    use std::path::Path;
    use std::sync::Arc;

    use super::UserStore;
    use super::sqlite::SqliteUsers;
    use crate::sealing::{Key, Keyring};
    use crate::stores::sqlite;
    use souk_embedded::Writer;

    /// A store in `folder`.
    pub(crate) async fn store(folder: &Path) -> Arc<dyn UserStore> {
        let writer = sqlite::in_process_writer(folder).unwrap();
        open(&writer, folder).await
    }

    /// A store in `folder`, beside others.
    pub(crate) async fn open(writer: &Writer, folder: &Path) -> Arc<dyn UserStore> {
        let key = Key::new("k1", &[7; 32]).unwrap();
        let keyring = Arc::new(Keyring::new(key, Vec::new()));
        Arc::new(SqliteUsers::open(writer, folder, &keyring).await.unwrap())
    }
}

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::{Account, Address, AddressId, EmailKey, OrderId, Preferences, Purchase, Timestamp, UserId};

/// What a password is checked against: a hash with its salt and parameters, as a PHC string. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    /// Wraps a PHC string.
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string: for whoever checks a password, never for a log or a reply.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}

/// An account with its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The account.
    pub account: Account,
    /// What its password is checked against.
    pub credential: Credential,
}

/// What became of a new account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It stands there.
    Created,
    /// Another account has this e-mail address.
    EmailTaken,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is durable.
    Applied,
    /// Another version stands there than was expected.
    Conflict,
    /// There is no such account.
    Missing,
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChange {
    /// It is durable.
    Applied,
    /// The account has as many addresses as it may have.
    Full,
    /// Another version stands there than was expected.
    Conflict,
    /// There is no such account, or this account has no such address.
    Missing,
}

/// One of an account's addresses. Of those that an account has, exactly one is the default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAddress {
    /// Its identifier, which means nothing but together with the account's.
    pub id: AddressId,
    /// The address.
    pub address: Address,
    /// Whether it is the one that is used where none is named.
    pub default: bool,
    /// When it was added; replacing it does not change that.
    pub created_at: Timestamp,
    /// 1 when it is added, and one more with each change of the address itself.
    pub version: u64,
}

/// The port.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Adds an account, unless another has the same [`email_key`](souk_domain::account::email_key). The same
    /// identifier again with the same address is [`Creation::Created`] and changes nothing: a lost answer may be asked
    /// for again. The same identifier with another address, or an address without a key, is [`StoreError::Refused`].
    async fn create(&self, record: &UserRecord) -> Result<Creation, StoreError>;
    /// The account with this identifier.
    async fn by_id(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError>;
    /// The account with this e-mail address.
    async fn by_email(&self, key: &EmailKey) -> Result<Option<UserRecord>, StoreError>;
    /// Replaces the account, and the credential where one is given, if it stands at `expected`. What does not change:
    /// the time of creation, and the key of the e-mail address. Another key is [`StoreError::Refused`], as is a version
    /// that does not follow `expected`.
    async fn update(
        &self,
        account: &Account,
        credential: Option<&Credential>,
        expected: u64,
    ) -> Result<Change, StoreError>;
    /// Removes the account with addresses, preferences and purchases. False where there was none.
    async fn erase(&self, id: &UserId) -> Result<bool, StoreError>;

    /// The addresses of an account, oldest first (of the same age, by identifier).
    async fn addresses(&self, user: &UserId) -> Result<Vec<SavedAddress>, StoreError>;
    /// Adds an address (no `expected`, version 1), or replaces the one that stands at `expected`. One that says
    /// `default`, and the first one, becomes the only default; one that does not say so stays what it is, since the
    /// default only ever passes on. [`AddressChange::Full`] where one more would be more than `limit`. A version that
    /// does not follow `expected` is [`StoreError::Refused`].
    async fn put_address(
        &self,
        user: &UserId,
        address: &SavedAddress,
        expected: Option<u64>,
        limit: usize,
    ) -> Result<AddressChange, StoreError>;
    /// Removes an address; where it was the default one, the oldest that is left becomes it. False where this account
    /// has no such address.
    async fn delete_address(&self, user: &UserId, id: &AddressId) -> Result<bool, StoreError>;

    /// What the account's owner chose, with its version; nothing where they never chose.
    async fn preferences(&self, user: &UserId) -> Result<Option<(Preferences, u64)>, StoreError>;
    /// Writes down the first choice (no `expected`; its version is 1), or replaces the one that stands at `expected`,
    /// whose version becomes one more.
    async fn put_preferences(
        &self,
        user: &UserId,
        preferences: &Preferences,
        expected: Option<u64>,
    ) -> Result<Change, StoreError>;

    /// Shows an order in its buyer's history. A projection (invariant 14): what is not newer than what stands there
    /// changes nothing, so that it may be repeated and overtaken. Nor does it where there is no such account: a late
    /// event must not bring back the history of somebody who was erased.
    async fn put_purchase(&self, purchase: &Purchase) -> Result<(), StoreError>;
    /// Notes that a guest placed an order; `guest` stands for the address that it was placed with, and does not tell it. May
    /// be repeated.
    async fn put_guest_order(
        &self,
        guest: &str,
        order: &OrderId,
        placed_at: Timestamp,
    ) -> Result<(), StoreError>;
    /// The orders that a guest placed, oldest first, at most `limit`.
    async fn guest_orders(&self, guest: &str, limit: usize) -> Result<Vec<OrderId>, StoreError>;
    /// Forgets that a guest placed an order: it is an account's by now.
    async fn forget_guest_order(&self, order: &OrderId) -> Result<(), StoreError>;
    /// Purchases, newest first (of the same age, by identifier, highest first), at most `limit`; those below
    /// (`placed_at`, `order_id`) where that is given.
    async fn purchases(
        &self,
        user: &UserId,
        before: Option<(Timestamp, &OrderId)>,
        limit: usize,
    ) -> Result<Vec<Purchase>, StoreError>;
}
