//! Statements, their values and the rows that they return, which all can cross the socket.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Arguments, Decode, Row as _, Sqlite, TypeInfo, ValueRef};

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

/// One SQL statement with the values of its parameters (`?1`, `?2`, …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// The text; user input belongs into parameters alone.
    pub sql: Cow<'static, str>,
    /// The values of `?1`, `?2`, ….
    pub parameters: Vec<Value>,
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

    fn decode(value: SqliteValueRef<'_>) -> Result<Self, sqlx::error::BoxDynError> {
        if value.is_null() {
            return Ok(Self::Null);
        }
        let class = value.type_info().name().to_owned();
        Ok(match class.as_str() {
            "INTEGER" => Self::Integer(Decode::<Sqlite>::decode(value)?),
            "REAL" => Self::Real(Decode::<Sqlite>::decode(value)?),
            "TEXT" => Self::Text(Decode::<Sqlite>::decode(value)?),
            _ => Self::Blob(Decode::<Sqlite>::decode(value)?),
        })
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
    /// A statement without parameters.
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Vec::new(),
        }
    }

    /// Adds the value of the next parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.parameters.push(value.into());
        self
    }

    /// The values as sqlx takes them.
    pub(crate) fn arguments(&self) -> Result<SqliteArguments, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        for value in &self.parameters {
            match value {
                Value::Null => Arguments::add(&mut arguments, Option::<i64>::None),
                Value::Integer(integer) => Arguments::add(&mut arguments, *integer),
                Value::Real(real) => Arguments::add(&mut arguments, *real),
                Value::Text(text) => Arguments::add(&mut arguments, text.as_str()),
                Value::Blob(bytes) => Arguments::add(&mut arguments, bytes.as_slice()),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
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
                OVERHEAD + statement.sql.len() + statement.parameters.iter().map(Value::size).sum::<usize>()
            })
            .sum()
    }
}

/// Copies a row out of sqlx.
pub(crate) fn row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    (0..row.len())
        .map(|index| {
            Value::decode(row.try_get_raw(index)?).map_err(|source| sqlx::Error::ColumnDecode {
                index: index.to_string(),
                source,
            })
        })
        .collect()
}
