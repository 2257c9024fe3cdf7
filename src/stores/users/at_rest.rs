//! Sealed phone numbers and addresses in a SQL database, for the rotation of keys. They are two stores to the rotation, since their
//! rows have different keys.

use async_trait::async_trait;

use super::seals::AddressRow;
use super::statements::{ADDRESSES_AT_REST, PHONES_AT_REST, RESEAL_ADDRESS, RESEAL_PHONE};
use crate::sealing::layout;
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sql::SqlDatabase;
use souk_embedded::Statement;

/// The phone numbers of accounts, by the account's id.
pub struct PhonesAtRest<D>(pub D);

/// The addresses of accounts, by [`AddressRow`].
pub struct AddressesAtRest<D>(pub D);

/// Both columns are text, and text never equals bytes.
fn text<'a>(database: &impl SqlDatabase, bytes: &'a [u8]) -> Result<&'a str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| database.refused(error))
}

/// Runs one statement per row, with its old and new content as the last parameters; whether each found its row.
async fn exchange(
    database: &impl SqlDatabase,
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
impl<D: SqlDatabase> RowsAtRest for PhonesAtRest<D> {
    fn store(&self) -> &'static str {
        layout::PHONES.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let statement = Statement::new(PHONES_AT_REST)
            .bind(after.unwrap_or_default())
            .bind(limit);
        let rows = self.0.read(statement).await?;
        self.0.decode(rows, |row| {
            Ok(RowAtRest {
                id: row.text("id")?,
                content: row.text("phone")?.into_bytes(),
            })
        })
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        exchange(&self.0, rows, |row| {
            Statement::new(RESEAL_PHONE).bind(row.id.as_str())
        })
        .await
    }
}

#[async_trait]
impl<D: SqlDatabase> RowsAtRest for AddressesAtRest<D> {
    fn store(&self) -> &'static str {
        layout::ADDRESSES.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let after = AddressRow::parse(after.unwrap_or_default());
        let statement = Statement::new(ADDRESSES_AT_REST)
            .bind(after.user)
            .bind(after.address)
            .bind(limit);
        let rows = self.0.read(statement).await?;
        self.0.decode(rows, |row| {
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
        exchange(&self.0, rows, |row| {
            let id = AddressRow::parse(&row.id);
            Statement::new(RESEAL_ADDRESS).bind(id.user).bind(id.address)
        })
        .await
    }
}
