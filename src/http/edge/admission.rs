//! How many requests are worked on at once, and whether the node is going away.
//!
//! What is above the limit is refused at once instead of queued, so that whoever is let in is answered in time. Reads are
//! refused first: they cost a client nothing to repeat, and the last places are for what somebody wants to have done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::edge::problem::{self, Problem};

/// The part of the places that reads leave free: one in so many.
const KEPT_FROM_READS: usize = 8;

/// Counts the requests in flight and carries the drain flag.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    /// Places that reads leave free.
    kept: usize,
    draining: AtomicBool,
}

/// A place among the requests in flight, given back when the last clone goes.
#[derive(Clone, Debug)]
pub struct Permit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl Admission {
    /// Lets at most `concurrency` requests in at once.
    pub fn new(concurrency: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS))),
            kept: concurrency / KEPT_FROM_READS,
            draining: AtomicBool::new(false),
        }
    }

    /// Makes `/readyz` say that the node is going away, so that it gets no new clients. Requests that come all the same
    /// are served: it is the listener that stops.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the node is going away.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn enter(&self, method: &Method) -> Option<Permit> {
        // Two that come at once may both see the same free place; one more read or less does not matter.
        if method.is_safe() && self.places.available_permits() <= self.kept {
            return None;
        }
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Permit {
            _held: Arc::new(permit),
        })
    }
}

/// Refuses what is above the limit before anything else is done for it.
pub(crate) async fn admit<W>(
    admission: &Admission,
    mut request: Request,
    work: impl FnOnce(Request) -> W,
) -> Response
where
    W: Future<Output = Response>,
{
    let mut response = match admission.enter(request.method()) {
        Some(permit) => {
            // A handler that outlives its client takes a clone along.
            request.extensions_mut().insert(permit.clone());
            let response = work(request).await;
            drop(permit);
            response
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
    };
    if admission.is_draining() {
        // The client's next request finds another node, instead of a connection that closes under it.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_come_in_than_there_are_places_until_one_leaves_for_good() {
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
