//! PostgreSQL as the technology of a store: connections, migrations, and the errors as [`StoreError`].
//!
//! Every store has a schema of its own, `souk_<store>`, which is the search path of its connections: statements name tables
//! alone, and several stores may share a database.
//!
//! **Reads never go to a replica.** A port promises that a read sees every write that was acknowledged before it began, and a
//! replica lags. A connection to a server that is in recovery is refused, so that a URL that leads to a standby fails
//! instead of serving old rows.

mod connection;
mod failure;
mod migrations;
mod pool;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod values;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Postgres, query};
use tokio::time::Instant;

use self::connection::{Server, connect};
use self::failure::Failure;
use self::pool::{Access, Connections};
use super::StoreError;
use super::sql::SqlDatabase;
use souk_embedded::{Rows, Statement};
use souk_retry::{RetryPolicy, retry};

/// A statement with the values of its parameters.
pub(super) type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// Time limit of a call, with the wait for a connection and all attempts.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// After a deadlock or a serialisation failure, and for reads after a broken connection.
const ATTEMPTS: RetryPolicy = RetryPolicy {
    attempts: 5,
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(80),
};

const LOCK: &str = "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))";
const PING: &str = "SELECT 1";

/// The connections of one store. Cheap to clone.
#[derive(Clone)]
pub struct PostgresPool(Arc<Connections>);

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
        let mut connection = connect(&server).await?;
        connection.warn_of_settings(store).await?;
        migrations::apply(&server, &mut connection, migrations).await?;
        Ok(Self(Connections::new(server, connection)))
    }

    /// Reads.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] past the time limit, or where the connection broke.
    pub(super) async fn fetch<'q>(
        &self,
        query: impl Fn() -> Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        self.run(Access::Read, query).await
    }

    /// Writes by one statement.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] past the time limit, or where the connection broke.
    pub(super) async fn execute<'q>(
        &self,
        query: impl Fn() -> Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        self.run(Access::Write, query).await
    }

    /// Writes by one statement that somebody asks about where its answer is lost. Whoever asks calls
    /// [`PostgresPool::settle`] first.
    ///
    /// # Errors
    /// As of [`PostgresPool::execute`].
    pub(super) async fn execute_traced<'q>(
        &self,
        query: impl Fn() -> Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        self.0.limit_lost(Instant::now() + CALL_LIMIT).await?;
        self.run(Access::TracedWrite, query).await
    }

    /// Ends every write whose answer was lost: when this returns, each has been applied or never will be.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where that is not known yet.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        self.0.settle(Instant::now() + CALL_LIMIT).await
    }

    async fn run<'q>(
        &self,
        access: Access,
        query: impl Fn() -> Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        let deadline = Instant::now() + CALL_LIMIT;
        let query = &query;
        let rows = attempts(|| async move {
            let mut lease = self.0.acquire(deadline).await?;
            lease.rows(access, deadline, query()).await
        });
        self.rows(&rows.await?)
    }

    fn rows(&self, rows: &[PgRow]) -> Result<Rows, StoreError> {
        values::rows(rows).map_err(|error| self.corrupt(error.to_string()))
    }

    /// One attempt at a transaction: `lock` before its statements.
    async fn transaction(
        &self,
        lock: Option<&str>,
        statements: &[Statement],
        deadline: Instant,
    ) -> Result<Vec<Vec<PgRow>>, Failure> {
        let mut lease = self.0.acquire(deadline).await?;
        // Nothing is durable before the last statement is sent, so that until then an answer that is missing means nothing.
        lease.rows(Access::Read, deadline, query("BEGIN")).await?;
        let results = async {
            if let Some(lock) = lock {
                lease.rows(Access::Read, deadline, query(LOCK).bind(lock)).await?;
            }
            let mut results = Vec::with_capacity(statements.len());
            for statement in statements {
                let mut rows = Vec::new();
                for values in &statement.runs {
                    let query = values::bind(query(translated(statement)), values);
                    rows.append(&mut lease.rows(Access::Read, deadline, query).await?);
                }
                results.push(rows);
            }
            Ok::<_, Failure>(results)
        }
        .await;
        let end = if results.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = lease.rows(Access::Write, deadline, query(end)).await;
        // What could not be rolled back ends with its connection.
        results.and_then(|results| ended.map(|_| results))
    }

    async fn transact_under(
        &self,
        lock: Option<&str>,
        statements: &[Statement],
    ) -> Result<Vec<Rows>, StoreError> {
        let deadline = Instant::now() + CALL_LIMIT;
        let results = attempts(|| self.transaction(lock, statements, deadline)).await?;
        results.iter().map(|rows| self.rows(rows)).collect()
    }
}

/// Repeats `attempt` after failures that allow it.
async fn attempts<T, F>(attempt: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let done = retry(
        "a statement of PostgreSQL",
        ATTEMPTS,
        Failure::may_repeat,
        attempt,
    )
    .await;
    done.map_err(Failure::into_error)
}

/// The text of a statement, with parameters as PostgreSQL writes them. No statement has a question mark elsewhere.
fn translated(statement: &Statement) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement.sql.replace('?', "$"))
}

#[async_trait]
impl SqlDatabase for PostgresPool {
    const TECHNOLOGY: &'static str = "postgres";

    fn name(&self) -> &'static str {
        self.0.store()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.fetch(|| query(PING)).await.map(drop)
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        let mut all = Vec::new();
        for values in &statement.runs {
            let query = || values::bind(query(translated(&statement)), values);
            all.append(&mut self.fetch(query).await?);
        }
        Ok(all)
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        if let [statement] = statements.as_slice()
            && let [values] = statement.runs.as_slice()
        {
            // A transaction by itself.
            let query = || values::bind(query(translated(statement)), values);
            return self.execute(query).await.map(|rows| vec![rows]);
        }
        self.transact_under(None, &statements).await
    }

    async fn transact_alone(&self, name: &str, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        let lock = format!("{} {name}", self.0.schema());
        self.transact_under(Some(&lock), &statements).await
    }
}
