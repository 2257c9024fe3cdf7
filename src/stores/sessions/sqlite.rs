//! Sessions in SQLite. Who wins a race for a token is decided by the first statement of a transaction; the others follow
//! from what stands there after it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::sql::{
    ADD_KEY, COUNTS, END, END_FAMILY, FAMILY, FIRST_TOKEN, FORGET, HIT, ISSUE, KEY, KEYS, LIST, OPEN, REDEEM,
    REMOVE_KEYS, REVOKE, REVOKE_FAMILY, REVOKED, ROTATED, SESSION_OF, SPEND, SUCCEED, SWEEP_EXPIRED,
    SWEEP_REVOKED, USE,
};
use super::{
    Count, LIST_LIMIT, Purpose, Revocations, Rotation, Session, SessionStore, SigningKeyRow, TokenHash,
};
use crate::stores::StoreError;
use crate::stores::sqlite::Columns;
use crate::stores::sqlite::Database;
use souk_domain::identifiers::InvalidIdentifier;
use souk_domain::{SessionId, Timestamp, UserId};
use souk_embedded::{Statement, Writer};

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_sessions.sql")];

/// The sessions store in SQLite.
pub struct SqliteSessions {
    database: Database,
}

impl SqliteSessions {
    /// Opens the database `sessions` of `directory`.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(writer: &Writer, directory: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: Database::open(writer, directory, "sessions").await?,
        })
    }

    fn refused(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Refused {
            store: self.database.name(),
            cause: cause.into(),
        }
    }

    fn identifier<T>(&self, column: &str, parsed: Result<T, InvalidIdentifier>) -> Result<T, StoreError> {
        parsed.map_err(|error| self.database.corrupt(format!("column {column}: {error}")))
    }

    fn session(&self, row: &mut Columns) -> Result<Session, StoreError> {
        Ok(Session {
            id: self.identifier("id", SessionId::parse(&row.text("id")?))?,
            user: self.identifier("user_id", UserId::parse(&row.text("user_id")?))?,
            created_at: Timestamp::from_millis(row.integer("created_at")?),
            last_used_at: Timestamp::from_millis(row.integer("last_used_at")?),
            expires_at: Timestamp::from_millis(row.integer("expires_at")?),
            user_agent: row.text("user_agent")?,
            address: row.text("address")?,
        })
    }

    /// What stands there after a rotation.
    fn rotation(&self, row: &mut Columns) -> Result<Rotation, StoreError> {
        let session = self.session(row)?;
        let revoked = row.integer::<i64>("revoked")? != 0;
        let spent = row.integer::<i64>("spent")? != 0;
        let by_this_call = row.integer::<i64>("by_this_call")? != 0;
        Ok(match (spent, by_this_call) {
            (true, true) if !revoked => Rotation::Rotated(session),
            (true, false) => Rotation::Reused(session),
            // A live one that this call did not spend: its session is revoked.
            (true, true) | (false, _) => Rotation::Unknown,
        })
    }

    /// Revokes the live sessions of a user: the one that is named, or all but one.
    async fn end(
        &self,
        user: &UserId,
        only: Option<&SessionId>,
        except: Option<&SessionId>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let statements = [REVOKE, END].map(|sql| {
            Statement::new(sql)
                .bind(user.as_str())
                .bind(now.as_millis())
                .bind(only.map(SessionId::as_str))
                .bind(except.map(SessionId::as_str))
        });
        let results = self.database.transact(statements.into()).await?;
        Ok(results.first().map_or(0, Vec::len) as u64)
    }
}

fn blob(hash: &TokenHash) -> Vec<u8> {
    hash.0.to_vec()
}

#[async_trait]
impl SessionStore for SqliteSessions {
    fn technology(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database.ping().await
    }

