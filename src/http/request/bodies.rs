//! Request bodies are received before their requests are admitted: who sends half a body holds a connection and a share of this
//! budget, and no place among the requests in flight.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use metrics::counter;

use crate::config::counted;
use crate::http::edge::client_address::ClientAddress;
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::settings::HttpSettings;
use crate::http::request::json;

/// One address (IPv6: one /64 network) gets one part in this many.
const SHARE: usize = 16;

/// The bytes of bodies that are being received.
#[derive(Debug)]
pub struct Bodies {
    limit: usize,
    expected: Mutex<Expected>,
}

#[derive(Debug, Default)]
struct Expected {
    total: usize,
    by_address: HashMap<Option<IpAddr>, usize>,
}

/// The share of a body that is being received.
struct Share<'a> {
    bodies: &'a Bodies,
    address: Option<IpAddr>,
    bytes: usize,
}

impl Bodies {
    /// At most `limit` bytes at a time.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            expected: Mutex::default(),
        }
    }

    /// Receives the body of a request. Most bodies arrive with their head, and need no share.
    ///
    /// # Errors
    /// 413, 408, 400 for a truncated body; 503 where too much is being received already.
    pub async fn receive(&self, request: Request, settings: &HttpSettings) -> Result<Request, Problem> {
        if request.body().is_end_stream() {
            return Ok(request);
        }
        let (parts, body) = request.into_parts();
        let announced = body
            .size_hint()
            .upper()
            .and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = announced.map_or(settings.body_limit, |bytes| bytes.min(settings.body_limit));
        let mut reading = pin!(json::read_within(
            body,
            settings.body_limit,
            settings.body_timeout
        ));
        let body = match futures::poll!(&mut reading) {
            Poll::Ready(body) => body?,
            Poll::Pending => {
                let address =
                    ClientAddress::of(&parts.extensions).map(|ClientAddress(address)| counted(address));
                let _share = self.share(address, bytes).ok_or_else(|| {
                    counter!("souk_http_bodies_refused_total").increment(1);
                    Problem::busy(problem::RETRY_AFTER)
                })?;
                reading.await?
            }
        };
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    /// A share of `bytes`, unless that is more than is left, of the whole or for this address. A single body is never too large.
    fn share(&self, address: Option<IpAddr>, bytes: usize) -> Option<Share<'_>> {
        let mut expected = self.expected();
        let of_address = expected.by_address.get(&address).copied().unwrap_or(0);
        let fits = |used: usize, limit: usize| used == 0 || used + bytes <= limit;
        if !fits(expected.total, self.limit) || !fits(of_address, self.limit / SHARE) {
            return None;
        }
        expected.total += bytes;
        *expected.by_address.entry(address).or_default() += bytes;
        Some(Share {
            bodies: self,
            address,
            bytes,
        })
    }

    /// No code panics while it holds the lock.
    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut expected = self.bodies.expected();
        expected.total -= self.bytes;
        if let Some(used) = expected.by_address.get_mut(&self.address) {
            *used -= self.bytes;
            if *used == 0 {
                expected.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_a_sixteenth() {
        let bodies = Bodies::new(1_600);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| Some(address.parse().unwrap()));
        let held: Vec<_> = (0..10).map(|_| bodies.share(one, 10).unwrap()).collect();
        assert!(bodies.share(one, 10).is_none());
        let large = bodies.share(other, 1_000);
        assert!(
            large.is_some(),
            "a single body is never too large for its address"
        );
        assert!(bodies.share(other, 1).is_none());
        drop((held, large));
        assert!(bodies.share(one, 10).is_some());
        assert!(bodies.expected().by_address.is_empty());
        assert_eq!(bodies.expected().total, 0);
    }

    #[test]
    fn all_addresses_together_have_a_limit() {
        let bodies = Bodies::new(1_600);
        let address = |number: u8| Some(IpAddr::from([192, 0, 2, number]));
        let held: Vec<_> = (0..16)
            .map(|number| bodies.share(address(number), 100).unwrap())
            .collect();
        assert!(bodies.share(address(99), 1).is_none());
        drop(held);
        assert!(bodies.share(address(99), 1).is_some());
    }
}
