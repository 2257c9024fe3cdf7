//! The connections of a store on an SQL server, whichever it is: pool, time limits, repetitions, transactions, and writes
//! whose answer was lost. What differs between servers is a [`Technology`].

mod connections;
mod failure;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) mod sqlx;

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub(super) use self::connections::{Access, Connection, Connections, Lease};
pub(super) use self::failure::{Failure, Meaning, refused, unavailable};
use super::StoreError;
use super::sql::SqlDatabase;
use souk_embedded::{Rows, Statement, Value};
use souk_retry::{RetryPolicy, retry};

/// Time limit of a call, with the wait for a connection and all attempts.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of a connection with its first statements.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a statement on the server: below that of a call, so that what takes too long ends with an answer.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) const STATEMENT_LIMIT: Duration = Duration::from_secs(4);
/// How long the server keeps the locks of a transaction whose client has vanished.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) const ABANDONED_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of all migrations of a store, with the wait for another node that runs them.
pub(super) const MIGRATION_LIMIT: Duration = Duration::from_secs(60);

/// After a lost race, and for reads after a broken connection.
const ATTEMPTS: RetryPolicy = RetryPolicy {
    attempts: 5,
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(80),
};

/// A kind of server.
#[async_trait]
pub trait Technology: Sized + Send + Sync + 'static {
    /// As in `postgres`.
    const NAME: &'static str;
    /// What begins a transaction.
    const BEGIN: &'static str = "BEGIN";
    /// Where a store is kept.
    type Server: Send + Sync;
    /// A connection of the driver.
    type Session: Send;
    /// What names a session on the server, so that another can end it.
    type Backend: Clone + PartialEq + Send + Sync;
    /// A statement with its values.
    type Query<'q>: Send;
    /// An error of the driver.
    type Error: StdError + Send + Sync + 'static;

    /// The store's name.
    fn store(server: &Self::Server) -> &'static str;

    /// Opens a connection to a server that fits.
    async fn connect(server: &Self::Server) -> Result<Connection<Self>, StoreError>;

    /// Whether the session still answers.
    async fn ping(session: &mut Self::Session) -> Result<(), Self::Error>;

    /// Runs a statement to its end.
    async fn rows<'q>(session: &mut Self::Session, query: Self::Query<'q>) -> Result<Rows, Self::Error>;

    /// A statement without values.
    fn plain(sql: &'static str) -> Self::Query<'static>;

    /// One run of a statement.
    fn query<'q>(statement: &'q Statement, values: &'q [Value]) -> Self::Query<'q>;

    /// What waits until no other transaction of the store runs under this name, and keeps others out until it ends.
    fn alone(server: &Self::Server, name: &str) -> Self::Query<'static>;

    /// Ends sessions and waits until nobody is left who could execute anything for them; whether all have ended.
    async fn end(
        lease: &mut Lease<Self>,
        sessions: &[Self::Backend],
        deadline: Instant,
    ) -> Result<bool, Failure>;

    /// What an error says.
    fn meaning(error: &Self::Error) -> Meaning;

    /// Whether the server ended the transaction in favour of another, so that it may be repeated.
    fn is_lost_race(error: &Self::Error) -> bool;
}

/// The connections of one store. Cheap to clone.
pub struct SqlPool<T: Technology>(Arc<Connections<T>>);

impl<T: Technology> Clone for SqlPool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Technology> SqlPool<T> {
    /// With the first connection.
    pub(super) fn new(server: T::Server, first: Connection<T>) -> Self {
        Self(Connections::new(server, first))
    }

