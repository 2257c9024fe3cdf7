//! A bounded number of connections, and what became of the writes that they carried.
//!
//! The driver has a pool too, but it pings a connection after each use, and it does not say over which connection a
//! write was lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgRow;
use sqlx::query;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Query;
use super::connection::{Backend, Connection, Server, connect};
use super::failure::{Failure, is_broken, unavailable};
use crate::stores::StoreError;
use souk_embedded::Value;

/// Most connections of a store.
const CONNECTIONS: usize = 8;
/// Longest wait for a connection that is free.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
/// A connection that was idle for this long is tested before it is used: firewalls forget silently.
const TEST_AFTER: Duration = Duration::from_secs(1);
/// Time limit of that test.
const TEST_LIMIT: Duration = Duration::from_secs(1);
/// A connection that was idle for this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Most lost writes that are remembered. Above it no more are sent until these are settled.
const LOST_LIMIT: usize = 64;

/// Ends what runs in these sessions and waits until they are gone, each for at most the time that `$3` says in milliseconds. A session is
/// named by its start too, since process ids are used again.
const TERMINATE: &str = "SELECT pg_terminate_backend(a.pid, $3) \
     FROM unnest($1::int8[], $2::text[]) AS l (pid, started) \
     JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.backend_start = l.started::timestamptz";
/// How long the end of one session is waited for: less than the time limit of a statement.
const TERMINATE_LIMIT: Duration = Duration::from_secs(2);

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing is lost with its answer.
    Read,
    /// Without an answer its outcome is unknown.
    Write,
    /// As [`Access::Write`], and somebody will ask about it.
    TracedWrite,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The connections of a store.
pub(super) struct Connections {
    server: Server,
    /// The latest used is the last.
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
    /// Sessions that carried traced writes without an answer.
    lost: Mutex<Vec<Backend>>,
}

/// A connection in use by one caller.
pub(super) struct Lease {
    pool: Arc<Connections>,
    connection: Option<Connection>,
    /// What is under way: was its future dropped, or did the connection break, this is what remains.
    under_way: Option<Access>,
    _permit: OwnedSemaphorePermit,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics halfway through a change of these lists.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    /// With the first connection.
    pub(super) fn new(server: Server, first: Connection) -> Arc<Self> {
        let since = Instant::now();
        Arc::new(Self {
            server,
            idle: Mutex::new(vec![Idle {
                connection: first,
                since,
            }]),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            lost: Mutex::default(),
        })
    }

    pub(super) fn store(&self) -> &'static str {
        self.server.store
    }

    pub(super) fn schema(&self) -> &str {
        &self.server.schema
    }

    /// A connection that is free, or a new one.
    pub(super) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Lease, Failure> {
        let store = self.store();
        let deadline = deadline.min(Instant::now() + ACQUIRE_LIMIT);
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| Failure::unavailable(store, "all connections are in use"))?
            .map_err(|error| Failure::unavailable(store, error))?;
        let connection = match self.tested(deadline).await {
            Some(connection) => connection,
            None => timeout_at(deadline, connect(&self.server))
                .await
                .map_err(|error| Failure::unavailable(store, error))?
                .map_err(|error| Failure::unavailable(store, error))?,
        };
        Ok(Lease {
            pool: Arc::clone(self),
            connection: Some(connection),
            under_way: None,
            _permit: permit,
        })
    }

    /// An idle connection that works.
    async fn tested(&self, deadline: Instant) -> Option<Connection> {
        loop {
            let Idle {
                mut connection,
                since,
            } = lock(&self.idle).pop()?;
            if since.elapsed() < TEST_AFTER {
                return Some(connection);
            }
            let limit = deadline.min(Instant::now() + TEST_LIMIT);
            match timeout_at(limit, connection.session.ping()).await {
                Ok(Ok(())) => return Some(connection),
                Ok(Err(_)) | Err(_) => self.forget_idle(),
            }
        }
    }

    /// Where one connection broke, the others most likely did too.
    fn forget_idle(&self) {
        lock(&self.idle).clear();
    }

    fn release(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        idle.retain(|idle| idle.since.elapsed() < IDLE_LIMIT);
        idle.push(Idle {
            connection,
            since: Instant::now(),
        });
    }

    /// Makes room for another lost write.
    pub(super) async fn limit_lost(self: &Arc<Self>, deadline: Instant) -> Result<(), StoreError> {
        if lock(&self.lost).len() < LOST_LIMIT {
            return Ok(());
        }
        self.settle(deadline).await
    }

    /// Ends the sessions that carried lost writes.
    ///
    /// A lost write may still wait for a lock, commit, or lie unread in the socket of its session: neither a look at the rows nor any
    /// lock that the statement takes when it begins tells whether it will be applied. So its session is ended, and
    /// waited for. After that it has committed, or nobody is left who could execute it. A session that is not there any more
    /// (the server was restarted, or another has taken over) can't execute anything either.
    pub(super) async fn settle(self: &Arc<Self>, deadline: Instant) -> Result<(), StoreError> {
        let lost = lock(&self.lost).clone();
        if lost.is_empty() {
            return Ok(());
        }
        let (ids, starts): (Vec<i64>, Vec<&str>) = lost
            .iter()
            .map(|backend| (backend.id, backend.started.as_str()))
            .unzip();
        // A bigint parameter of the server's function.
        let limit = TERMINATE_LIMIT.as_millis() as i64;
        let terminate = query(TERMINATE).bind(ids).bind(starts).bind(limit);
        let mut lease = self.acquire(deadline).await.map_err(Failure::into_error)?;
        let rows = lease.rows(Access::Read, deadline, terminate).await;
        let rows = rows.map_err(Failure::into_error)?;
        let gone = super::values::rows(&rows).map_err(|error| unavailable(self.store(), error))?;
        if gone.iter().flatten().any(|gone| *gone != Value::from(true)) {
            return Err(unavailable(
                self.store(),
                "the session of a lost write has not ended yet",
            ));
        }
        lock(&self.lost).retain(|backend| !lost.contains(backend));
        Ok(())
    }
}

impl Lease {
    /// Runs a statement to its end.
    pub(super) async fn rows(
        &mut self,
        access: Access,
        deadline: Instant,
        query: Query<'_>,
    ) -> Result<Vec<PgRow>, Failure> {
        let store = self.pool.store();
        let Some(connection) = &mut self.connection else {
            return Err(Failure::unavailable(store, "the connection broke"));
        };
        self.under_way = Some(access);
        match timeout_at(deadline, query.fetch_all(&mut connection.session)).await {
            Ok(Err(error)) if is_broken(&error) => {
                self.discard();
                self.pool.forget_idle();
                Err(Failure::unanswered(store, access, error))
            }
            Ok(answer) => {
                self.under_way = None;
                answer.map_err(|error| Failure::answered(store, error))
            }
            Err(elapsed) => {
                self.discard();
                Err(Failure::unanswered(store, access, elapsed))
            }
        }
    }

    /// Closes the connection, and remembers the traced write that it carried.
    fn discard(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.under_way == Some(Access::TracedWrite)
        {
            lock(&self.pool.lost).push(connection.backend);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.under_way.is_some() {
            self.discard();
        } else if let Some(connection) = self.connection.take() {
            self.pool.release(connection);
        }
    }
}
