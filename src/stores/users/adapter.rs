//! Users in a SQL database: one adapter for SQLite and PostgreSQL, whose statements both understand.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::seals::UserSeals;
use super::statements::{
    ADD_ADDRESS, ADDRESSES, BY_EMAIL, BY_ID, CREATE, DELETE_ADDRESS, ERASE, EXISTS, FIRST_PREFERENCES,
    FORGET_GUEST_ORDER, GUEST_ORDERS, KEY, LOOK_ADDRESS, MAKE_DEFAULT, MAKE_FIRST_DEFAULT, NEXT_PREFERENCES,
    PASS_DEFAULT_ON, PREFERENCES, PURCHASES, PURCHASES_BEFORE, PUT_GUEST_ORDER, PUT_PURCHASE,
    REPLACE_ADDRESS, UPDATE, WHOSE,
};
use super::{AddressChange, Change, Creation, Credential, SavedAddress, UserRecord, UserStore};
use crate::sealing::Keyring;
use crate::stores::StoreError;
use crate::stores::sql::{Columns, SqlDatabase, has_row};
use souk_domain::account::email_key;
use souk_domain::{
    Account, AddressId, EmailAddress, EmailKey, OrderId, Preferences, Purchase, Role, Timestamp, UserId,
};
use souk_embedded::Statement;

/// The adapter.
pub struct SqlUsers<D> {
    pub(super) database: D,
    seals: UserSeals,
}

impl<D: SqlDatabase> SqlUsers<D> {
    /// The adapter on the database `users`, with phone numbers and addresses sealed under `keyring`.
    pub fn new(database: D, keyring: &Arc<Keyring>) -> Self {
        let seals = UserSeals::new(keyring);
        Self { database, seals }
    }

    /// The error names the column alone: the value is personal.
    fn parsed<T: DeserializeOwned>(&self, column: &str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text)
            .map_err(|_| self.database.corrupt(format!("column {column} does not decode")))
    }

    /// The new version must follow the replaced one.
    fn check_version(&self, version: u64, expected: u64) -> Result<(), StoreError> {
        if version == expected.saturating_add(1) {
            Ok(())
        } else {
            Err(self
                .database
                .refused(format!("version {version} can't follow {expected}")))
        }
    }

    fn identifier<T>(&self, column: &str, parsed: Result<T, impl Sized>) -> Result<T, StoreError> {
        parsed.map_err(|_| self.database.corrupt(format!("column {column} does not decode")))
    }

    fn record(&self, row: &mut Columns) -> Result<UserRecord, StoreError> {
        let id = self.identifier("id", UserId::parse(&row.text("id")?))?;
        let account = Account {
            email: self.identifier("email", EmailAddress::parse(&row.text("email")?))?,
            name: row.text("name")?,
            phone: self.seals.open_phone(&id, row.optional_text("phone")?)?,
            roles: self.parsed::<BTreeSet<Role>>("roles", &row.text("roles")?)?,
            email_verified: row.integer::<i64>("email_verified")? != 0,
            created_at: Timestamp::from_millis(row.integer("created_at")?),
            version: row.integer("version")?,
            id,
        };
        Ok(UserRecord {
            account,
            credential: Credential::new(row.text("credential")?),
        })
    }

    async fn one(&self, statement: Statement) -> Result<Option<UserRecord>, StoreError> {
        let rows = self.database.read(statement).await?;
        Ok(self.database.decode(rows, |row| self.record(row))?.pop())
    }

    fn purchase(&self, row: &mut Columns) -> Result<Purchase, StoreError> {
        self.parsed("body", &row.text("body")?)
    }
}

