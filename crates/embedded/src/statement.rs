//! Statements, their values and the rows that they return, which all can cross the socket.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// One value, in SQLite's storage classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing.
    Null,
    /// 64 bits, signed.
    Integer(i64),
    /// IEEE 754, 64 bits.
    Real(f64),
    /// UTF-8.
    Text(String),
    /// Bytes.
    Blob(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// One row, its columns in the order of the statement.
pub type Row = Vec<Value>;

/// All rows of one statement.
pub type Rows = Vec<Row>;

/// One SQL statement and the values of its parameters (`?1`, `?2`, …) for each of its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// The text; user input belongs into parameters alone.
    pub sql: Cow<'static, str>,
    /// The values of `?1`, `?2`, …, as many in each run; those beyond the last one that the statement names are ignored, so
    /// that statements of one kind can be given the same. The statement returns the rows of all runs.
    pub runs: Vec<Vec<Value>>,
}

/// Statements that take effect together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub database: Cow<'static, str>,
    /// Run in this order.
    pub statements: Vec<Statement>,
}

/// Estimated bytes of a statement or value besides its content, in memory and on the wire.
const OVERHEAD: usize = 16;

impl Value {
    /// Estimated bytes, for the limits.
    pub(crate) fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Null | Self::Integer(_) | Self::Real(_) => 0,
                Self::Text(text) => text.len(),
                Self::Blob(bytes) => bytes.len(),
            }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Real(real) => ValueRef::Real(*real),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {
        $(impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    i64 => Integer,
    u16 => Integer,
    u32 => Integer,
    bool => Integer,
    &str => Text,
    String => Text,
    Vec<u8> => Blob,
}

/// Saturates: SQLite has no unsigned integers, and no count or version comes near the limit.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// Saturates, as from `u64`.
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Statement {
    /// A statement that runs once, without parameters yet.
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            runs: vec![Vec::new()],
        }
    }

    /// A statement that runs once for each of these lists of values.
    pub fn each(sql: impl Into<Cow<'static, str>>, runs: Vec<Vec<Value>>) -> Self {
        Self {
            sql: sql.into(),
            runs,
        }
    }

    /// Adds the value of the next parameter of its only run.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        if let Some(run) = self.runs.last_mut() {
            run.push(value.into());
        }
        self
    }

    /// Runs it and reads all of its rows, for as long as `accept` takes them.
    pub(crate) fn run(
        &self,
        connection: &Connection,
        mut accept: impl FnMut(&Row) -> Result<(), Error>,
    ) -> Result<Rows, Error> {
        let mut prepared = connection.prepare_cached(&self.sql)?;
        let columns = prepared.column_count();
        let mut rows = Vec::new();
        for values in &self.runs {
            for (number, value) in (1..=prepared.parameter_count()).zip(values) {
                prepared.raw_bind_parameter(number, value)?;
            }
            let mut source = prepared.raw_query();
            while let Some(row) = source.next()? {
                let row = (0..columns)
                    .map(|column| value(row.get_ref(column)?))
                    .collect::<Result<Row, Error>>()?;
                accept(&row)?;
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

impl Transaction {
    pub(crate) fn new(database: impl Into<Cow<'static, str>>, statements: Vec<Statement>) -> Self {
        Self {
            database: database.into(),
            statements,
        }
    }

    /// Estimated bytes, for the limits.
    pub(crate) fn size(&self) -> usize {
        self.statements
            .iter()
            .map(|statement| {
                let values = statement.runs.iter().flatten();
                OVERHEAD + statement.sql.len() + values.map(Value::size).sum::<usize>()
            })
            .sum()
    }
}

/// Copies a value out of SQLite.
fn value(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(text) => Value::Text(str::from_utf8(text).map_err(Error::refused)?.to_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}
