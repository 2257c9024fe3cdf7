//! Values on their way to the server and back. Texts are bytes there (`VARBINARY`, `LONGBLOB`): no collation ignores
//! what differs, and every character can be held.

use sqlx::error::Error;
use sqlx::mysql::MySqlRow;
use sqlx::{Row as _, TypeInfo, ValueRef};

use souk_embedded::{Row, Rows, Value};

/// A value as part of a statement.
pub(in crate::stores) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Real(real) => format!("{real:e}"),
        Value::Text(text) => self::text(text),
        Value::Blob(bytes) => self::bytes(bytes),
    }
}

fn bytes(bytes: &[u8]) -> String {
    format!("x'{}'", hex::encode(bytes))
}

/// A text as part of a statement.
pub(in crate::stores) fn text(text: &str) -> String {
    bytes(text.as_bytes())
}

/// A text or nothing.
pub(in crate::stores) fn optional_text(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), self::text)
}

/// An integer or nothing.
pub(in crate::stores) fn optional_integer(integer: Option<i64>) -> String {
    literal(&integer.map_or(Value::Null, Value::Integer))
}

/// What stands between the brackets of `IN ()`; an empty list holds nothing.
pub(in crate::stores) fn list(literals: impl IntoIterator<Item = String>) -> String {
    let literals: Vec<String> = literals.into_iter().collect();
    if literals.is_empty() {
        return "NULL".to_owned();
    }
    literals.join(", ")
}

/// The list of these texts.
pub(in crate::stores) fn texts<'a>(
    texts: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> String {
    list(texts.into_iter().map(|text| self::text(text.as_ref())))
}

/// A statement with literals for `?1`, `?2`, …. It has no question mark elsewhere.
pub(in crate::stores) fn filled(sql: &str, literals: &[String]) -> String {
    let mut parts = sql.split('?');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let place = number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        match place.and_then(|place| literals.get(place)) {
            Some(literal) => filled.push_str(literal),
            // The server refuses it.
            None => filled.push('?'),
        }
        filled.push_str(rest);
    }
    filled
}

/// Copies rows.
///
/// # Errors
/// Where a column has a type that no store uses.
pub(super) fn rows(rows: &[MySqlRow]) -> Result<Rows, Error> {
    rows.iter().map(row).collect()
}

fn row(row: &MySqlRow) -> Result<Row, Error> {
    (0..row.len()).map(|column| value(row, column)).collect()
}

fn value(row: &MySqlRow, column: usize) -> Result<Value, Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let type_info = raw.type_info();
    let name = type_info.name();
    if name.contains("INT") || name == "BOOLEAN" {
        return Ok(Value::Integer(row.try_get_unchecked(column)?));
    }
    if ["CHAR", "BINARY", "TEXT", "BLOB"]
        .iter()
        .any(|kind| name.ends_with(kind))
    {
        let bytes: Vec<u8> = row.try_get_unchecked(column)?;
        return Ok(match String::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(error) => Value::Blob(error.into_bytes()),
        });
    }
    Err(Error::TypeNotFound {
        type_name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_taken_for_sql() {
        let literals = ["it's ?2 {store}", "", "\\\0"].map(text);
        let one = &literals[0];
        assert_eq!(
            filled("SELECT ?1, ?3, ?1 WHERE ?2 = ?4", &literals),
            format!("SELECT {one}, x'5c00', {one} WHERE x'' = ?")
        );
        assert!(
            literals[0]
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'\'')
        );
        assert_eq!(list([]), "NULL");
        assert_eq!(texts(["a", "b"]), "x'61', x'62'");
        assert_eq!(literal(&Value::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(optional_integer(None), "NULL");
    }
}
