//! The port for users: accounts with their credentials, addresses, notification preferences and purchases.
//!
//! A write that returned [`StoreError::OutcomeUnknown`] may be repeated where its method says so; otherwise the caller has to
//! read first.
//!
//! Phone numbers and addresses are sealed at rest ([`seals`]); names and e-mail addresses, by which accounts are found, are
//! not.

pub(super) mod adapter;
pub mod at_rest;
#[cfg(test)]
pub mod contract;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod seals;
pub mod sqlite;
mod statements;

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::{Account, Address, AddressId, EmailKey, OrderId, Preferences, Purchase, Timestamp, UserId};

/// A password hash with its salt and parameters, as a PHC string. Its debug output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    /// Wraps a PHC string.
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string; never for a log or a reply.
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
    /// Its password's hash.
    pub credential: Credential,
}

/// The outcome of a new account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It exists.
    Created,
    /// Another account has this e-mail address.
    EmailTaken,
}

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is durable.
    Applied,
    /// The stored version is not the expected one.
    Conflict,
    /// There is no such account.
    Missing,
}

/// The outcome of a change of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChange {
    /// It is durable.
    Applied,
    /// The account has the maximum number of addresses.
    Full,
    /// The stored version is not the expected one.
    Conflict,
    /// There is no such account, or this account has no such address.
    Missing,
}

/// One of an account's addresses, exactly one of which is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAddress {
    /// Its identifier, unique within the account.
    pub id: AddressId,
    /// The address.
    pub address: Address,
    /// Whether it is the default.
    pub default: bool,
    /// When it was added; unchanged by a replacement.
    pub created_at: Timestamp,
    /// 1 for a new address, incremented by each replacement.
    pub version: u64,
}

/// The port.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// The technology behind it, such as `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether the store is available.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Adds an account, unless another has the same [`email_key`](souk_domain::account::email_key). The same
    /// identifier again with the same address is [`Creation::Created`] and changes nothing, so that the call may be
    /// repeated. The same identifier with another address, or an address without a key, is [`StoreError::Refused`].
    async fn create(&self, record: &UserRecord) -> Result<Creation, StoreError>;
    /// The account with this identifier.
    async fn by_id(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError>;
    /// The account with this e-mail address.
    async fn by_email(&self, key: &EmailKey) -> Result<Option<UserRecord>, StoreError>;
    /// Replaces the account, and the credential where one is given, if its version is `expected`. The time of creation and
    /// the key of the e-mail address never change: another key is [`StoreError::Refused`], as is a version that does not
    /// follow `expected`.
    async fn update(
        &self,
        account: &Account,
        credential: Option<&Credential>,
        expected: u64,
    ) -> Result<Change, StoreError>;
    /// Removes the account with its addresses, preferences and purchases. False where it did not exist.
    async fn erase(&self, id: &UserId) -> Result<bool, StoreError>;

    /// The addresses of an account, oldest first, then by identifier.
    async fn addresses(&self, user: &UserId) -> Result<Vec<SavedAddress>, StoreError>;
    /// Adds an address (no `expected`, version 1), or replaces the one at version `expected`. One with `default` set, and
    /// the first one, becomes the only default; without it an address stays what it is. [`AddressChange::Full`] above
    /// `limit` addresses. A version that does not follow `expected` is [`StoreError::Refused`].
    async fn put_address(
        &self,
        user: &UserId,
        address: &SavedAddress,
        expected: Option<u64>,
        limit: usize,
    ) -> Result<AddressChange, StoreError>;
    /// Removes an address; where it was the default, the oldest remaining one becomes the default. False where this
    /// account has no such address.
    async fn delete_address(&self, user: &UserId, id: &AddressId) -> Result<bool, StoreError>;

    /// The account's preferences with their version; nothing where none were ever set.
    async fn preferences(&self, user: &UserId) -> Result<Option<(Preferences, u64)>, StoreError>;
    /// Sets the first preferences (no `expected`, version 1), or replaces those at version `expected`, which is
    /// incremented.
    async fn put_preferences(
        &self,
        user: &UserId,
        preferences: &Preferences,
        expected: Option<u64>,
    ) -> Result<Change, StoreError>;

    /// Stores an order in its buyer's purchase history. A projection (invariant 14): only a newer version replaces the
    /// stored one, so that the call may be repeated and overtaken. Without the account nothing changes: a late event must not
    /// restore the history of an erased account.
    async fn put_purchase(&self, purchase: &Purchase) -> Result<(), StoreError>;
    /// Stores that a guest placed an order; `guest` is a keyed hash of the guest's e-mail address. May be repeated.
    async fn put_guest_order(
        &self,
        guest: &str,
        order: &OrderId,
        placed_at: Timestamp,
    ) -> Result<(), StoreError>;
    /// The orders that a guest placed, oldest first, at most `limit`.
    async fn guest_orders(&self, guest: &str, limit: usize) -> Result<Vec<OrderId>, StoreError>;
    /// Removes a guest order, which an account has claimed. Removing an absent one succeeds.
    async fn forget_guest_order(&self, order: &OrderId) -> Result<(), StoreError>;
    /// Purchases, newest first, then by identifier in descending order, at most `limit`; those below
    /// (`placed_at`, `order_id`) where that is given.
    async fn purchases(
        &self,
        user: &UserId,
        before: Option<(Timestamp, &OrderId)>,
        limit: usize,
    ) -> Result<Vec<Purchase>, StoreError>;
}
