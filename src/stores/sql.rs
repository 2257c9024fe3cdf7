//! What the adapters on SQL databases share: the one interface that they have for adapters whose statements more than one
//! understands, and how rows are taken apart.

use std::error::Error;

use async_trait::async_trait;
use serde::Serialize;

use super::StoreError;
use souk_domain::Timestamp;
use souk_embedded::{Row, Rows, Statement, Value};

/// A database with the errors of the ports.
#[async_trait]
pub trait SqlDatabase: Send + Sync + 'static {
    /// The technology, as in `sqlite`.
    const TECHNOLOGY: &'static str;

    /// The store's name.
    fn name(&self) -> &'static str;

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn ping(&self) -> Result<(), StoreError>;

    /// Reads everything that was acknowledged before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or [`StoreError::Refused`] for an invalid statement.
    async fn read(&self, statement: Statement) -> Result<Rows, StoreError>;

    /// Runs statements in one transaction and returns the rows of each once it is durable.
    ///
    /// # Errors
    /// [`StoreError`]. A request without a reply is [`StoreError::OutcomeUnknown`].
    async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError>;

    /// As [`SqlDatabase::transact`], but no other transaction runs under this name at the same time: for decisions about
    /// rows that are not there yet, which no lock of a row covers.
    ///
    /// # Errors
    /// As of [`SqlDatabase::transact`].
    async fn transact_alone(&self, name: &str, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError>;

    /// As [`SqlDatabase::transact`], with one statement.
    ///
    /// # Errors
    /// As of [`SqlDatabase::transact`].
    async fn transact_one(&self, statement: Statement) -> Result<Rows, StoreError> {
        let mut results = self.transact(vec![statement]).await?;
        Ok(results.pop().unwrap_or_default())
    }

    /// As [`SqlDatabase::transact_one`], and counts the rows that it returns.
    ///
    /// # Errors
    /// As of [`SqlDatabase::transact`].
    async fn count(&self, statement: Statement) -> Result<u64, StoreError> {
        Ok(self.transact_one(statement).await?.len() as u64)
    }

    /// Removes what ended before `until`, at most `limit` rows, by a statement that takes these two; how many.
    ///
    /// # Errors
    /// As of [`SqlDatabase::transact`].
    async fn sweep(&self, sql: &'static str, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.count(Statement::new(sql).bind(until.as_millis()).bind(limit))
            .await
    }

    /// Decodes each row by `decode`.
    ///
    /// # Errors
    /// Those of `decode`.
    fn decode<T>(
        &self,
        rows: Rows,
        decode: impl Fn(&mut Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        rows.into_iter()
            .map(|row| decode(&mut Columns::new(self.name(), row)))
            .collect()
    }

    /// `value` as a JSON parameter.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it can't be encoded.
    fn json(&self, value: &(impl Serialize + ?Sized)) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| self.refused(error))
    }

    /// The refusal of a call.
    fn refused(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Refused {
            store: self.name(),
            cause: cause.into(),
        }
    }

    /// An error for a row that does not decode.
    fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            store: self.name(),
            what: what.into(),
        }
    }
}

/// Whether the statement at `index` of a transaction returned a row.
pub fn has_row(results: &[Rows], index: usize) -> bool {
    results.get(index).is_some_and(|rows| !rows.is_empty())
}

/// Takes the columns of a row one after the other; another type is [`StoreError::Corrupt`].
pub struct Columns {
    store: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Columns {
    /// The columns of `row`, read from `store`.
    pub fn new(store: &'static str, row: Row) -> Self {
        Self {
            store,
            values: row.into_iter(),
        }
    }

    fn corrupt(&self, column: &str, wanted: &str) -> StoreError {
        StoreError::Corrupt {
            store: self.store,
            what: format!("column {column} holds no {wanted}"),
        }
    }

    /// The next column, a text.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn text(&mut self, column: &str) -> Result<String, StoreError> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.corrupt(column, "text")),
        }
    }

    /// The next column, a text or nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn optional_text(&mut self, column: &str) -> Result<Option<String>, StoreError> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "text")),
        }
    }

    /// The next column, an integer that fits `T`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn integer<T: TryFrom<i64>>(&mut self, column: &str) -> Result<T, StoreError> {
        match self.values.next() {
            Some(Value::Integer(integer)) => {
                T::try_from(integer).map_err(|_| self.corrupt(column, "integer of the right size"))
            }
            _ => Err(self.corrupt(column, "integer")),
        }
    }

    /// The next column, an integer or nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn optional_integer(&mut self, column: &str) -> Result<Option<i64>, StoreError> {
        match self.values.next() {
            Some(Value::Integer(integer)) => Ok(Some(integer)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "integer")),
        }
    }

    /// The next column, bytes or nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn optional_blob(&mut self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.values.next() {
            Some(Value::Blob(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "blob")),
        }
    }
}
