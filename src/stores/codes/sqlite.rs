//! One-time codes in SQLite, in the database `sessions`.

use async_trait::async_trait;

use super::{CodeStore, Purpose};
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite::Database;
use crate::stores::{StoreError, TokenHash};
use souk_domain::{Timestamp, UserId};
use souk_embedded::{Rows, Statement};

const ISSUE: &str = "INSERT INTO one_time_tokens (purpose, user_id, hash, expires_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (purpose, user_id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at";
const REDEEM: &str = "DELETE FROM one_time_tokens WHERE purpose = ?1 AND hash = ?2 AND expires_at > ?3 \
     RETURNING user_id";
const HOLDER: &str =
    "SELECT user_id FROM one_time_tokens WHERE purpose = ?1 AND hash = ?2 AND expires_at > ?3";
const SWEEP: &str = "DELETE FROM one_time_tokens WHERE rowid IN \
     (SELECT rowid FROM one_time_tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1";

/// The adapter.
pub struct SqliteCodes(pub Database);

impl SqliteCodes {
    fn user(&self, rows: Rows) -> Result<Option<UserId>, StoreError> {
        let mut users = self.0.decode(rows, |row| {
            UserId::parse(&row.text("user_id")?).map_err(|error| self.0.corrupt(error.to_string()))
        })?;
        Ok(users.pop())
    }
}

fn of_code(sql: &'static str, purpose: Purpose, code: &TokenHash, now: Timestamp) -> Statement {
    Statement::new(sql)
        .bind(purpose.as_str())
        .bind(code.0.to_vec())
        .bind(now.as_millis())
}

#[async_trait]
impl CodeStore for SqliteCodes {
    async fn issue(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        user: &UserId,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = Statement::new(ISSUE)
            .bind(purpose.as_str())
            .bind(user.as_str())
            .bind(code.0.to_vec())
            .bind(expires_at.as_millis());
        self.0.transact_one(statement).await.map(drop)
    }

    async fn redeem(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let statement = of_code(REDEEM, purpose, code, now);
        self.user(self.0.transact_one(statement).await?)
    }

    async fn holder(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        self.user(self.0.read(of_code(HOLDER, purpose, code, now)).await?)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.0.sweep(SWEEP, now, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::codes::contract;
    use crate::stores::testing::{assert_indexed, open_database};

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("sessions").await;
        contract::suite(std::sync::Arc::new(SqliteCodes(database))).await;
    }

    #[tokio::test]
    async fn queries_use_indexes() {
        assert_indexed("sessions", &[REDEEM, HOLDER, SWEEP]).await;
    }
}
