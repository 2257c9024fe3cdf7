//! The resident memory of the nodes, as their operator's interface tells it.

use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Call, Client};
use crate::failure::Failure;
use crate::target::Operator;

/// Between two looks during a run.
const INTERVAL: Duration = Duration::from_millis(500);

/// Resident memory of all nodes together during a run, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Before it.
    pub before: u64,
    /// At most, at any look.
    pub most: u64,
    /// After it.
    pub after: u64,
}

/// Looks at the nodes' memory during a run.
pub struct Watch {
    done: oneshot::Sender<()>,
    watching: JoinHandle<Result<Memory, Failure>>,
}

impl Watch {
    /// Takes the first look, and begins to watch.
    ///
    /// # Errors
    /// [`Failure`] where the interface does not answer.
    pub async fn begin(operator: &Operator) -> Result<Self, Failure> {
        let mut client = Client::new(operator.endpoint.clone());
        let token = operator.token.clone();
        let before = resident(&mut client, &token).await?;
        let (done, mut ended) = oneshot::channel();
        let watching = tokio::spawn(async move {
            let mut most = before;
            let mut looks = interval(INTERVAL);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    // Also where the run failed and nobody waits.
                    _ = &mut ended => break,
                    _ = looks.tick() => most = most.max(resident(&mut client, &token).await?),
                }
            }
            let after = resident(&mut client, &token).await?;
            Ok(Memory {
                before,
                most: most.max(after),
                after,
            })
        });
        Ok(Self { done, watching })
    }

    /// Takes the last look.
    ///
    /// # Errors
    /// [`Failure`] where the interface did not answer during the run.
    pub async fn end(self) -> Result<Memory, Failure> {
        // It may have ended by itself, with an error.
        let _ = self.done.send(());
        self.watching
            .await
            .map_err(|error| Failure::failed("the watch of the memory ended early", error))?
    }
}

/// The resident memory of all nodes together.
async fn resident(client: &mut Client, token: &str) -> Result<u64, Failure> {
    let call = Call::new(Method::GET, "/v1/nodes").header("Authorization", format!("Bearer {token}"));
    let nodes = client.fetch(call).await?;
    let nodes = nodes["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_each: Option<Vec<u64>> = nodes.iter().map(|node| node["rss_bytes"].as_u64()).collect();
    match of_each {
        Some(of_each) if !of_each.is_empty() => Ok(of_each.iter().sum()),
        _ => Err(Failure::Plain(
            "a node does not tell its memory (GET /v1/nodes)".into(),
        )),
    }
}
