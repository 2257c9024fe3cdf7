//! How many requests are worked on at once, and whether the node is going away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{self, Problem};

/// Counts the requests in flight and carries the drain flag.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
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

    fn enter(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Permit {
            _held: Arc::new(permit),
        })
    }
}

/// Middleware: refuses what is above the limit before anything else is done for it.
pub async fn admit(State(admission): State<Arc<Admission>>, mut request: Request, next: Next) -> Response {
    let mut response = match admission.enter() {
        Some(permit) => {
            // A handler that outlives its client takes a clone along.
            request.extensions_mut().insert(permit.clone());
            let response = next.run(request).await;
            drop(permit);
            response
        }
        None => Problem::busy(problem::RETRY_AFTER).into_response(),
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
        let permit = admission.enter().unwrap();
        let clone = permit.clone();
        assert!(admission.enter().is_none());
        drop(permit);
        assert!(admission.enter().is_none());
        drop(clone);
        assert!(admission.enter().is_some());
    }
}
