//! MariaDB and MySQL as the technology of a store: connections, migrations, and the errors as
//! [`StoreError`].
//!
//! The tables of a store begin with its name, `{store}_` in statements, so that several stores may share a database.
//!
//! **Statements are texts with their values in them**, texts as hexadecimal literals, in which nothing can be quoted
//! wrongly. So several statements, and lists of any length, take one round trip, and the server compares bytes.
//!
//! **Reads never go to a replica.** A port promises that a read sees every write that was acknowledged before it began, and a
//! replica lags. A connection to a server that only reads is refused, so that a URL that leads to a replica fails
//! instead of serving old rows.

mod connection;
mod failure;
mod migrations;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub(super) mod values;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::Error;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, raw_sql};
use tokio::time::{Instant, sleep};

use self::connection::{Backend, Server};
use super::StoreError;
use super::sql::SqlDatabase;
use super::sql_pool::{
    self, Access, CALL_LIMIT, Connection, Failure, Lease, Meaning, SqlPool, Technology, attempts,
};
use souk_embedded::{Rows, Statement, Value};

/// Between two looks at a session that is being ended.
const LOOK: Duration = Duration::from_millis(10);

/// MariaDB and MySQL.
pub struct Mysql;

/// The connections of one store.
pub type MysqlPool = SqlPool<Mysql>;

/// What a transaction does after it has seen the rows that it has locked.
pub(super) enum Decision {
    /// It writes these, and is committed.
    Write(Vec<String>),
    /// There is nothing to write.
    Nothing,
}

impl MysqlPool {
    /// Connects to the database of `url`, and brings the tables of the store up to date by `migrations`, oldest first. Any number of
    /// nodes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server does not answer, or only reads. [`StoreError::Refused`] for a URL that can't
    /// be used, a server that does not fit, and a schema that is newer than this build.
    pub async fn open(
        store: &'static str,
        url: &str,
        migrations: &[&'static str],
    ) -> Result<Self, StoreError> {
        let server = Server::parse(store, url)?;
        let mut connection = Mysql::connect(&server).await?;
        connection::check_settings(&mut connection, store).await?;
        migrations::apply(&server, &mut connection, migrations).await?;
        Ok(Self::new(server, connection))
    }

    /// A transaction of two round trips: `lock` reads rows and locks them, and `decide` says what to write. As it holds the
    /// locks, what it decides is what happens.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] where the answer to the second is lost. For [`Access::TracedWrite`], whoever asks what
    /// became of it calls [`SqlPool::settle`] first.
    pub(super) async fn decide<R: Send>(
        &self,
        access: Access,
        lock: String,
        decide: impl Fn(Rows) -> Result<(Decision, R), StoreError> + Send + Sync,
    ) -> Result<R, StoreError> {
        let deadline = Instant::now() + CALL_LIMIT;
        if access == Access::TracedWrite {
            self.limit_lost(deadline).await?;
        }
        let lock: Arc<str> = format!("BEGIN; {lock}").into();
        let (lock, decide) = (&lock, &decide);
        attempts::<Mysql, _, _>(|| async move {
            let mut lease = self.acquire(deadline).await?;
            let work = async {
                // Nothing is durable before the second is sent, so that until then an answer that is missing means nothing.
                let rows = lease.rows(Access::Read, deadline, Arc::clone(lock)).await?;
                let (decision, result) = decide(rows).map_err(Failure::from)?;
                match decision {
                    Decision::Write(statements) => {
                        let all = format!("{}; COMMIT", statements.join("; "));
                        lease.rows(access, deadline, all.into()).await?;
                    }
                    Decision::Nothing => {
                        lease
                            .rows(Access::Read, deadline, Mysql::plain("ROLLBACK"))
                            .await?;
                    }
                }
                Ok::<_, Failure>(result)
            }
            .await;
            if work.is_err() {
                // What could not be rolled back ends with its connection.
                let _ = lease.rows(Access::Read, deadline, Mysql::plain("ROLLBACK")).await;
            }
            work
        })
        .await
    }

    /// Several statements in one transaction and one round trip; the rows of all.
    ///
    /// # Errors
    /// As of [`SqlPool::execute`].
    pub(super) async fn execute_all(&self, statements: &[String]) -> Result<Rows, StoreError> {
        let deadline = Instant::now() + CALL_LIMIT;
        let all: Arc<str> = format!("BEGIN; {}; COMMIT", statements.join("; ")).into();
        let all = &all;
        attempts::<Mysql, _, _>(|| async move {
            let mut lease = self.acquire(deadline).await?;
            let done = lease.rows(Access::Write, deadline, Arc::clone(all)).await;
            if done.is_err() {
                let _ = lease.rows(Access::Read, deadline, Mysql::plain("ROLLBACK")).await;
            }
            done
        })
        .await
    }

    /// A statement on the tables of this store.
    pub(super) fn sql(&self, sql: &str, literals: &[String]) -> String {
        values::filled(&sql.replace("{store}", self.name()), literals)
    }
}

#[async_trait]
impl Technology for Mysql {
    const NAME: &'static str = "mysql";
    type Server = Server;
    type Session = MySqlConnection;
    type Backend = Backend;
    type Query<'q> = Arc<str>;
    type Error = Error;

    fn store(server: &Server) -> &'static str {
        server.store
    }

    async fn connect(server: &Server) -> Result<Connection<Self>, StoreError> {
        connection::connect(server).await
    }

    async fn ping(session: &mut MySqlConnection) -> Result<(), Error> {
        session.ping().await
    }

    async fn rows<'q>(session: &mut MySqlConnection, query: Arc<str>) -> Result<Rows, Error> {
        values::rows(&raw_sql(AssertSqlSafe(query)).fetch_all(session).await?)
    }

    fn plain(sql: &'static str) -> Arc<str> {
        sql.into()
    }

    fn query<'q>(statement: &'q Statement, values: &'q [Value]) -> Arc<str> {
        let literals: Vec<String> = values.iter().map(values::literal).collect();
        values::filled(&statement.sql, &literals).into()
    }

    /// The lock of a row that every store has is enough, whatever the name: it is held until the end of the transaction,
    /// as no named lock of the server is.
    fn alone(server: &Server, _: &str) -> Arc<str> {
        format!(
            "SELECT version FROM {}_migrations ORDER BY version LIMIT 1 FOR UPDATE",
            server.store
        )
        .into()
    }

    /// A session holds its named lock until its transaction is over and it reads no more. One that does not hold it any
    /// more (the server was restarted, or another has taken over) can't execute anything; who has its number now is
    /// another.
    async fn end(lease: &mut Lease<Self>, sessions: &[Backend], deadline: Instant) -> Result<bool, Failure> {
        for Backend(name) in sessions {
            let holder: Arc<str> = format!("SELECT IS_USED_LOCK('{name}')").into();
            let mut ended = None;
            while let Some(Value::Integer(id)) = lease
                .rows(Access::Read, deadline, Arc::clone(&holder))
                .await?
                .into_iter()
                .flatten()
                .next()
            {
                if ended != Some(id) {
                    // It may have ended by itself in between; the next look tells.
                    let kill = format!("KILL CONNECTION {id}").into();
                    let _ = lease.rows(Access::Read, deadline, kill).await;
                    ended = Some(id);
                }
                sleep(LOOK).await;
            }
        }
        Ok(true)
    }

    fn meaning(error: &Error) -> Meaning {
        sql_pool::sqlx::meaning(error, failure::meaning)
    }

    fn is_lost_race(error: &Error) -> bool {
        error.as_database_error().is_some_and(failure::is_lost_race)
    }
}
