//! A bounded number of connections, and what became of the writes that they carried.
//!
//! The driver has a pool too, but it pings a connection after each use, and it does not say over which connection a
//! write was lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Technology;
use super::failure::{Failure, Meaning, unavailable};
use crate::stores::StoreError;
use souk_embedded::Rows;

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

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is lost with its answer.
    Read,
    /// Without an answer its outcome is unknown.
    Write,
    /// As [`Access::Write`], and somebody will ask about it.
    TracedWrite,
}

/// A connection with the name of its session.
pub struct Connection<T: Technology> {
    /// Of the driver.
    pub session: T::Session,
    /// On the server.
    pub backend: T::Backend,
}

struct Idle<T: Technology> {
    connection: Connection<T>,
    since: Instant,
}

/// The connections of a store.
pub(in crate::stores) struct Connections<T: Technology> {
    server: T::Server,
    /// The latest used is the last.
    idle: Mutex<Vec<Idle<T>>>,
    permits: Arc<Semaphore>,
    /// Sessions that carried traced writes without an answer.
    lost: Mutex<Vec<T::Backend>>,
}

/// A connection in use by one caller.
pub struct Lease<T: Technology> {
    pool: Arc<Connections<T>>,
    connection: Option<Connection<T>>,
    /// What is under way: was its future dropped, or did the connection break, this is what remains.
    under_way: Option<Access>,
    _permit: OwnedSemaphorePermit,
}

fn lock<L>(mutex: &Mutex<L>) -> MutexGuard<'_, L> {
    // Nobody panics halfway through a change of these lists.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Technology> Connections<T> {
    /// With the first connection.
    pub(in crate::stores) fn new(server: T::Server, first: Connection<T>) -> Arc<Self> {
        let since = Instant::now();
        Arc::new(Self {
            server,
            idle: Mutex::new(vec![Idle {
                connection: first,
                since,
            }]),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            lost: Mutex::new(Vec::new()),
        })
    }

    pub(in crate::stores) fn store(&self) -> &'static str {
        T::store(&self.server)
    }

    pub(in crate::stores) fn server(&self) -> &T::Server {
        &self.server
    }

    /// A connection that is free, or a new one.
    pub(in crate::stores) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Lease<T>, Failure> {
        let store = self.store();
        let deadline = deadline.min(Instant::now() + ACQUIRE_LIMIT);
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| Failure::unavailable(store, "all connections are in use"))?
            .map_err(|error| Failure::unavailable(store, error))?;
        let connection = match self.tested(deadline).await {
            Some(connection) => connection,
            None => timeout_at(deadline, T::connect(&self.server))
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
    async fn tested(&self, deadline: Instant) -> Option<Connection<T>> {
        loop {
            let Idle {
                mut connection,
                since,
            } = lock(&self.idle).pop()?;
            if since.elapsed() < TEST_AFTER {
                return Some(connection);
            }
            let limit = deadline.min(Instant::now() + TEST_LIMIT);
            match timeout_at(limit, T::ping(&mut connection.session)).await {
                Ok(Ok(())) => return Some(connection),
                Ok(Err(_)) | Err(_) => self.forget_idle(),
            }
        }
    }

    /// Where one connection broke, the others most likely did too.
    fn forget_idle(&self) {
        lock(&self.idle).clear();
    }

    fn release(&self, connection: Connection<T>) {
        let mut idle = lock(&self.idle);
        idle.retain(|idle| idle.since.elapsed() < IDLE_LIMIT);
        idle.push(Idle {
            connection,
            since: Instant::now(),
        });
    }

    /// Makes room for another lost write.
    pub(in crate::stores) async fn limit_lost(self: &Arc<Self>, deadline: Instant) -> Result<(), StoreError> {
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
    pub(in crate::stores) async fn settle(self: &Arc<Self>, deadline: Instant) -> Result<(), StoreError> {
        let lost = lock(&self.lost).clone();
        if lost.is_empty() {
            return Ok(());
        }
        let mut lease = self.acquire(deadline).await.map_err(Failure::into_error)?;
        let ended = T::end(&mut lease, &lost, deadline).await;
        if !ended.map_err(Failure::into_error)? {
            return Err(unavailable(
                self.store(),
                "the session of a lost write has not ended yet",
            ));
        }
        lock(&self.lost).retain(|backend| !lost.contains(backend));
        Ok(())
    }
}

impl<T: Technology> Lease<T> {
    /// Runs a statement to its end.
    pub(in crate::stores) async fn rows(
        &mut self,
        access: Access,
        deadline: Instant,
        query: T::Query<'_>,
    ) -> Result<Rows, Failure> {
        let store = self.pool.store();
        let Some(connection) = &mut self.connection else {
            return Err(Failure::unavailable(store, "the connection broke"));
        };
        self.under_way = Some(access);
        match timeout_at(deadline, T::rows(&mut connection.session, query)).await {
            Ok(Ok(rows)) => {
                self.under_way = None;
                Ok(rows)
            }
            Ok(Err(error)) => {
                if T::meaning(&error) == Meaning::Broken {
                    self.discard();
                    self.pool.forget_idle();
                } else {
                    self.under_way = None;
                }
                Err(Failure::of::<T>(store, access, error))
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

impl<T: Technology> Drop for Lease<T> {
    fn drop(&mut self) {
        if self.under_way.is_some() {
            self.discard();
        } else if let Some(connection) = self.connection.take() {
            self.pool.release(connection);
        }
    }
}