    async fn open(&self, session: &Session, token: &TokenHash) -> Result<(), StoreError> {
        let id = session.id.as_str();
        let expires_at = session.expires_at.as_millis();
        let open = Statement::new(OPEN)
            .bind(id)
            .bind(session.user.as_str())
            .bind(session.created_at.as_millis())
            .bind(session.last_used_at.as_millis())
            .bind(expires_at)
            .bind(session.user_agent.as_str())
            .bind(session.address.as_str());
        let first = Statement::new(FIRST_TOKEN)
            .bind(blob(token))
            .bind(id)
            .bind(expires_at);
        let family = Statement::new(FAMILY).bind(blob(token)).bind(id);
        let results = self.database.transact(vec![open, first, family]).await?;
        if results.last().is_none_or(Vec::is_empty) {
            return Err(self.refused(format!("{id} has another token")));
        }
        Ok(())
    }

    async fn rotate(
        &self,
        old: &TokenHash,
        new: &TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, StoreError> {
        if old == new {
            return Err(self.refused("a token can't take its own place"));
        }
        let statements = [SPEND, SUCCEED, USE, REVOKE_FAMILY, END_FAMILY, ROTATED].map(|sql| {
            Statement::new(sql)
                .bind(blob(old))
                .bind(blob(new))
                .bind(now.as_millis())
                .bind(expires_at.as_millis())
        });
        let mut results = self.database.transact(statements.into()).await?;
        let rows = results.pop().unwrap_or_default();
        let rotations = self.database.decode(rows, |row| self.rotation(row))?;
        Ok(rotations.into_iter().next().unwrap_or(Rotation::Unknown))
    }

    async fn session_of(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let statement = Statement::new(SESSION_OF).bind(blob(token)).bind(now.as_millis());
        let rows = self.database.read(statement).await?;
        let sessions = self.database.decode(rows, |row| self.session(row))?;
        Ok(sessions.into_iter().next())
    }

    async fn list(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let statement = Statement::new(LIST)
            .bind(user.as_str())
            .bind(now.as_millis())
            .bind(LIST_LIMIT);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| self.session(row))
    }

