//! Admission: limits the requests in flight, and knows whether the node drains.
//!
//! A request above the limit is refused at once instead of queued, so that admitted requests are answered in time.
//! Reads are refused first: repeating them costs a client nothing, and the last permits are reserved for writes. While the node is
//! [overloaded](super::overload), reads and strangers are refused, and where that is not enough other changes; an order that can be
//! placed never is, so that the work that led to it was not for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::edge::overload::Overload;
use crate::http::edge::problem::{self, Problem};

/// Reads leave one permit in this many free.
const RESERVED_FOR_WRITES: usize = 8;
/// Under overload, shoppers may go this many times as far as reads and strangers, whom the limit holds back: a checkout that is
/// given up half-way is work for nothing.
const SHOPPERS_GO_BEYOND: usize = 2;

/// Which requests are refused first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Reads.
    Read,
    /// Changes of nobody who is known yet, such as the opening of a cart.
    Stranger,
    /// Changes of a guest or an account.
    Shopper,
    /// Orders, and what belongs to them.
    Order,
}

impl Urgency {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Stranger | Self::Shopper | Self::Order => "write",
        }
    }
}

/// Counts the requests in flight and carries the drain flag.
pub struct Admission {
    permits: Arc<Semaphore>,
    concurrency: usize,
    overload: Overload,
    draining: AtomicBool,
}

/// An admission permit, released with its last clone.
#[derive(Clone, Debug)]
pub struct Permit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl Admission {
    /// Admits at most `concurrency` requests at once, and fewer under overload.
    pub fn new(concurrency: usize, overload: Overload) -> Self {
        let concurrency = concurrency.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            overload,
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

    /// Two concurrent requests may both see the last place: one more or less does not matter.
    fn enter(&self, urgency: Urgency) -> Option<Permit> {
        let free = self.permits.available_permits();
        let in_flight = self.concurrency.saturating_sub(free);
        let limit = self.overload.limit(in_flight);
        let most = match urgency {
            Urgency::Read | Urgency::Stranger => limit,
            Urgency::Shopper => limit.saturating_mul(SHOPPERS_GO_BEYOND),
            Urgency::Order => usize::MAX,
        };
        let is_reserved = urgency == Urgency::Read && free <= self.concurrency / RESERVED_FOR_WRITES;
        if is_reserved || in_flight >= most {
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
    urgency: Urgency,
    mut request: Request,
    work: impl FnOnce(Request) -> W,
) -> Response
where
    W: Future<Output = Response>,
{
    match admission.enter(urgency) {
        Some(permit) => {
            // A handler that outlives its client takes a clone; this one is held until the reply is made.
            request.extensions_mut().insert(permit.clone());
            work(request).await
        }
        None => {
            counter!("souk_http_refused_total", "kind" => urgency.name()).increment(1);
            Problem::busy(problem::RETRY_AFTER).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_released_with_its_last_clone() {
        let admission = Admission::new(1, Overload::never());
        let permit = admission.enter(Urgency::Shopper).unwrap();
        let clone = permit.clone();
        assert!(admission.enter(Urgency::Shopper).is_none());
        drop(permit);
        assert!(admission.enter(Urgency::Shopper).is_none());
        drop(clone);
        assert!(admission.enter(Urgency::Read).is_some());
    }

    #[test]
    fn under_overload_strangers_are_held_back_and_orders_are_not() {
        let admission = Admission::new(100, Overload::limited(4));
        let admission = &admission;
        let enter = |urgency| std::iter::from_fn(move || admission.enter(urgency));
        let mut held: Vec<_> = enter(Urgency::Stranger).collect();
        assert_eq!(held.len(), 4);
        assert!(admission.enter(Urgency::Read).is_none());
        held.extend(enter(Urgency::Shopper));
        assert_eq!(held.len(), 8);
        assert!(admission.enter(Urgency::Order).is_some());
    }

    #[test]
    fn the_last_places_are_not_for_reads() {
        let admission = Admission::new(16, Overload::never());
        let reads: Vec<_> = std::iter::from_fn(|| admission.enter(Urgency::Read)).collect();
        assert_eq!(reads.len(), 14);
        assert!(admission.enter(Urgency::Read).is_none());
        let writes: Vec<_> = std::iter::from_fn(|| admission.enter(Urgency::Shopper)).collect();
        assert_eq!(writes.len(), 2);
        drop(reads);
        assert!(admission.enter(Urgency::Read).is_some());
    }
}
