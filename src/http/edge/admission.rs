//! Admission: limits the requests in flight, and knows whether the node drains.
//!
//! A request above the limit is refused at once instead of queued, so that admitted requests are answered in time.
//! Reads are refused first: repeating them costs a client nothing, and the last permits are reserved for writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::edge::problem::{self, Problem};

/// Reads leave one permit in this many free.
const RESERVED_FOR_WRITES: usize = 8;

/// Counts the requests in flight and carries the drain flag.
#[derive(Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    /// Permits that reads leave free.
    reserved: usize,
    draining: AtomicBool,
}

/// An admission permit, released with its last clone.
#[derive(Clone, Debug)]
pub struct Permit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl Admission {
    /// Admits at most `concurrency` requests at once.
    pub fn new(concurrency: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS))),
            reserved: concurrency / RESERVED_FOR_WRITES,
            draining: AtomicBool::new(false),
        }
    }

    /// Makes `/readyz` report draining, so that the node gets no new clients. Further requests are served: the listener
    /// stops, not the admission.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the node drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// While the node drains, makes the client open its next connection to another node, instead of losing this one
    /// mid-request.
    pub fn announce_drain(&self, headers: &mut HeaderMap) {
        if self.is_draining() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn enter(&self, method: &Method) -> Option<Permit> {
        // Two concurrent requests may both see the last free permit; one read more or less does not matter.
        if method.is_safe() && self.permits.available_permits() <= self.reserved {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Permit {
            _held: Arc::new(permit),
        })
    }
}

/// Refuses a request above the limit before any work is done for it.
pub(crate) async fn admit<W>(
    admission: &Admission,
    mut request: Request,
    work: impl FnOnce(Request) -> W,
) -> Response
where
    W: Future<Output = Response>,
{
    match admission.enter(request.method()) {
        Some(permit) => {
            // A handler that outlives its client takes a clone; this one is held until the reply is made.
            request.extensions_mut().insert(permit.clone());
            work(request).await
        }
        None => {
            let kind = if request.method().is_safe() {
                "read"
            } else {
                "write"
            };
            counter!("souk_http_refused_total", "kind" => kind).increment(1);
            Problem::busy(problem::RETRY_AFTER).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_released_with_its_last_clone() {
        let admission = Admission::new(1);
        let permit = admission.enter(&Method::POST).unwrap();
        let clone = permit.clone();
        assert!(admission.enter(&Method::POST).is_none());
        drop(permit);
        assert!(admission.enter(&Method::POST).is_none());
        drop(clone);
        assert!(admission.enter(&Method::GET).is_some());
    }

    #[test]
    fn the_last_places_are_not_for_reads() {
        let admission = Admission::new(16);
        let reads: Vec<_> = std::iter::from_fn(|| admission.enter(&Method::GET)).collect();
        assert_eq!(reads.len(), 14);
        assert!(admission.enter(&Method::HEAD).is_none());
        let writes: Vec<_> = std::iter::from_fn(|| admission.enter(&Method::POST)).collect();
        assert_eq!(writes.len(), 2);
        drop(reads);
        assert!(admission.enter(&Method::GET).is_some());
    }
}
