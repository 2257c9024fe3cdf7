//! Pings of all stores, for health and operators.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::{StoreError, Stores};

/// Time limit of a ping.
const LIMIT: Duration = Duration::from_secs(2);

/// A ping of one store.
pub struct Ping<'a> {
    /// The store, named as in `[stores]`.
    pub store: &'static str,
    /// What it runs on.
    pub technology: &'static str,
    answer: BoxFuture<'a, Result<(), StoreError>>,
}

impl Ping<'_> {
    /// Returns how long the store took to answer.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unavailable`] after 2 s.
    pub async fn send(self) -> Result<Duration, StoreError> {
        let started = Instant::now();
        match tokio::time::timeout(LIMIT, self.answer).await {
            Ok(answer) => answer.map(|()| started.elapsed()),
            Err(elapsed) => Err(StoreError::Unavailable {
                store: self.store,
                cause: elapsed.into(),
            }),
        }
    }
}

impl Stores {
    /// A ping of each store, in the order of `[stores]`.
    pub fn pings(&self) -> Vec<Ping<'_>> {
        let rows = [
            ("carts", &self.carts),
            ("orders", &self.orders),
            ("inventory", &self.inventory),
            ("payments", &self.payments),
            ("sandbox", &self.sandbox),
        ];
        let mut pings: Vec<Ping<'_>> = rows
            .into_iter()
            .map(|(store, port)| Ping {
                store,
                technology: port.technology(),
                answer: port.ping(),
            })
            .collect();
        pings.extend([
            Ping {
                store: "catalogue",
                technology: self.products.technology(),
                answer: self.products.ping(),
            },
            Ping {
                store: "users",
                technology: self.users.technology(),
                answer: self.users.ping(),
            },
            Ping {
                store: "sessions",
                technology: self.sessions.technology(),
                answer: Box::pin(async {
                    self.sessions.ping().await?;
                    self.idempotency.ping().await
                }),
            },
            Ping {
                store: "views",
                technology: self.views.technology(),
                answer: Box::pin(self.ping_views()),
            },
        ]);
        pings
    }
}
