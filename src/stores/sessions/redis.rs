//! Sessions in Redis: a table with its indexes, which a sweep clears by the clock of the nodes, and a key for each refresh token and
//! network, which the server removes.

use std::cmp::Reverse;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};

use super::{LIST_LIMIT, REPEATABLE_FOR, Rotation, Session, SessionStore};
use crate::stores::redis::{Server, in_parts, keep_function, script};
use crate::stores::{StoreError, TokenHash};
use souk_domain::identifiers::InvalidIdentifier;
use souk_domain::{SessionId, Timestamp, UserId};

static OPEN: LazyLock<Script> = script!(keep_function(); "lua/sessions.lua", "lua/open.lua");
static ROTATE: LazyLock<Script> = script!(keep_function(); "lua/sessions.lua", "lua/rotate.lua");
static SESSION_OF: LazyLock<Script> = script!("lua/sessions.lua", "lua/session_of.lua");
static FIND: LazyLock<Script> = script!("lua/sessions.lua", "lua/find.lua");
static LIST: LazyLock<Script> = script!("lua/sessions.lua", "lua/list.lua");
static END: LazyLock<Script> = script!("lua/sessions.lua", "lua/end.lua");
static STEP_UP: LazyLock<Script> = script!("lua/sessions.lua", "lua/step_up.lua");
static STEPPED_UP: LazyLock<Script> = script!("lua/sessions.lua", "lua/stepped_up.lua");
static SWEEP: LazyLock<Script> = script!("lua/sessions.lua", "lua/sweep.lua");
static REMEMBER: LazyLock<Script> = script!(keep_function(); "lua/remember.lua");

/// A session as the scripts return it: id, user, created_at, last_used_at, expires_at, user_agent, address.
type Row = (String, String, i64, i64, i64, String, String);

/// The adapter.
pub struct RedisSessions {
    server: Server,
    /// The keys of the table and its indexes.
    table: [Vec<u8>; 4],
}

impl RedisSessions {
    /// The sessions on `server`.
    pub fn new(server: &Server) -> Self {
        let table = [
            "sessions",
            "sessions:by-user",
            "sessions:by-expiry",
            "sessions:ended",
        ];
        Self {
            server: server.clone(),
            table: table.map(|name| server.key(name)),
        }
    }

    fn on_table(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        call.key(&self.table);
        call
    }

