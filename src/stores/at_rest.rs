//! Rows at rest, with their sealed values: for the rotation of keys alone.

use async_trait::async_trait;

use super::StoreError;

/// A row that may hold sealed values.
#[derive(Clone, PartialEq, Eq)]
pub struct RowAtRest {
    /// Its primary key.
    pub id: String,
    /// Its stored value that is sealed or contains sealed values.
    pub content: Vec<u8>,
}

/// A row resealed under another key.
#[derive(Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The row as it was read.
    pub row: RowAtRest,
    /// Its new content.
    pub content: Vec<u8>,
}

/// Implemented by adapters whose rows hold sealed values.
#[async_trait]
pub trait RowsAtRest: Send + Sync + 'static {
    /// The store's name, as the table of layouts has it.
    fn store(&self) -> &'static str;

    /// Rows with a content, by ascending id, above `after` where given.
    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError>;

    /// Replaces contents in one transaction, each only if it is unchanged since it was read; whether each was replaced.
    /// Version and mark of a row stay, so that writers of the entity don't notice. A row that was written in between is
    /// not replaced and has to be read again.
    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError>;
}

// Contents that were written before there was a key are personal data.
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
