//! SQL Server as the technology of a store: connections, migrations, and the errors as [`StoreError`].
//!
//! The tables of a store begin with its name and are in the default schema of the user: several stores may share a database.
//! Texts are in columns of a binary UTF-8 collation, so that they compare bytewise; a parameter is UTF-16, and is converted by the
//! statement, not the column, or no index would serve.

mod address;
mod connection;
mod failure;
mod migrations;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub(super) mod values;

use std::time::Duration;

use async_trait::async_trait;
use tiberius::error::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::compat::Compat;

use self::connection::{Backend, Server};
use self::values::Query;
use super::StoreError;
use super::sql::SqlDatabase;
use super::sql_pool::{Access, Connection, Failure, Lease, Meaning, SqlPool, Technology};
use souk_embedded::{Rows, Statement, Value};

/// A connection of the driver.
type Session = tiberius::Client<Compat<TcpStream>>;

/// How long a statement waits for a named lock: less than the time limit of a call.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// Takes a named lock until the end of the transaction. `@P1` is its name, `@P2` the time limit in milliseconds.
const LOCK: &str = "DECLARE @lock int; \
     EXEC @lock = sp_getapplock @Resource = @P1, @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = @P2; \
     IF @lock < 0 THROW 51222, 'another transaction holds the named lock', 1";

/// Whether a session is gone: nobody else gets the lock that it holds.
const HAS_ENDED: &str = "DECLARE @lock int; \
     EXEC @lock = sp_getapplock @Resource = @P1, @LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = @P2; \
     IF @lock >= 0 EXEC sp_releaseapplock @Resource = @P1, @LockOwner = 'Session'; \
     SELECT @lock";

/// SQL Server.
pub struct Mssql;

/// The connections of one store.
pub type MssqlPool = SqlPool<Mssql>;

impl MssqlPool {
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
        let server = Server::parse(store, url).await?;
        let mut connection = Mssql::connect(&server).await?;
        connection::warn_of_settings(&mut connection, store).await?;
        migrations::apply(&server, &mut connection, migrations).await?;
        Ok(Self::new(server, connection))
    }

    /// A statement on the tables of this store.
    pub(super) fn sql(&self, sql: &str) -> String {
        sql_of(self.name(), sql)
    }
}

/// A statement on the tables of a store, with the collation of all texts.
fn sql_of(store: &str, sql: &str) -> String {
    sql.replace("{store}", store)
        .replace("{utf8}", "COLLATE Latin1_General_100_BIN2_UTF8")
}

/// Named locks belong to a database, which several stores may share.
fn lock_of(server: &Server, name: &str) -> String {
    format!("souk {} {name}", server.store)
}

/// In milliseconds, as the server's procedures take it.
fn milliseconds(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)
}

#[async_trait]
impl Technology for Mssql {
    const NAME: &'static str = "mssql";
    const BEGIN: &'static str = "BEGIN TRANSACTION";
    type Server = Server;
    type Session = Session;
    type Backend = Backend;
    type Query<'q> = Query<'q>;
    type Error = Error;

    fn store(server: &Server) -> &'static str {
        server.store
    }

    async fn connect(server: &Server) -> Result<Connection<Self>, StoreError> {
        connection::connect(server).await
    }

    async fn ping(session: &mut Session) -> Result<(), Error> {
        Query::new("SELECT 1").rows(session).await.map(drop)
    }

    async fn rows<'q>(session: &mut Session, query: Query<'q>) -> Result<Rows, Error> {
        query.rows(session).await
    }

    fn plain(sql: &'static str) -> Query<'static> {
        Query::new(sql)
    }

    /// With parameters as SQL Server writes them. No statement has a question mark elsewhere.
    fn query<'q>(statement: &'q Statement, values: &'q [Value]) -> Query<'q> {
        let query = Query::new(statement.sql.replace('?', "@P"));
        values.iter().fold(query, Query::bind_value)
    }

    fn alone(server: &Server, name: &str) -> Query<'static> {
        Query::new(LOCK)
            .bind(lock_of(server, name))
            .bind(milliseconds(LOCK_LIMIT))
    }

    /// The connection of each is closed, which the server notices; until then it holds its lock. Sessions are not killed, since
    /// that needs a right over all of the server.
    async fn end(lease: &mut Lease<Self>, sessions: &[Backend], deadline: Instant) -> Result<bool, Failure> {
        for Backend(name) in sessions {
            let ask = Query::new(HAS_ENDED)
                .bind(name.as_str())
                .bind(milliseconds(LOCK_LIMIT));
            let lock = lease.rows(Access::Read, deadline, ask).await?;
            if !matches!(lock.iter().flatten().next(), Some(Value::Integer(0..))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn meaning(error: &Error) -> Meaning {
        failure::meaning(error)
    }

    fn is_lost_race(error: &Error) -> bool {
        failure::is_lost_race(error)
    }
}
