//! The `sandbox` payment provider: accepts test tokens instead of cards.
//!
//! It simulates a third party, so its ledger is shared by all nodes and survives each of them: one row per key in a store,
//! changed by compare-and-set. Two concurrent authorisations under one key on two nodes are one charge.

mod charge;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::charge::{Charge, Standing, is_reference, reference};

use self::charge::Verdict;
use super::payment::{Authorisation, ChargeState, GatewayError, PaymentGateway};
use crate::stores::StoreError;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite, WriteOutcome};
use souk_cluster::placement::shard_of;
use souk_domain::{Money, Timestamp};

/// How long `tok_slow` takes.
pub const SLOW: Duration = Duration::from_secs(2);

/// Attempts of a change against concurrent changes of the same charge. Each round one of them succeeds, and repetitions
/// end with what they find, so that only this many different refunds at once could exhaust it.
const CHANGE_ATTEMPTS: u32 = 128;

/// The sandbox provider.
pub struct SandboxGateway {
    ledger: Arc<dyn DocumentStore>,
    clock: fn() -> Timestamp,
    slow: Duration,
}

impl SandboxGateway {
    /// A provider with its ledger in `ledger`. The ids of its rows start with `sbx_`.
    pub fn new(ledger: Arc<dyn DocumentStore>, clock: fn() -> Timestamp) -> Self {
        Self {
            ledger,
            clock,
            slow: SLOW,
        }
    }

    /// The shopper's action at the address of [`ChargeState::RequiresAction`]: confirms or cancels the payment.
    /// Returns the resulting state; a charge that does not wait for an action is unchanged.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn settle_action(&self, key: &str, confirmed: bool) -> Result<ChargeState, GatewayError> {
        self.change(key, None, |charge| charge.settle_action(confirmed))
            .await
    }

    /// The charge, and the version of its document; 0 for one that was never heard of.
    async fn read(&self, key: &str) -> Result<(Charge, u64), GatewayError> {
        let unavailable = |error: StoreError| GatewayError::Unavailable(error.into());
        let id = charge::reference(key);
        let Some(document) = self.ledger.load(&id).await.map_err(unavailable)? else {
            return Ok((Charge::new(key), 0));
        };
        let charge = serde_json::from_str(&document.body).map_err(|error| {
            unavailable(StoreError::Corrupt {
                store: self.ledger.name(),
                what: format!("charge {id}: {error}"),
            })
        })?;
        Ok((charge, document.version))
    }

    /// Decides on the current charge, or first on `presumed` without a look, and writes the result; decides again after a
    /// conflict.
    async fn change<T>(
        &self,
        key: &str,
        mut presumed: Option<Charge>,
        decide: impl Fn(&Charge) -> Verdict<T> + Send + Sync,
    ) -> Result<T, GatewayError> {
        // After a write whose answer was lost, "had no effect" can't be claimed any more. As long as the charge can be
        // read that is no problem: it shows the outcome of the write, and the next decision is based on it.
        let mut lost: Option<StoreError> = None;
        for _ in 0..CHANGE_ATTEMPTS {
            let is_presumed = presumed.is_some();
            let (charge, version) = match presumed.take() {
                Some(charge) => (charge, 0),
                None => match self.read(key).await {
                    Ok(found) => found,
                    Err(error) => return Err(or_unknown(lost, error)),
                },
            };
            let (mut next, answer) = match decide(&charge) {
                Verdict::Keep(_) if is_presumed => continue,
                Verdict::Keep(answer) => return answer,
                Verdict::Change(next, answer) => (next, answer),
            };
            next.changed_at = (self.clock)();
            let id = charge.reference();
            let write = DocumentWrite {
                document: Document {
                    shard: shard_of(&id),
                    version: version + 1,
                    fence: 0,
                    due_at: None,
                    owner: None,
                    body: serde_json::to_string(&next)
                        .map_err(|error| GatewayError::Unavailable(error.into()))?,
                    id,
                },
                expected: version,
                events: Vec::new(),
            };
            let mark = uuid::Uuid::now_v7().to_string();
            match self.ledger.write(&mark, &[write]).await {
                Ok(outcomes) if outcomes == [WriteOutcome::Applied] => return answer,
                Ok(_) => {}
                Err(error @ StoreError::OutcomeUnknown { .. }) => lost = Some(error),
                Err(error) => return Err(or_unknown(lost, GatewayError::Unavailable(error.into()))),
            }
        }
        Err(or_unknown(
            lost,
            GatewayError::Unavailable("too many changes to one charge at once".into()),
        ))
    }
}

#[async_trait]
impl PaymentGateway for SandboxGateway {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    async fn authorise(&self, request: &Authorisation) -> Result<ChargeState, GatewayError> {
        // A decided charge is answered at once, whatever the token.
        let is_slow = matches!(request.token.as_str(), "tok_slow" | "tok_timeout");
        if is_slow && self.read(&request.key).await?.0.is_undecided() {
            match request.token.as_str() {
                "tok_slow" => tokio::time::sleep(self.slow).await,
                _ => std::future::pending().await,
            }
        }
        // Nearly always it is new.
        let presumed = Some(Charge::new(&request.key));
        self.change(&request.key, presumed, |charge| charge.authorise(request))
            .await
    }

    async fn query(&self, key: &str) -> Result<ChargeState, GatewayError> {
        Ok(self.read(key).await?.0.state())
    }

    async fn capture(&self, key: &str, amount: Money) -> Result<(), GatewayError> {
        self.change(key, None, |charge| charge.capture(amount)).await
    }

    async fn void(&self, key: &str) -> Result<(), GatewayError> {
        self.change(key, None, Charge::void).await
    }

    async fn refund(&self, key: &str, refund_key: &str, amount: Money) -> Result<(), GatewayError> {
        self.change(key, None, |charge| charge.refund(refund_key, amount))
            .await
    }
}

/// After a write whose answer was lost, any other error leaves the outcome unknown.
fn or_unknown(lost: Option<StoreError>, error: GatewayError) -> GatewayError {
    match lost {
        Some(lost) => GatewayError::OutcomeUnknown(lost.into()),
        None => error,
    }
}
