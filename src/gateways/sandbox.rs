//! The `sandbox` payment provider: takes tokens instead of cards, and no money.
//!
//! It stands for a third party. So what it knows is shared by all nodes of the cluster and survives each of them: its
//! ledger lies in a document store, one document a key, every change by compare-and-set. Two authorisations under one
//! key that run at once on two nodes are one charge.

mod charge;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::charge::{Charge, Verdict};
use super::payment::{Authorisation, Authorised, ChargeState, GatewayError, PaymentGateway};
use crate::stores::StoreError;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite, WriteOutcome};
use souk_cluster::placement::shard_of;
use souk_domain::{Money, Timestamp};

/// How long `tok_slow` takes.
pub const SLOW: Duration = Duration::from_secs(2);

/// How often a change is tried against others of the same charge. Each round one of them gets through, and repetitions
/// stop at what they find, so that only this many different refunds at once could use it up.
const CHANGE_ATTEMPTS: u32 = 128;

/// The provider.
pub struct SandboxGateway {
    ledger: Arc<dyn DocumentStore>,
    clock: fn() -> Timestamp,
    slow: Duration,
}

impl SandboxGateway {
    /// A provider that keeps its ledger in `ledger`, by the clock `clock`. Its documents' ids start with
    /// `sbx_`, so that the store may hold others too.
    pub fn new(ledger: Arc<dyn DocumentStore>, clock: fn() -> Timestamp) -> Self {
        Self {
            ledger,
            clock,
            slow: SLOW,
        }
    }

    /// What the shopper does at the address of [`Authorised::RequiresAction`]: confirms the payment, or calls it off.
    /// Answers how the charge stands afterwards; a charge that waits for nobody stays as it is.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn settle_action(&self, key: &str, confirmed: bool) -> Result<ChargeState, GatewayError> {
        self.change(key, |charge| charge.settle_action(confirmed)).await
    }

    /// The charge, and the version of its document; 0 for one that was never heard of.
    async fn read(&self, key: &str) -> Result<(Charge, u64), GatewayError> {
        let unavailable = |error: StoreError| GatewayError::Unavailable(error.into());
        let id = charge::reference(key);
        let Some(document) = self.ledger.load(&id).await.map_err(unavailable)? else {
            return Ok((Charge::unheard_of(key), 0));
        };
        let charge = serde_json::from_str(&document.body).map_err(|error| {
            unavailable(StoreError::Corrupt {
                store: self.ledger.name(),
                what: format!("charge {id}: {error}"),
            })
        })?;
        Ok((charge, document.version))
    }

    /// Decides on the charge as it stands and writes what comes of it; when another was faster, decides again.
    async fn change<T>(
        &self,
        key: &str,
        decide: impl Fn(&Charge) -> Verdict<T> + Send + Sync,
    ) -> Result<T, GatewayError> {
        // Once a write's answer was lost, "certainly not done" can't be said any more. Nor need it be as long as the
        // charge can be read: it tells what became of the write, and the decision is made on what it tells.
        let mut lost: Option<StoreError> = None;
        for _ in 0..CHANGE_ATTEMPTS {
            let (charge, version) = match self.read(key).await {
                Ok(found) => found,
                Err(error) => return Err(or_unknown(lost, error)),
            };
            let (mut next, answer) = match decide(&charge) {
                Verdict::Keep(answer) => return answer,
                Verdict::Change(next, answer) => (next, answer),
            };
            next.changed_at = (self.clock)();
            let id = charge.reference();
            let write = DocumentWrite {
                document: Document {
                    shard: shard_of(&id),
                    version: version + 1,
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

    async fn authorise(&self, request: &Authorisation) -> Result<Authorised, GatewayError> {
        // What was decided already is answered at once, whatever the token.
        let (known, _) = self.read(&request.key).await?;
        if known.is_undecided() {
            match request.token.as_str() {
                "tok_slow" => tokio::time::sleep(self.slow).await,
                "tok_timeout" => std::future::pending().await,
                _ => {}
            }
        }
        self.change(&request.key, |charge| charge.authorise(request))
            .await
    }

    async fn query(&self, key: &str) -> Result<ChargeState, GatewayError> {
        Ok(self.read(key).await?.0.state())
    }

    async fn capture(&self, key: &str, amount: Money) -> Result<(), GatewayError> {
        self.change(key, |charge| charge.capture(amount)).await
    }

    async fn void(&self, key: &str) -> Result<(), GatewayError> {
        self.change(key, Charge::void).await
    }

    async fn refund(&self, key: &str, refund_key: &str, amount: Money) -> Result<(), GatewayError> {
        self.change(key, |charge| charge.refund(refund_key, amount)).await
    }
}

/// After a write whose answer was lost, whatever else goes wrong leaves the outcome unknown.
fn or_unknown(lost: Option<StoreError>, error: GatewayError) -> GatewayError {
    match lost {
        Some(lost) => GatewayError::OutcomeUnknown(lost.into()),
        None => error,
    }
}
