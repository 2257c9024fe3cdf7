//! Statements with their values on the way to SQL Server, and rows on the way back: numbers are `bigint`, texts `nvarchar`, bytes
//! `varbinary`.

use std::borrow::Cow;

use tiberius::error::Error;
use tiberius::{ColumnData, IntoSql};

use super::Session;
use souk_embedded::{Row, Rows, Value};

/// Most parameters of a statement: the server takes 2,100, of which the driver needs a few.
pub(in crate::stores) const PARAMETERS: usize = 2_000;

/// Statements with the values of their parameters `@P1`, `@P2`, ….
pub struct Query<'q> {
    sql: Cow<'q, str>,
    values: Vec<ColumnData<'q>>,
}

impl<'q> Query<'q> {
    /// Without values.
    pub(in crate::stores) fn new(sql: impl Into<Cow<'q, str>>) -> Self {
        Self {
            sql: sql.into(),
            values: Vec::new(),
        }
    }

    /// With one value more.
    pub(in crate::stores) fn bind(mut self, value: impl IntoSql<'q>) -> Self {
        self.values.push(value.into_sql());
        self
    }

    /// With these values more.
    pub(in crate::stores) fn bind_all(self, values: impl IntoIterator<Item = impl IntoSql<'q>>) -> Self {
        values.into_iter().fold(self, Self::bind)
    }

    /// With a value of the embedded store. A null is a text, which a column of any type takes.
    pub(super) fn bind_value(self, value: &'q Value) -> Self {
        match value {
            Value::Null => self.bind(None::<&str>),
            Value::Integer(integer) => self.bind(*integer),
            Value::Real(real) => self.bind(*real),
            Value::Text(text) => self.bind(text.as_str()),
            Value::Blob(bytes) => self.bind(bytes.as_slice()),
        }
    }

    /// Runs them to their end, and gives the rows of all.
    pub(super) async fn rows(self, session: &mut Session) -> Result<Rows, Error> {
        let sql = self.sql;
        #[cfg(test)]
        let sql = super::testing::translated(sql);
        let results = if self.values.is_empty() {
            // As a batch of its own: what it sets or begins outlasts it, as it does not from within a procedure.
            session.simple_query(sql).await?.into_results().await?
        } else {
            let mut query = tiberius::Query::new(sql);
            for value in self.values {
                query.bind(Bound(value));
            }
            query.query(session).await?.into_results().await?
        };
        results.into_iter().flatten().map(row).collect()
    }
}

struct Bound<'q>(ColumnData<'q>);

impl<'q> IntoSql<'q> for Bound<'q> {
    fn into_sql(self) -> ColumnData<'q> {
        self.0
    }
}

/// `(@P1, @P2), (@P3, @P4), …`: so many rows of so many columns, whose parameters follow `before` others.
pub(in crate::stores) fn tuples(before: usize, rows: usize, columns: usize) -> String {
    let tuple = |row: usize| {
        let first = before + row * columns + 1;
        format!("({})", tiberius::Query::placeholders(first, columns))
    };
    (0..rows).map(tuple).collect::<Vec<_>>().join(", ")
}

fn row(row: tiberius::Row) -> Result<Row, Error> {
    row.into_iter().map(value).collect()
}

fn value(column: ColumnData<'static>) -> Result<Value, Error> {
    Ok(match column {
        ColumnData::I64(number) => integer(number),
        ColumnData::I32(number) => integer(number),
        ColumnData::I16(number) => integer(number),
        ColumnData::U8(number) => integer(number),
        ColumnData::Bit(bit) => integer(bit),
        ColumnData::F64(real) => real.map_or(Value::Null, Value::Real),
        ColumnData::String(text) => text.map_or(Value::Null, |text| Value::Text(text.into_owned())),
        ColumnData::Binary(bytes) => bytes.map_or(Value::Null, |bytes| Value::Blob(bytes.into_owned())),
        other => {
            return Err(Error::Conversion(
                format!("{other:?} has a type that no store uses").into(),
            ));
        }
    })
}

fn integer(number: Option<impl Into<i64>>) -> Value {
    number.map_or(Value::Null, |number| Value::Integer(number.into()))
}
