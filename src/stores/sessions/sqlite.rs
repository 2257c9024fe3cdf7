//! Sessions in SQLite. The first statement of a transaction decides who wins a race for a token; the others follow from the
//! state after it.

use std::time::Duration;

use async_trait::async_trait;

use super::{LIST_LIMIT, REPEATABLE_FOR, Rotation, Session, SessionStore};
use crate::stores::sql::{Columns, SqlDatabase, has_row};
use crate::stores::sqlite::Database;
use crate::stores::{StoreError, TokenHash};
use souk_domain::identifiers::InvalidIdentifier;
use souk_domain::{SessionId, Timestamp, UserId};
use souk_embedded::Statement;

/// The schema of the database `sessions`: sessions, counters and one-time codes.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_sessions.sql"),
    include_str!("migrations/0002_without_keys.sql"),
    include_str!("migrations/0003_proofs.sql"),
];

const OPEN: &str = "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, user_agent, address) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";
const FIRST_TOKEN: &str = "INSERT INTO tokens (hash, session_id, expires_at) SELECT ?1, ?2, ?3 \
     WHERE NOT EXISTS (SELECT 1 FROM tokens WHERE session_id = ?2) ON CONFLICT (hash) DO NOTHING";
const FAMILY: &str = "SELECT session_id FROM tokens WHERE hash = ?1 AND session_id = ?2";

// The parameters of a rotation, the same in all of its statements: ?1 old, ?2 new, ?3 now, ?4 expires_at, ?5 the time since
// which an exchange may be repeated.
const SPEND: &str = "UPDATE tokens SET successor = ?2, spent_at = ?3 \
     WHERE hash = ?1 AND successor IS NULL AND expires_at > ?3 AND EXISTS \
         (SELECT 1 FROM sessions AS s WHERE s.id = tokens.session_id AND s.revoked_at IS NULL AND s.expires_at > ?3)";
const SUCCEED: &str = "INSERT INTO tokens (hash, session_id, expires_at) \
     SELECT ?2, session_id, ?4 FROM tokens WHERE hash = ?1 AND successor = ?2 ON CONFLICT (hash) DO NOTHING";
/// The session in which `?2` took the place of `?1`, by this call or lately by one like it.
const USE: &str = "UPDATE sessions SET last_used_at = max(last_used_at, ?3), expires_at = ?4 \
     WHERE revoked_at IS NULL AND expires_at > ?3 AND id = \
         (SELECT session_id FROM tokens WHERE hash = ?1 AND successor = ?2 AND spent_at > ?5)";
/// The session of the token `?1`, where that was spent for another one, or too long ago.
const END_FAMILY: &str = "UPDATE sessions SET revoked_at = ?3 WHERE revoked_at IS NULL AND id IN \
     (SELECT session_id FROM tokens WHERE hash = ?1 AND expires_at > ?3 AND successor IS NOT NULL \
         AND (successor <> ?2 OR coalesce(spent_at, 0) <= ?5))";
const ROTATED: &str = "SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.user_agent, s.address, \
         s.revoked_at IS NOT NULL, old.successor IS NOT NULL, old.successor IS ?2 AND coalesce(old.spent_at, 0) > ?5 \
     FROM tokens AS old JOIN sessions AS s ON s.id = old.session_id \
     WHERE old.hash = ?1 AND old.expires_at > ?3 AND s.expires_at > ?3";
const ROTATION: [&str; 5] = [SPEND, SUCCEED, USE, END_FAMILY, ROTATED];

const SESSION_OF: &str = "SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.user_agent, s.address \
     FROM tokens AS old JOIN sessions AS s ON s.id = old.session_id \
     WHERE old.hash = ?1 AND old.expires_at > ?2 AND s.expires_at > ?2";
const FIND: &str = "SELECT id, user_id, created_at, last_used_at, expires_at, user_agent, address FROM sessions \
     WHERE id = ?1 AND user_id = ?2 AND revoked_at IS NULL AND expires_at > ?3";
