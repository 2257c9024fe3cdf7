//! Rows as they lie in a store, with what is sealed in them sealed: for the rotation of keys, and nobody else.

use async_trait::async_trait;

use super::StoreError;

/// A row that may hold sealed values.
#[derive(Clone, PartialEq, Eq)]
pub struct RowAtRest {
    /// Its primary key.
    pub id: String,
    /// What is sealed of it, or holds what is sealed, byte by byte as it lies there.
    pub content: Vec<u8>,
}

/// The same row under another key.
#[derive(Clone, PartialEq, Eq)]
pub struct Resealed {
    /// As it was read.
    pub row: RowAtRest,
    /// What shall take the place of its content.
    pub content: Vec<u8>,
}

/// What an adapter offers whose rows hold sealed values.
#[async_trait]
pub trait RowsAtRest: Send + Sync + 'static {
    /// The store's name, as the table of layouts has it.
    fn store(&self) -> &'static str;

    /// Rows that have a content, ids ascending, above `after` when given.
    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError>;

    /// Replaces contents in one transaction, each only where it still stands as it was read; whether each was replaced.
    /// Nothing else of a row changes: neither version nor mark, so that whoever writes the entity does not notice. A row
    /// that was written in between stays as it is: it is to be looked at again.
    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError>;
}

// A content that was written before there was a key is a person's address.
impl std::fmt::Debug for RowAtRest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowAtRest({}, {} bytes)", self.id, self.content.len())
    }
}

impl std::fmt::Debug for Resealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resealed({:?}, {} bytes)", self.row, self.content.len())
    }
}