    /// A script on the session of this user with this id.
    fn on_session(
        &self,
        script: &'static Script,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> ScriptInvocation<'static> {
        let mut call = self.on_table(script);
        call.arg(user.as_str()).arg(session.as_str()).arg(now.as_millis());
        call
    }

    fn token(&self, token: &TokenHash) -> Vec<u8> {
        self.server.key_of("token:", &token.0)
    }

    fn network(&self, network: &TokenHash) -> Vec<u8> {
        self.server.key_of("network:", &network.0)
    }

    fn identifier<T>(&self, parsed: Result<T, InvalidIdentifier>) -> Result<T, StoreError> {
        parsed.map_err(|error| self.server.corrupt(error.to_string()))
    }

    fn session(&self, row: Row) -> Result<Session, StoreError> {
        let (id, user, created_at, last_used_at, expires_at, user_agent, address) = row;
        Ok(Session {
            id: self.identifier(SessionId::parse(&id))?,
            user: self.identifier(UserId::parse(&user))?,
            created_at: Timestamp::from_millis(created_at),
            last_used_at: Timestamp::from_millis(last_used_at),
            expires_at: Timestamp::from_millis(expires_at),
            user_agent,
            address,
        })
    }

    async fn sweep_index(&self, index: &str, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        in_parts(limit, |rows| {
            let mut call = self.on_table(&SWEEP);
            call.arg(index).arg(until.as_millis()).arg(rows);
            async move { self.server.write(&call).await }
        })
        .await
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    fn technology(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.server.ping().await
    }

    async fn open(&self, session: &Session, token: &TokenHash) -> Result<(), StoreError> {
        let mut call = self.on_table(&OPEN);
        call.key(self.token(token))
            .arg(session.id.as_str())
            .arg(session.user.as_str())
            .arg(session.created_at.as_millis())
            .arg(session.last_used_at.as_millis())
            .arg(session.expires_at.as_millis())
            .arg(&session.user_agent)
            .arg(&session.address);
        if self.server.write(&call).await? {
            Ok(())
        } else {
            let error = format!("{} has another token", session.id);
            Err(self.server.refused(error))
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
            return Err(self.server.refused("a token can't replace itself"));
        }
        let mut call = self.on_table(&ROTATE);
        call.key(self.token(old))
            .key(self.token(new))
            .arg(&new.0)
            .arg(now.as_millis())
            .arg(expires_at.as_millis())
            .arg(now.minus(REPEATABLE_FOR).as_millis());
        let (outcome, row): (u8, Option<Row>) = self.server.write(&call).await?;
        Ok(match (outcome, row) {
            (0, None) => Rotation::Unknown,
            (1, Some(row)) => Rotation::Rotated(self.session(row)?),
            (2, Some(row)) => Rotation::Reused(self.session(row)?),
            _ => return Err(self.server.corrupt("a rotation without a session")),
        })
    }

    async fn session_of(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let mut call = self.on_table(&SESSION_OF);
        call.key(self.token(token)).arg(now.as_millis());
        let row: Option<Row> = self.server.read(&call).await?;
        row.map(|row| self.session(row)).transpose()
    }

    async fn find(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let call = self.on_session(&FIND, user, session, now);
        let row: Option<Row> = self.server.read(&call).await?;
        row.map(|row| self.session(row)).transpose()
    }

    async fn list(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let mut call = self.on_table(&LIST);
        call.arg(user.as_str()).arg(now.as_millis());
        let rows: Vec<Row> = self.server.read(&call).await?;
        let mut sessions = rows
            .into_iter()
            .map(|row| self.session(row))
            .collect::<Result<Vec<_>, _>>()?;
        sessions
            .sort_unstable_by(|a, b| (Reverse(a.last_used_at), &a.id).cmp(&(Reverse(b.last_used_at), &b.id)));
        sessions.truncate(LIST_LIMIT);
        Ok(sessions)
    }

    async fn end(&self, user: &UserId, sessions: &[SessionId], now: Timestamp) -> Result<u64, StoreError> {
        let mut call = self.on_table(&END);
        call.arg(user.as_str()).arg(now.as_millis());
        for session in sessions {
            call.arg(session.as_str());
        }
        self.server.write(&call).await
    }

    async fn step_up(&self, user: &UserId, session: &SessionId, now: Timestamp) -> Result<bool, StoreError> {
        let call = self.on_session(&STEP_UP, user, session, now);
        self.server.write(&call).await
    }

    async fn stepped_up_at(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let call = self.on_session(&STEPPED_UP, user, session, now);
        let at: Option<i64> = self.server.read(&call).await?;
        Ok(at.map(Timestamp::from_millis))
    }

    async fn remember_network(&self, network: &TokenHash, expires_at: Timestamp) -> Result<(), StoreError> {
        let mut call = REMEMBER.prepare_invoke();
        call.key(self.network(network)).arg(expires_at.as_millis());
        self.server.write(&call).await
    }

    async fn remembers_network(&self, network: &TokenHash, now: Timestamp) -> Result<bool, StoreError> {
        let mut look = redis::cmd("GET");
        look.arg(self.network(network));
        let expires_at: Option<i64> = self.server.read(&look).await?;
        Ok(expires_at.is_some_and(|expires_at| expires_at > now.as_millis()))
    }

    /// Tokens and networks expire by themselves and are not counted.
    async fn sweep(&self, now: Timestamp, keep_ended: Duration, limit: usize) -> Result<u64, StoreError> {
        let expired = self.sweep_index("expired", now, limit).await?;
        let ended = self.sweep_index("ended", now.minus(keep_ended), limit).await?;
        Ok(expired + ended)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::redis::testing::on_server;
    use crate::stores::sessions::contract;
    use crate::stores::testing::Expiry;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        on_server(async |server| {
            contract::suite(Arc::new(RedisSessions::new(&server)), Expiry::ByItself).await;
        })
        .await;
    }
}
