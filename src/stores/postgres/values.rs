//! Values on their way to PostgreSQL and back: numbers are `int8`, texts `text`, bytes `bytea`.

use sqlx::error::Error;
use sqlx::postgres::PgRow;
use sqlx::{Row as _, TypeInfo, ValueRef};

use super::Query;
use souk_embedded::{Row, Rows, Value};

/// Adds the values of `$1`, `$2`, …. A null is a text: no column of another type takes one as a parameter of this kind.
pub(super) fn bind<'q>(query: Query<'q>, values: &'q [Value]) -> Query<'q> {
    values.iter().fold(query, |query, value| match value {
        Value::Null => query.bind(None::<&str>),
        Value::Integer(integer) => query.bind(*integer),
        Value::Real(real) => query.bind(*real),
        Value::Text(text) => query.bind(text.as_str()),
        Value::Blob(bytes) => query.bind(bytes.as_slice()),
    })
}

/// Copies rows.
///
/// # Errors
/// Where a column has a type that no store uses.
pub(super) fn rows(rows: &[PgRow]) -> Result<Rows, Error> {
    rows.iter().map(row).collect()
}

fn row(row: &PgRow) -> Result<Row, Error> {
    (0..row.len()).map(|column| value(row, column)).collect()
}

fn value(row: &PgRow, column: usize) -> Result<Value, Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    Ok(match raw.type_info().name() {
        "TEXT" => Value::Text(row.try_get(column)?),
        "INT8" => Value::Integer(row.try_get(column)?),
        "INT4" => Value::Integer(row.try_get::<i32, _>(column)?.into()),
        "BOOL" => Value::Integer(row.try_get::<bool, _>(column)?.into()),
        "BYTEA" => Value::Blob(row.try_get(column)?),
        other => {
            return Err(Error::TypeNotFound {
                type_name: other.to_owned(),
            });
        }
    })
}
