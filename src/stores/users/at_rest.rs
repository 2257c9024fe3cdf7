//! Phone numbers and addresses as they lie in SQLite, for the rotation of keys. They are two parts of one store, since their
//! rows are named differently.

use std::path::Path;

use async_trait::async_trait;

use super::seals::AddressRow;
use super::sql::{ADDRESSES_AT_REST, PHONES_AT_REST, RESEAL_ADDRESS, RESEAL_PHONE};
use crate::sealing::layout;
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sqlite::Database;
use souk_embedded::{Statement, Writer};

/// The phone numbers of accounts, by the account's id.
pub struct PhonesAtRest {
    database: Database,
}

/// The addresses of accounts, by [`AddressRow`].
pub struct AddressesAtRest {
    database: Database,
}

impl PhonesAtRest {
    /// Opens the database `users` of `directory`.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(writer: &Writer, directory: &Path) -> Result<Self, StoreError> {
        let database = Database::open(writer, directory, "users").await?;
        Ok(Self { database })
    }
}

impl AddressesAtRest {
    /// Opens the database `users` of `directory`.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(writer: &Writer, directory: &Path) -> Result<Self, StoreError> {
        let database = Database::open(writer, directory, "users").await?;
        Ok(Self { database })
    }
}

/// Both columns are texts, and a text is never equal to bytes.
fn text<'a>(database: &Database, bytes: &'a [u8]) -> Result<&'a str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| StoreError::Refused {
        store: database.name(),
        cause: error.into(),
    })
}

/// Runs one statement for each row, made from how it lies there and what shall take its place; whether each found its row.
async fn exchange(
    database: &Database,
    rows: &[Resealed],
    statement: impl Fn(&RowAtRest) -> Statement,
) -> Result<Vec<bool>, StoreError> {
    let statements = rows
        .iter()
        .map(|Resealed { row, content }| {
            Ok(statement(row)
                .bind(text(database, &row.content)?)
                .bind(text(database, content)?))
        })
        .collect::<Result<_, StoreError>>()?;
    let replaced = database.transact(statements).await?;
    Ok(replaced.into_iter().map(|rows| !rows.is_empty()).collect())
}

#[async_trait]
impl RowsAtRest for PhonesAtRest {
    fn store(&self) -> &'static str {
        layout::PHONES.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let statement = Statement::new(PHONES_AT_REST)
            .bind(after.unwrap_or_default())
            .bind(limit);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| {
            Ok(RowAtRest {
                id: row.text("id")?,
                content: row.text("phone")?.into_bytes(),
            })
        })
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        exchange(&self.database, rows, |row| {
            Statement::new(RESEAL_PHONE).bind(row.id.as_str())
        })
        .await
    }
}

#[async_trait]
impl RowsAtRest for AddressesAtRest {
    fn store(&self) -> &'static str {
        layout::ADDRESSES.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let after = AddressRow::parse(after.unwrap_or_default());
        let statement = Statement::new(ADDRESSES_AT_REST)
            .bind(after.user)
            .bind(after.address)
            .bind(limit);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| {
            let (user, address) = (row.text("user_id")?, row.text("id")?);
            let id = AddressRow {
                user: &user,
                address: &address,
            };
            Ok(RowAtRest {
                id: id.to_string(),
                content: row.text("body")?.into_bytes(),
            })
        })
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        exchange(&self.database, rows, |row| {
            let id = AddressRow::parse(&row.id);
            Statement::new(RESEAL_ADDRESS).bind(id.user).bind(id.address)
        })
        .await
    }
}
