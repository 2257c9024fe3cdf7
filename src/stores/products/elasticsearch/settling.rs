//! Makes what follows from others in the documents of products right, whoever else writes meanwhile.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use souk_retry::Backoff;

use super::categories::categories;
use super::documents::{Derived, PRODUCTS, name_of, names};
use super::{BATCH_ROWS, ElasticProducts};
use crate::stores::StoreError;
use crate::stores::elasticsearch::{Found, Operation, Outcome, outcome_of_all};

/// Attempts to write what others write too. With each, one of them gets through.
pub(super) const ATTEMPTS: u32 = 40;
/// The pauses between them.
pub(super) const PAUSES: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(100));

impl ElasticProducts {
    pub(super) async fn write_products(
        &self,
        ids: &[&str],
        operations: &[Operation],
    ) -> Result<Vec<Outcome>, StoreError> {
        let written = self.server.bulk(&PRODUCTS, operations).await;
        let is_unknown = |error: &StoreError| matches!(error, StoreError::OutcomeUnknown { .. });
        match &written {
            Err(_) => self.lost().extend(ids.iter().map(|id| (*id).to_owned())),
            Ok(outcomes) => {
                self.lost().extend(
                    ids.iter()
                        .zip(outcomes)
                        .filter_map(|(id, outcome)| match outcome {
                            Outcome::Failed(error) if is_unknown(error) => Some((*id).to_owned()),
                            _ => None,
                        }),
                )
            }
        }
        written
    }

    pub(super) fn lost(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `items` that conflict, after a pause; the outcomes of the others go to `outcomes`.
    pub(super) async fn conflicts<T: Clone>(
        &self,
        items: &[T],
        results: Vec<Outcome>,
        outcomes: &mut Vec<Outcome>,
        pauses: &mut Backoff,
    ) -> Result<Vec<T>, StoreError> {
        let mut conflicts = Vec::new();
        for (item, outcome) in items.iter().zip(results) {
            match outcome {
                Outcome::Conflict => conflicts.push(item.clone()),
                outcome => outcomes.push(outcome),
            }
        }
        if !conflicts.is_empty() {
            self.pause(pauses).await?;
        }
        Ok(conflicts)
    }

    pub(super) async fn pause(&self, pauses: &mut Backoff) -> Result<(), StoreError> {
        let pause = pauses.next_pause();
        if pauses.attempts() >= ATTEMPTS {
            return Err(self.server.unavailable("others write the same all the time"));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Makes what follows from others in the documents of these products right: their stock, and with `with_names` the names of their
    /// categories. See the module's documentation.
    pub(super) async fn settle(&self, ids: BTreeSet<String>, with_names: bool) -> Result<(), StoreError> {
        let mut lost = self.lost().clone();
        let with_names = with_names || !lost.is_empty();
        let waiting: Vec<String> = ids.into_iter().chain(lost.iter().cloned()).collect();
        for batch in waiting.chunks(BATCH_ROWS) {
            self.settle_batch(batch, with_names, &mut lost).await?;
        }
        Ok(())
    }

    pub(super) async fn settle_batch(
        &self,
        ids: &[String],
        with_names: bool,
        lost: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let mut waiting = ids.to_vec();
        let mut pauses = PAUSES;
        while !waiting.is_empty() {
            let ids: Vec<&str> = waiting.iter().map(String::as_str).collect();
            // First the products, and then what it follows from: that may be newer, but not older.
            let fields = ["skus", "category", "in_stock", "category_name"];
            let products = self.server.documents::<Derived>(&PRODUCTS, &ids, &fields).await?;
            let skus: BTreeSet<&str> = products
                .values()
                .flat_map(|product| &product.source.skus)
                .map(String::as_str)
                .collect();
            let badges = self.badges_by_sku(&skus.into_iter().collect::<Vec<_>>()).await?;
            let names = if with_names {
                Some(names(&categories(&self.server).await?))
            } else {
                None
            };
            let (mut changed, mut operations) = (Vec::new(), Vec::new());
            for id in &ids {
                let Some(Found { change, source, .. }) = products.get(*id) else {
                    continue;
                };
                let is_available =
                    |sku: &String| badges.get(sku).is_some_and(|badge| badge.source.available > 0);
                let in_stock = source.skus.iter().any(is_available);
                let name = match &names {
                    Some(names) => name_of(names, &source.category),
                    None => &source.category_name,
                };
                // A lost write that arrives late is for the document as it was.
                if in_stock != source.in_stock || name != source.category_name || lost.contains(*id) {
                    let fields = json!({ "in_stock": in_stock, "category_name": name });
                    operations.push(self.encoded(Operation::update(id, *change, &fields))?);
                    changed.push(*id);
                }
            }
            let mut outcomes = Vec::new();
            let results = self.write_products(&changed, &operations).await?;
            self.conflicts(&changed, results, &mut outcomes, &mut pauses)
                .await?;
            outcome_of_all(outcomes)?;
            // Those that are not there, or were written by whomever in the meantime.
            for id in &ids {
                if lost.remove(*id) {
                    self.lost().remove(*id);
                }
            }
            // Those that were written are looked at again, too.
            waiting = changed.into_iter().map(str::to_owned).collect();
        }
        Ok(())
    }
}
