//! A budget that all clients share (bytes, connections), of which no single address gets more than a part.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::counted;
use crate::http::edge::client_address::ClientAddress;

/// One address (IPv6: one /64 network) gets one part in this many.
const PART: usize = 16;

/// The budget.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    per_address: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    by_address: HashMap<Option<IpAddr>, usize>,
}

/// Some of the budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    address: Option<IpAddr>,
    amount: usize,
}

impl Shares {
    /// At most `limit` at a time, and a sixteenth of it for one address.
    pub fn new(limit: usize) -> Self {
        Self::within(limit, limit / PART)
    }

    /// At most `limit` at a time for one address, and as much for each other one.
    pub fn per_address(limit: usize) -> Self {
        Self::within(usize::MAX, limit)
    }

    fn within(limit: usize, per_address: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            per_address,
            used: Mutex::default(),
        }))
    }

    /// A share of this `amount` for a client, unless that is more than is left, of the whole or for its address. A single share is
    /// never too large.
    pub fn take(&self, client: Option<ClientAddress>, amount: usize) -> Option<Share> {
        let address = client.map(|ClientAddress(address)| counted(address));
        let mut used = self.used();
        let of_address = used.by_address.get(&address).copied().unwrap_or(0);
        let fits = |used: usize, limit: usize| used == 0 || used + amount <= limit;
        if !fits(used.total, self.0.limit) || !fits(of_address, self.0.per_address) {
            return None;
        }
        used.total += amount;
        *used.by_address.entry(address).or_default() += amount;
        Some(Share {
            shares: self.clone(),
            address,
            amount,
        })
    }

    /// How many addresses have a share.
    #[cfg(test)]
    pub(super) fn addresses(&self) -> usize {
        self.used().by_address.len()
    }

    /// No code panics while it holds the lock.
    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.shares.used();
        used.total -= self.amount;
        if let Some(of_address) = used.by_address.get_mut(&self.address) {
            *of_address -= self.amount;
            if *of_address == 0 {
                used.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Option<ClientAddress> {
        Some(ClientAddress(IpAddr::from([192, 0, 2, number])))
    }

    #[test]
    fn one_address_gets_a_sixteenth() {
        let shares = Shares::new(1_600);
        let held: Vec<_> = (0..10).map(|_| shares.take(client(1), 10).unwrap()).collect();
        assert!(shares.take(client(1), 10).is_none());
        let large = shares.take(client(2), 1_000);
        assert!(
            large.is_some(),
            "a single share is never too large for its address"
        );
        assert!(shares.take(client(2), 1).is_none());
        drop((held, large));
        assert!(shares.take(client(1), 10).is_some());
        assert!(shares.used().by_address.is_empty());
        assert_eq!(shares.used().total, 0);
    }

    #[test]
    fn all_addresses_together_have_a_limit() {
        let shares = Shares::new(1_600);
        let held: Vec<_> = (0..16)
            .map(|number| shares.take(client(number), 100).unwrap())
            .collect();
        assert!(shares.take(client(99), 1).is_none());
        drop(held);
        assert!(shares.take(client(99), 1).is_some());
    }
}
