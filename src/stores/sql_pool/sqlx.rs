//! What an error of sqlx says.

use sqlx::error::{DatabaseError, Error};

use super::Meaning;

/// What an error says; `of_server` is asked about those that the server itself reports.
pub(in crate::stores) fn meaning(
    error: &Error,
    of_server: impl FnOnce(&(dyn DatabaseError + 'static)) -> Meaning,
) -> Meaning {
    match error {
        Error::Database(error) => of_server(&**error),
        Error::Encode(_) | Error::InvalidArgument(_) => Meaning::Refused,
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::TypeNotFound { .. } => Meaning::Unintelligible,
        _ => Meaning::Broken,
    }
}