    /// A connection that is free, or a new one.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<Lease<T>, Failure> {
        self.0.acquire(deadline).await
    }

    /// Makes room for another lost write.
    pub(super) async fn limit_lost(&self, deadline: Instant) -> Result<(), StoreError> {
        self.0.limit_lost(deadline).await
    }

    /// Reads.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] past the time limit, or where the connection broke.
    pub(super) async fn fetch<'q>(
        &self,
        query: impl Fn() -> T::Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        self.run(Access::Read, query).await
    }

    /// Writes by one statement.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] past the time limit, or where the connection broke.
    pub(super) async fn execute<'q>(
        &self,
        query: impl Fn() -> T::Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        self.run(Access::Write, query).await
    }

    /// Writes by one statement that somebody asks about where its answer is lost. Whoever asks calls
    /// [`SqlPool::settle`] first.
    ///
    /// # Errors
    /// As of [`SqlPool::execute`].
    #[cfg(any(feature = "mssql", feature = "postgres"))]
    pub(super) async fn execute_traced<'q>(
        &self,
        query: impl Fn() -> T::Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        self.limit_lost(Instant::now() + CALL_LIMIT).await?;
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
        query: impl Fn() -> T::Query<'q> + Send + Sync,
    ) -> Result<Rows, StoreError> {
        let deadline = Instant::now() + CALL_LIMIT;
        let query = &query;
        attempts::<T, _, _>(|| async move {
            let mut lease = self.acquire(deadline).await?;
            lease.rows(access, deadline, query()).await
        })
        .await
    }

    /// One attempt at a transaction: `alone` before its statements.
    async fn transaction(
        &self,
        alone: Option<&str>,
        statements: &[Statement],
        deadline: Instant,
    ) -> Result<Vec<Rows>, Failure> {
        let mut lease = self.acquire(deadline).await?;
        // Nothing is durable before the last statement is sent, so that until then an answer that is missing means nothing.
        lease.rows(Access::Read, deadline, T::plain(T::BEGIN)).await?;
        let results = async {
            if let Some(name) = alone {
                let alone = T::alone(self.0.server(), name);
                lease.rows(Access::Read, deadline, alone).await?;
            }
            let mut results = Vec::with_capacity(statements.len());
            for statement in statements {
                let mut rows = Vec::new();
                for values in &statement.runs {
                    let query = T::query(statement, values);
                    rows.append(&mut lease.rows(Access::Read, deadline, query).await?);
                }
                results.push(rows);
            }
            Ok::<_, Failure>(results)
        }
        .await;
        let end = if results.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = lease.rows(Access::Write, deadline, T::plain(end)).await;
        // What could not be rolled back ends with its connection.
        results.and_then(|results| ended.map(|_| results))
    }

    async fn transact_under(
        &self,
        alone: Option<&str>,
        statements: &[Statement],
    ) -> Result<Vec<Rows>, StoreError> {
        let deadline = Instant::now() + CALL_LIMIT;
        attempts::<T, _, _>(|| self.transaction(alone, statements, deadline)).await
    }
}

/// Repeats `attempt` after failures that allow it.
pub(super) async fn attempts<T: Technology, R, F>(attempt: impl Fn() -> F) -> Result<R, StoreError>
where
    F: Future<Output = Result<R, Failure>>,
{
    retry(T::NAME, ATTEMPTS, Failure::may_repeat, attempt)
        .await
        .map_err(Failure::into_error)
}

/// Whether migrations are missing in a schema of which `applied` have run.
///
/// # Errors
/// [`StoreError::Refused`] where the schema is newer than `migrations`.
pub(super) fn is_behind(
    store: &'static str,
    applied: usize,
    migrations: &[&str],
) -> Result<bool, StoreError> {
    let known = migrations.len();
    if applied > known {
        return Err(refused(
            store,
            format!(
                "the schema of {store} has version {applied}, and this build knows {known} at most: \
                 run the version of Souk that made it, or a newer one"
            ),
        ));
    }
    Ok(applied < known)
}

#[async_trait]
impl<T: Technology> SqlDatabase for SqlPool<T> {
    const TECHNOLOGY: &'static str = T::NAME;

    fn name(&self) -> &'static str {
        self.0.store()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.fetch(|| T::plain("SELECT 1")).await.map(drop)
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        let mut all = Vec::new();
        for values in &statement.runs {
            all.append(&mut self.fetch(|| T::query(&statement, values)).await?);
        }
        Ok(all)
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        if let [statement] = statements.as_slice()
            && let [values] = statement.runs.as_slice()
        {
            // A transaction by itself.
            let rows = self.execute(|| T::query(statement, values)).await;
            return rows.map(|rows| vec![rows]);
        }
        self.transact_under(None, &statements).await
    }

    async fn transact_alone(&self, name: &str, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.transact_under(Some(name), &statements).await
    }
}