    async fn revoke(&self, user: &UserId, session: &SessionId, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.end(user, Some(session), None, now).await? > 0)
    }

    async fn revoke_all(
        &self,
        user: &UserId,
        except: Option<&SessionId>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.end(user, None, except, now).await
    }

    async fn revoked_since(&self, sequence: i64, limit: usize) -> Result<Revocations, StoreError> {
        let statement = Statement::new(REVOKED).bind(sequence).bind(limit);
        let rows = self.database.read(statement).await?;
        let rows = self.database.decode(rows, |row| {
            let sequence: i64 = row.integer("sequence")?;
            let session = self.identifier("session_id", SessionId::parse(&row.text("session_id")?))?;
            Ok((sequence, session))
        })?;
        Ok(Revocations {
            sequence: rows.last().map_or(sequence, |(last, _)| *last),
            sessions: rows.into_iter().map(|(_, session)| session).collect(),
        })
    }

    async fn hit(&self, key: &str, now: Timestamp, window: Duration, amount: u64) -> Result<u64, StoreError> {
        let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
        let starts_at = now.as_millis().saturating_sub(now.as_millis().rem_euclid(length));
        let statement = Statement::new(HIT)
            .bind(key)
            .bind(starts_at)
            .bind(starts_at.saturating_add(length))
            .bind(amount);
        let rows = self.database.transact_one(statement).await?;
        let count = self.database.decode(rows, |row| row.integer("count"))?.pop();
        count.ok_or_else(|| self.database.corrupt("a hit was not counted"))
    }

    async fn counts(&self, counts: &[Count], now: Timestamp) -> Result<Vec<u64>, StoreError> {
        let keys: Vec<&str> = counts.iter().map(|count| count.key.as_str()).collect();
        let keys = serde_json::to_string(&keys).map_err(|error| StoreError::Refused {
            store: self.database.name(),
            cause: Box::new(error),
        })?;
        let rows = self
            .database
            .read(Statement::new(COUNTS).bind(keys).bind(now.as_millis()))
            .await?;
        let found: HashMap<String, u64> = self
            .database
            .decode(rows, |row| Ok((row.text("key")?, row.integer("count")?)))?
            .into_iter()
            .collect();
        Ok(counts
            .iter()
            .map(|count| found.get(&count.key).copied().unwrap_or_default())
            .collect())
    }

    async fn forget(&self, key: &str) -> Result<(), StoreError> {
        let statement = Statement::new(FORGET).bind(key);
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn issue(
        &self,
        purpose: Purpose,
        token: &TokenHash,
        user: &UserId,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = Statement::new(ISSUE)
            .bind(purpose.as_str())
            .bind(user.as_str())
            .bind(blob(token))
            .bind(expires_at.as_millis());
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn redeem(
        &self,
        purpose: Purpose,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let statement = Statement::new(REDEEM)
            .bind(purpose.as_str())
            .bind(blob(token))
            .bind(now.as_millis());
        let rows = self.database.transact_one(statement).await?;
        let users = self.database.decode(rows, |row| {
            self.identifier("user_id", UserId::parse(&row.text("user_id")?))
        })?;
        Ok(users.into_iter().next())
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows = self.database.read(Statement::new(KEYS)).await?;
        self.database.decode(rows, |row| {
            Ok(SigningKeyRow {
                id: row.text("id")?,
                material: row
                    .optional_blob("material")?
                    .ok_or_else(|| self.database.corrupt("a signing key without material"))?,
                created_at: Timestamp::from_millis(row.integer("created_at")?),
            })
        })
    }

    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError> {
        let add = Statement::new(ADD_KEY)
            .bind(key.id.as_str())
            .bind(key.material.clone())
            .bind(key.created_at.as_millis())
            .bind(unless_newer_than.as_millis());
        let look = Statement::new(KEY).bind(key.id.as_str());
        let results = self.database.transact(vec![add, look]).await?;
        Ok(results.last().is_some_and(|rows| !rows.is_empty()))
    }

    async fn remove_signing_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        let statement = Statement::new(REMOVE_KEYS).bind(before.as_millis());
        Ok(self.database.transact_one(statement).await?.len() as u64)
    }

    async fn sweep(
        &self,
        now: Timestamp,
        keep_revocations: Duration,
        limit: usize,
    ) -> Result<u64, StoreError> {
        let expired = SWEEP_EXPIRED.iter().map(|sql| (*sql, now));
        let revoked = SWEEP_REVOKED
            .iter()
            .map(|sql| (*sql, now.minus(keep_revocations)));
        let statements = expired
            .chain(revoked)
            .map(|(sql, at)| Statement::new(sql).bind(at.as_millis()).bind(limit))
            .collect();
        let results = self.database.transact(statements).await?;
        Ok(results.iter().map(Vec::len).sum::<usize>() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::stores::sessions::contract;
    use crate::stores::sqlite;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_contract_is_kept() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        let store = SqliteSessions::open(&writer, directory.path()).await.unwrap();
        contract::suite(Arc::new(store)).await;
    }

    /// None of what runs all the time may walk a whole table.
    #[tokio::test]
    async fn every_query_goes_by_an_index() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        let store = SqliteSessions::open(&writer, directory.path()).await.unwrap();
        let rotation = [SPEND, SUCCEED, USE, REVOKE_FAMILY, END_FAMILY, ROTATED];
        let others = [
            FIRST_TOKEN,
            SESSION_OF,
            LIST,
            REVOKE,
            END,
            REVOKED,
            FORGET,
            REDEEM,
        ];
        let swept = SWEEP_EXPIRED.iter().chain(&SWEEP_REVOKED);
        for sql in rotation.iter().chain(&others).chain(swept) {
            let explain = Statement::new(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan = format!("{:?}", store.database.read(explain).await.unwrap());
            for table in [
                "sessions",
                "tokens",
                "s",
                "old",
                "new",
                "revocations",
                "hits",
                "one_time_tokens",
            ] {
                assert!(!plan.contains(&format!("SCAN {table}\"")), "{sql}: {plan}");
            }
        }
    }
}
