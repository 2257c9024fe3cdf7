//! What all shoppers of a run share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::choice::Choice;
use super::scenario::Journey;
use super::weights::Weights;
use crate::catalogue::{Item, Merchant};
use crate::client::Endpoint;
use crate::demo::Credentials;
use crate::failure::Failure;

/// Failures that are kept with their text.
const KEPT_FAILURES: usize = 20;
/// A merchant signs in again after so long; access tokens live for 15 min by default.
const MERCHANT_SESSION: Duration = Duration::from_secs(600);

/// What a journey came to that is worth counting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A journey was made to its end.
    Finished(Journey),
    /// A journey ended early, because the shop was busy or all was sold out.
    GivenUp(Journey),
    /// An order was confirmed.
    Confirmed,
    /// An order was still pending at the reply (202).
    Pending,
    /// A payment was declined, as the journey wanted.
    Declined,
    /// Too few pieces were left (409 `out-of-stock`), where that was to be expected.
    SoldOut,
    /// A request was refused with a time to try again: the name of the problem.
    Refused(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(journey) => write!(f, "journeys: {journey}"),
            Self::GivenUp(journey) => write!(f, "journeys given up: {journey}"),
            Self::Confirmed => f.write_str("orders confirmed"),
            Self::Pending => f.write_str("orders pending (202)"),
            Self::Declined => f.write_str("payments declined on purpose (402)"),
            Self::SoldOut => f.write_str("sold out (409)"),
            Self::Refused(problem) => write!(f, "refused with Retry-After: {problem}"),
        }
    }
}

/// See the module's documentation.
pub struct World {
    /// How often which journey is made.
    pub weights: Weights,
    /// The catalogue, or what is used of it.
    pub items: Vec<Item>,
    /// Which of them shoppers choose.
    pub choice: Choice,
    /// The nodes.
    pub shops: Vec<Endpoint>,
    /// A merchant, where one is known.
    pub admin: Option<Credentials>,
    /// Sets the addresses and references of this run apart from those of others.
    pub run: String,
    merchant_token: tokio::sync::Mutex<Option<(String, Instant)>>,
    events: Mutex<BTreeMap<Event, u64>>,
    failures: Mutex<Vec<String>>,
    failed: AtomicU64,
}

/// Counts are complete whatever panicked beside them.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world without events.
    pub fn new(
        weights: Weights,
        items: Vec<Item>,
        choice: Choice,
        shops: Vec<Endpoint>,
        admin: Option<Credentials>,
    ) -> Self {
        Self {
            weights,
            items,
            choice,
            shops,
            admin,
            run: uuid::Uuid::new_v4().simple().to_string(),
            merchant_token: tokio::sync::Mutex::new(None),
            events: Mutex::default(),
            failures: Mutex::default(),
            failed: AtomicU64::new(0),
        }
    }

    /// An item that a shopper chooses.
    pub fn item(&self) -> &Item {
        &self.items[self.choice.draw(&mut rand::rng())]
    }

    /// The item that everybody wants in a flash sale.
    pub fn the_one(&self) -> &Item {
        &self.items[0]
    }

    /// The token of the merchant, who signs in when it is needed.
    ///
    /// # Errors
    /// [`Failure`] where none is known, or the shop refuses the credentials.
    pub async fn merchant_token(&self) -> Result<String, Failure> {
        let mut kept = self.merchant_token.lock().await;
        if let Some((token, at)) = kept.as_ref()
            && at.elapsed() < MERCHANT_SESSION
        {
            return Ok(token.clone());
        }
        let Some(admin) = &self.admin else {
            return Err(Failure::Usage("no merchant is known (--admin)".into()));
        };
        let merchant = Merchant::sign_in(&self.shops[0], admin).await?;
        let token = merchant.token().to_owned();
        *kept = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// Counts an event.
    pub fn note(&self, event: Event) {
        *locked(&self.events).entry(event).or_default() += 1;
    }

    /// Counts a failure, and keeps its text if it is one of the first.
    pub fn fail(&self, text: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = locked(&self.failures);
        if failures.len() < KEPT_FAILURES {
            failures.push(text);
        }
    }

    /// How often something failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The texts of the first failures.
    pub fn failures(&self) -> Vec<String> {
        locked(&self.failures).clone()
    }

    /// All events with their counts.
    pub fn events(&self) -> BTreeMap<Event, u64> {
        locked(&self.events).clone()
    }
}