const LIST: &str = "SELECT id, user_id, created_at, last_used_at, expires_at, user_agent, address FROM sessions \
     WHERE user_id = ?1 AND revoked_at IS NULL AND expires_at > ?2 ORDER BY last_used_at DESC, id LIMIT ?3";
const STEP_UP: &str = "UPDATE sessions SET stepped_up_at = max(coalesce(stepped_up_at, 0), ?3) \
     WHERE id = ?1 AND user_id = ?2 AND revoked_at IS NULL AND expires_at > ?3 RETURNING 1";
const STEPPED_UP: &str = "SELECT stepped_up_at FROM sessions \
     WHERE id = ?1 AND user_id = ?2 AND revoked_at IS NULL AND expires_at > ?3 AND stepped_up_at IS NOT NULL";
const REMEMBER: &str = "INSERT INTO networks (hash, expires_at) VALUES (?1, ?2) \
     ON CONFLICT (hash) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)";
const REMEMBERED: &str = "SELECT 1 FROM networks WHERE hash = ?1 AND expires_at > ?2";
const END: &str = "UPDATE sessions SET revoked_at = ?3 WHERE id IN (SELECT value FROM json_each(?1)) \
     AND user_id = ?2 AND revoked_at IS NULL AND expires_at > ?3 RETURNING 1";

/// What a sweep removes that expired or was ended at or before `?1`, at most `?2` rows of each.
const SWEEP_TOKENS: &str = "DELETE FROM tokens WHERE hash IN \
     (SELECT hash FROM tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1";
const SWEEP_EXPIRED: &str = "DELETE FROM sessions WHERE id IN \
     (SELECT id FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1";
const SWEEP_NETWORKS: &str = "DELETE FROM networks WHERE hash IN \
     (SELECT hash FROM networks WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1";
const SWEEP_ENDED: &str = "DELETE FROM sessions WHERE id IN \
     (SELECT id FROM sessions WHERE revoked_at <= ?1 ORDER BY revoked_at LIMIT ?2) RETURNING 1";

/// The adapter.
pub struct SqliteSessions(pub Database);

impl SqliteSessions {
    fn identifier<T>(&self, column: &str, parsed: Result<T, InvalidIdentifier>) -> Result<T, StoreError> {
        parsed.map_err(|error| self.0.corrupt(format!("column {column}: {error}")))
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

    /// The outcome of a rotation, by the row after it.
    fn rotation(&self, row: &mut Columns) -> Result<Rotation, StoreError> {
        let session = self.session(row)?;
        let revoked = row.integer::<i64>("revoked")? != 0;
        let spent = row.integer::<i64>("spent")? != 0;
        let by_this_call = row.integer::<i64>("by_this_call")? != 0;
        Ok(match (spent, by_this_call) {
            (true, true) if !revoked => Rotation::Rotated(session),
            (true, false) => Rotation::Reused(session),
            // A live one that this call did not spend: its session has ended.
            (true, true) | (false, _) => Rotation::Unknown,
        })
    }

    async fn sessions(&self, statement: Statement) -> Result<Vec<Session>, StoreError> {
        let rows = self.0.read(statement).await?;
        self.0.decode(rows, |row| self.session(row))
    }
}

/// A statement on the live session of this user with this id.
fn of_session(sql: &'static str, user: &UserId, session: &SessionId, now: Timestamp) -> Statement {
    Statement::new(sql)
        .bind(session.as_str())
        .bind(user.as_str())
        .bind(now.as_millis())
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
        self.0.ping().await
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
        let results = self.0.transact(vec![open, first, family]).await?;
        if has_row(&results, 2) {
            Ok(())
        } else {
            Err(self.0.refused(format!("{id} has another token")))
        }
    }