#[async_trait]
impl<D: SqlDatabase> UserStore for SqlUsers<D> {
    fn technology(&self) -> &'static str {
        D::TECHNOLOGY
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database.ping().await
    }

    async fn create(&self, record: &UserRecord) -> Result<Creation, StoreError> {
        let UserRecord { account, credential } = record;
        let key = email_key(&account.email);
        let create = Statement::new(CREATE)
            .bind(account.id.as_str())
            .bind(key.as_str())
            .bind(account.email.as_str())
            .bind(account.name.as_str())
            .bind(self.seals.seal_phone(&account.id, account.phone.as_deref())?)
            .bind(self.database.json(&account.roles)?)
            .bind(account.email_verified)
            .bind(account.created_at.as_millis())
            .bind(account.version)
            .bind(credential.expose());
        let whose = Statement::new(WHOSE).bind(key.as_str());
        let mut results = self.database.transact(vec![create, whose]).await?;
        let rows = results.pop().unwrap_or_default();
        let owner = self.database.decode(rows, |row| row.text("id"))?.pop();
        match owner {
            Some(owner) if owner == account.id.as_str() => Ok(Creation::Created),
            Some(_) => Ok(Creation::EmailTaken),
            None => Err(self
                .database
                .refused(format!("{} has another e-mail address", account.id))),
        }
    }

    async fn by_id(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        self.one(Statement::new(BY_ID).bind(id.as_str())).await
    }

    async fn by_email(&self, key: &EmailKey) -> Result<Option<UserRecord>, StoreError> {
        self.one(Statement::new(BY_EMAIL).bind(key.as_str())).await
    }

    async fn update(
        &self,
        account: &Account,
        credential: Option<&Credential>,
        expected: u64,
    ) -> Result<Change, StoreError> {
        self.check_version(account.version, expected)?;
        let key = email_key(&account.email);
        let update = Statement::new(UPDATE)
            .bind(account.id.as_str())
            .bind(expected)
            .bind(key.as_str())
            .bind(account.email.as_str())
            .bind(account.name.as_str())
            .bind(self.seals.seal_phone(&account.id, account.phone.as_deref())?)
            .bind(self.database.json(&account.roles)?)
            .bind(account.email_verified)
            .bind(credential.map(Credential::expose));
        let look = Statement::new(KEY).bind(account.id.as_str());
        let mut results = self.database.transact(vec![update, look]).await?;
        if has_row(&results, 0) {
            return Ok(Change::Applied);
        }
        let rows = results.pop().unwrap_or_default();
        match self.database.decode(rows, |row| row.text("email_key"))?.pop() {
            None => Ok(Change::Missing),
            Some(stored) if stored == key.as_str() => Ok(Change::Conflict),
            Some(_) => Err(self
                .database
                .refused(format!("the e-mail address of {} can't change", account.id))),
        }
    }

    async fn erase(&self, id: &UserId) -> Result<bool, StoreError> {
        let erase = vec![Statement::new(ERASE).bind(id.as_str())];
        let results = self.database.transact_alone(id.as_str(), erase).await?;
        Ok(has_row(&results, 0))
    }

    async fn addresses(&self, user: &UserId) -> Result<Vec<SavedAddress>, StoreError> {
        let statement = Statement::new(ADDRESSES).bind(user.as_str());
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| {
            let id = self.identifier("id", AddressId::parse(&row.text("id")?))?;
            Ok(SavedAddress {
                address: self.seals.open_address(user, &id, row.text("body")?)?,
                id,
                default: row.integer::<i64>("default")? != 0,
                created_at: Timestamp::from_millis(row.integer("created_at")?),
                version: row.integer("version")?,
            })
        })
    }

    async fn put_address(
        &self,
        user: &UserId,
        address: &SavedAddress,
        expected: Option<u64>,
        limit: usize,
    ) -> Result<AddressChange, StoreError> {
        self.check_version(address.version, expected.unwrap_or(0))?;
        let sql = if expected.is_some() {
            REPLACE_ADDRESS
        } else {
            ADD_ADDRESS
        };
        let named = |sql| Statement::new(sql).bind(user.as_str()).bind(address.id.as_str());
        let put = named(sql).bind(self.seals.seal_address(user, &address.id, &address.address)?);
        let (put, make_default) = match expected {
            Some(expected) => (put.bind(expected), named(MAKE_DEFAULT).bind(expected)),
            None => (
                put.bind(address.created_at.as_millis()).bind(limit),
                named(MAKE_FIRST_DEFAULT).bind(limit),
            ),
        };
        let statements = vec![make_default.bind(address.default), put, named(LOOK_ADDRESS)];
        let mut results = self.database.transact_alone(user.as_str(), statements).await?;
        if has_row(&results, 1) {
            return Ok(AddressChange::Applied);
        }
        let rows = results.pop().unwrap_or_default();
        let stands = self.database.decode(rows, |row| {
            Ok((
                row.integer::<i64>("user")? != 0,
                row.integer::<i64>("address")? != 0,
            ))
        })?;
        Ok(match (stands.first(), expected) {
            (Some((true, true)), _) => AddressChange::Conflict,
            (Some((true, false)), None) => AddressChange::Full,
            _ => AddressChange::Missing,
        })
    }

    async fn delete_address(&self, user: &UserId, id: &AddressId) -> Result<bool, StoreError> {
        let statements = [DELETE_ADDRESS, PASS_DEFAULT_ON]
            .map(|sql| Statement::new(sql).bind(user.as_str()).bind(id.as_str()));
        let results = self
            .database
            .transact_alone(user.as_str(), statements.into())
            .await?;
        Ok(has_row(&results, 0))
    }

    async fn preferences(&self, user: &UserId) -> Result<Option<(Preferences, u64)>, StoreError> {
        let statement = Statement::new(PREFERENCES).bind(user.as_str());
        let rows = self.database.read(statement).await?;
        let mut chosen = self.database.decode(rows, |row| {
            Ok((self.parsed("body", &row.text("body")?)?, row.integer("version")?))
        })?;
        Ok(chosen.pop())
    }

    async fn put_preferences(
        &self,
        user: &UserId,
        preferences: &Preferences,
        expected: Option<u64>,
    ) -> Result<Change, StoreError> {
        let sql = if expected.is_some() {
            NEXT_PREFERENCES
        } else {
            FIRST_PREFERENCES
        };
        let mut put = Statement::new(sql)
            .bind(user.as_str())
            .bind(self.database.json(preferences)?);
        if let Some(expected) = expected {
            put = put.bind(expected);
        }
        let exists = Statement::new(EXISTS).bind(user.as_str());
        let results = self.database.transact(vec![put, exists]).await?;
        Ok(if has_row(&results, 0) {
            Change::Applied
        } else if has_row(&results, 1) {
            Change::Conflict
        } else {
            Change::Missing
        })
    }

    async fn put_purchase(&self, purchase: &Purchase) -> Result<(), StoreError> {
        let statement = Statement::new(PUT_PURCHASE)
            .bind(purchase.order_id.as_str())
            .bind(purchase.user_id.as_str())
            .bind(purchase.placed_at.as_millis())
            .bind(purchase.version)
            .bind(self.database.json(purchase)?);
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn put_guest_order(
        &self,
        guest: &str,
        order: &OrderId,
        placed_at: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = Statement::new(PUT_GUEST_ORDER)
            .bind(order.as_str())
            .bind(guest)
            .bind(placed_at.as_millis());
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn guest_orders(&self, guest: &str, limit: usize) -> Result<Vec<OrderId>, StoreError> {
        let rows = self
            .database
            .read(Statement::new(GUEST_ORDERS).bind(guest).bind(limit))
            .await?;
        self.database.decode(rows, |row| {
            let id = row.text("order_id")?;
            OrderId::parse(&id).map_err(|error| self.database.corrupt(error.to_string()))
        })
    }

    async fn forget_guest_order(&self, order: &OrderId) -> Result<(), StoreError> {
        let statement = Statement::new(FORGET_GUEST_ORDER).bind(order.as_str());
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn purchases(
        &self,
        user: &UserId,
        before: Option<(Timestamp, &OrderId)>,
        limit: usize,
    ) -> Result<Vec<Purchase>, StoreError> {
        let statement = match before {
            Some((placed_at, order)) => Statement::new(PURCHASES_BEFORE)
                .bind(user.as_str())
                .bind(limit)
                .bind(placed_at.as_millis())
                .bind(order.as_str()),
            None => Statement::new(PURCHASES).bind(user.as_str()).bind(limit),
        };
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| self.purchase(row))
    }
}
