//! Signing keys in a SQL database: one adapter for SQLite and PostgreSQL, whose statements both understand.

use async_trait::async_trait;

use super::{SigningKeyRow, SigningKeyStore};
use crate::stores::StoreError;
use crate::stores::sql::{SqlDatabase, has_row};
use souk_domain::Timestamp;
use souk_embedded::Statement;

const LIST: &str = "SELECT id, material, created_at FROM signing_keys ORDER BY created_at DESC, id DESC";
const ADD: &str = "INSERT INTO signing_keys (id, material, created_at) SELECT ?1, ?2, ?3 \
     WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE created_at > ?4) ON CONFLICT (id) DO NOTHING";
const EXISTS: &str = "SELECT id FROM signing_keys WHERE id = ?1";
const REMOVE: &str = "DELETE FROM signing_keys WHERE created_at < ?1 RETURNING 1";

/// The adapter.
pub struct SqlSigningKeys<D>(pub D);

#[async_trait]
impl<D: SqlDatabase> SigningKeyStore for SqlSigningKeys<D> {
    async fn list(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows = self.0.read(Statement::new(LIST)).await?;
        self.0.decode(rows, |row| {
            Ok(SigningKeyRow {
                id: row.text("id")?,
                material: row
                    .optional_blob("material")?
                    .ok_or_else(|| self.0.corrupt("a signing key without material"))?,
                created_at: Timestamp::from_millis(row.integer("created_at")?),
            })
        })
    }

    async fn add(&self, key: &SigningKeyRow, unless_newer_than: Timestamp) -> Result<bool, StoreError> {
        let add = Statement::new(ADD)
            .bind(key.id.as_str())
            .bind(key.material.clone())
            .bind(key.created_at.as_millis())
            .bind(unless_newer_than.as_millis());
        let exists = Statement::new(EXISTS).bind(key.id.as_str());
        let results = self.0.transact_alone("signing keys", vec![add, exists]).await?;
        Ok(has_row(&results, 1))
    }

    async fn remove(&self, before: Timestamp) -> Result<u64, StoreError> {
        let statement = Statement::new(REMOVE).bind(before.as_millis());
        self.0.count(statement).await
    }
}