    async fn rotate(
        &self,
        old: &TokenHash,
        new: &TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, StoreError> {
        if old == new {
            return Err(self.0.refused("a token can't replace itself"));
        }
        let statements = ROTATION.map(|sql| {
            Statement::new(sql)
                .bind(blob(old))
                .bind(blob(new))
                .bind(now.as_millis())
                .bind(expires_at.as_millis())
                .bind(now.minus(REPEATABLE_FOR).as_millis())
        });
        let mut results = self.0.transact(statements.into()).await?;
        let rows = results.pop().unwrap_or_default();
        let mut rotations = self.0.decode(rows, |row| self.rotation(row))?;
        Ok(rotations.pop().unwrap_or(Rotation::Unknown))
    }

    async fn session_of(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let statement = Statement::new(SESSION_OF).bind(blob(token)).bind(now.as_millis());
        Ok(self.sessions(statement).await?.pop())
    }

    async fn find(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let statement = of_session(FIND, user, session, now);
        Ok(self.sessions(statement).await?.pop())
    }

    async fn list(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let statement = Statement::new(LIST)
            .bind(user.as_str())
            .bind(now.as_millis())
            .bind(LIST_LIMIT);
        self.sessions(statement).await
    }

    async fn end(&self, user: &UserId, sessions: &[SessionId], now: Timestamp) -> Result<u64, StoreError> {
        let ids: Vec<&str> = sessions.iter().map(SessionId::as_str).collect();
        let statement = Statement::new(END)
            .bind(self.0.json(&ids)?)
            .bind(user.as_str())
            .bind(now.as_millis());
        self.0.count(statement).await
    }

    async fn step_up(&self, user: &UserId, session: &SessionId, now: Timestamp) -> Result<bool, StoreError> {
        let statement = of_session(STEP_UP, user, session, now);
        Ok(self.0.count(statement).await? > 0)
    }

    async fn stepped_up_at(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.0.read(of_session(STEPPED_UP, user, session, now)).await?;
        let mut times = self.0.decode(rows, |row| row.integer("stepped_up_at"))?;
        Ok(times.pop().map(Timestamp::from_millis))
    }

    async fn remember_network(&self, network: &TokenHash, expires_at: Timestamp) -> Result<(), StoreError> {
        let statement = Statement::new(REMEMBER)
            .bind(blob(network))
            .bind(expires_at.as_millis());
        self.0.transact_one(statement).await.map(drop)
    }

    async fn remembers_network(&self, network: &TokenHash, now: Timestamp) -> Result<bool, StoreError> {
        let statement = Statement::new(REMEMBERED)
            .bind(blob(network))
            .bind(now.as_millis());
        Ok(!self.0.read(statement).await?.is_empty())
    }

    async fn sweep(&self, now: Timestamp, keep_ended: Duration, limit: usize) -> Result<u64, StoreError> {
        let ended = now.minus(keep_ended);
        let statements = [
            (SWEEP_TOKENS, now),
            (SWEEP_EXPIRED, now),
            (SWEEP_ENDED, ended),
            (SWEEP_NETWORKS, now),
        ]
        .map(|(sql, until)| Statement::new(sql).bind(until.as_millis()).bind(limit));
        let results = self.0.transact(statements.into()).await?;
        Ok(results.iter().map(Vec::len).sum::<usize>() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::sessions::contract;
    use crate::stores::testing::{Expiry, assert_indexed, open_database};

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("sessions").await;
        contract::suite(std::sync::Arc::new(SqliteSessions(database)), Expiry::BySweep).await;
    }

    #[tokio::test]
    async fn queries_use_indexes() {
        assert_indexed("sessions", &ROTATION).await;
        let others = [
            FIRST_TOKEN,
            SESSION_OF,
            FIND,
            LIST,
            END,
            STEP_UP,
            STEPPED_UP,
            REMEMBERED,
        ];
        assert_indexed("sessions", &others).await;
        assert_indexed(
            "sessions",
            &[SWEEP_TOKENS, SWEEP_EXPIRED, SWEEP_ENDED, SWEEP_NETWORKS],
        )
        .await;
    }
}
