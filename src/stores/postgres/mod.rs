//! PostgreSQL as the technology of a store: connections, migrations, and the errors as [`StoreError`].
//!
//! Every store has a schema of its own, `souk_<store>`, which is the search path of its connections: statements name tables
//! alone, and several stores may share a database.
//!
//! **Reads never go to a replica.** A port promises that a read sees every write that was acknowledged before it began, and a
//! replica lags. A connection to a server that is in recovery is refused, so that a URL that leads to a standby fails
//! instead of serving old rows.

mod connection;
mod migrations;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::Error;
use sqlx::postgres::{PgArguments, PgConnection, PgDatabaseError, PgSeverity};
use sqlx::{AssertSqlSafe, Connection as _, query};
use tokio::time::Instant;

use self::connection::{Backend, Server};
use super::StoreError;
use super::sql_pool::{self, Access, Connection, Failure, Lease, Meaning, SqlPool, Technology};
use souk_embedded::{Rows, Statement, Value};

/// A statement with the values of its parameters.
pub(super) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

const LOCK: &str = "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))";

/// Ends what runs in these sessions and waits until they are gone, each for at most the time that `$3` says in milliseconds. A session is
/// named by its start too, since process ids are used again.
const TERMINATE: &str = "SELECT pg_terminate_backend(a.pid, $3) \
     FROM unnest($1::int8[], $2::text[]) AS l (pid, started) \
     JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.backend_start = l.started::timestamptz";
/// How long the end of one session is waited for: less than the time limit of a statement.
const TERMINATE_LIMIT: Duration = Duration::from_secs(2);

/// The server ended the transaction in favour of another: it may be repeated. A missing parent row is among them: every
/// statement looks for it first, so that it went in between, and the repetition finds it gone.
const LOST_RACES: &[&str] = &[
    "40001", // serialization_failure
    "40P01", // deadlock_detected
    "23503", // foreign_key_violation
];

/// Classes of errors of the server's state, which pass: connections, a server that only reads, lost races, resources, locks,
/// intervention of an operator (and the time limit of a statement), the operating system.
const PASSING: &[&str] = &["08", "25", "40", "53", "55", "57", "58"];

/// PostgreSQL.
pub struct Postgres;

/// The connections of one store.
pub type PostgresPool = SqlPool<Postgres>;

impl PostgresPool {
    /// Connects to the database of `url`, and brings the schema of the store up to date by `migrations`, oldest first. Any number of
    /// nodes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server does not answer, or is a standby. [`StoreError::Refused`] for a URL that can't
    /// be used, a server that does not fit, and a schema that is newer than this build.
    pub async fn open(
        store: &'static str,
        url: &str,
        migrations: &[&'static str],
    ) -> Result<Self, StoreError> {
        let server = Server::parse(store, url)?;
        let mut connection = Postgres::connect(&server).await?;
        connection::warn_of_settings(&mut connection, store).await?;
        migrations::apply(&server, &mut connection, migrations).await?;
        Ok(Self::new(server, connection))
    }
}

#[async_trait]
impl Technology for Postgres {
    const NAME: &'static str = "postgres";
    type Server = Server;
    type Session = PgConnection;
    type Backend = Backend;
    type Query<'q> = Query<'q>;
    type Error = Error;

    fn store(server: &Server) -> &'static str {
        server.store
    }

    async fn connect(server: &Server) -> Result<Connection<Self>, StoreError> {
        connection::connect(server).await
    }

    async fn ping(session: &mut PgConnection) -> Result<(), Error> {
        session.ping().await
    }

    async fn rows<'q>(session: &mut PgConnection, query: Query<'q>) -> Result<Rows, Error> {
        values::rows(&query.fetch_all(session).await?)
    }

    fn plain(sql: &'static str) -> Query<'static> {
        query(sql)
    }

    /// With parameters as PostgreSQL writes them. No statement has a question mark elsewhere.
    fn query<'q>(statement: &'q Statement, values: &'q [Value]) -> Query<'q> {
        values::bind(query(AssertSqlSafe(statement.sql.replace('?', "$"))), values)
    }

    fn alone(server: &Server, name: &str) -> Query<'static> {
        query(LOCK).bind(format!("{} {name}", server.schema))
    }

    async fn end(lease: &mut Lease<Self>, sessions: &[Backend], deadline: Instant) -> Result<bool, Failure> {
        let (ids, starts): (Vec<i64>, Vec<&str>) = sessions
            .iter()
            .map(|backend| (backend.id, backend.started.as_str()))
            .unzip();
        // A bigint parameter of the server's function.
        let limit = TERMINATE_LIMIT.as_millis() as i64;
        let terminate = query(TERMINATE).bind(ids).bind(starts).bind(limit);
        let ended = lease.rows(Access::Read, deadline, terminate).await?;
        Ok(ended.iter().flatten().all(|ended| *ended == Value::from(true)))
    }

    fn meaning(error: &Error) -> Meaning {
        sql_pool::sqlx::meaning(error, |error| {
            let code = error.code().unwrap_or_default();
            let severity = error
                .try_downcast_ref::<PgDatabaseError>()
                .map(PgDatabaseError::severity);
            match severity {
                None | Some(PgSeverity::Fatal | PgSeverity::Panic) => Meaning::Broken,
                Some(_) if PASSING.iter().any(|class| code.starts_with(class)) => Meaning::Passing,
                Some(_) => Meaning::Refused,
            }
        })
    }

    fn is_lost_race(error: &Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| LOST_RACES.contains(&&*code))
    }
}
