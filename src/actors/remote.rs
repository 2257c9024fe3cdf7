//! Commands and replies between nodes: envelopes, the table of those who wait, and the way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::outcome::{Failure, Outcome};
use crate::traces::TraceContext;
use souk_domain::{Aggregate, CommandId};

/// Why an item could not be handed to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CourierError {
    /// There is no connection to it at the moment.
    #[error("there is no connection to that node")]
    NoLink,
    /// Too much is waiting for it.
    #[error("too much is waiting for that node")]
    Full,
    /// It is larger than anything that goes to another node.
    #[error("the item is too large to be sent to a node")]
    TooLarge,
}

/// Carries encoded items to other nodes. Items with the same key stay in order.
pub trait Courier: Send + Sync + 'static {
    /// Queues `item` for `node`.
    ///
    /// # Errors
    /// [`CourierError`]; the item was not queued.
    fn send(&self, node: &str, key: u64, item: Vec<u8>) -> Result<(), CourierError>;

    /// Ends the connection to `node`: whoever waits there for an answer of this node's learns that it is lost.
    fn break_off(&self, node: &str);
}

/// What one item between nodes is.
#[derive(Debug, Serialize, Deserialize)]
pub enum Envelope {
    /// A command for an entity that the receiver owns.
    Command {
        /// The reply carries it back.
        correlation: u64,
        /// The name of the kind of entity.
        kind: String,
        /// Which entity.
        id: String,
        /// A [`RemoteAsk`].
        body: Vec<u8>,
    },
    /// What became of a command.
    Reply {
        /// As in the command.
        correlation: u64,
        /// An [`Outcome`].
        body: Vec<u8>,
    },
    /// The sender has installed a view and let go of every shard that it lost with it.
    Released {
        /// The view's number.
        view: u64,
    },
    /// The sender has changed the view in the store: look now instead of at the next interval.
    LookNow,
}

/// An [`Ask`](super::outcome::Ask) on its way: the deadline travels as what is left of it, since clocks differ.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct RemoteAsk<A: Aggregate> {
    /// What to decide.
    pub command: A::Command,
    /// Its name.
    pub command_id: Option<CommandId>,
    /// The condition.
    pub expected_version: Option<u64>,
    /// Milliseconds left until the deadline.
    pub budget_ms: u64,
    /// Follows the request.
    pub request_id: String,
    /// Hold the answer back until settled.
    pub wait_until_settled: bool,
    /// What it is a part of, where that is recorded.
    pub trace: Option<TraceContext>,
}

/// Those who wait for a reply from another node.
#[derive(Debug, Default)]
pub struct Correlations {
    next: AtomicU64,
    waiting: DashMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    node: Arc<str>,
    reply: oneshot::Sender<Vec<u8>>,
}

impl Correlations {
    /// A new number, and the receiver of what comes back under it. The entry goes when the [`Expectation`] is dropped.
    pub fn expect(self: &Arc<Self>, node: Arc<str>) -> Expectation {
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, receiver) = oneshot::channel();
        self.waiting.insert(correlation, Waiting { node, reply });
        Expectation {
            correlation,
            receiver,
            table: Arc::clone(self),
        }
    }

    /// A reply came.
    pub fn answered(&self, correlation: u64, body: Vec<u8>) {
        if let Some((_, waiting)) = self.waiting.remove(&correlation) {
            // Whoever waited may have met its deadline in this very moment.
            drop(waiting.reply.send(body));
        }
    }

    /// The connection to `node` is gone, or the node is: whoever waits for it is woken, and asks again elsewhere.
    pub fn forget(&self, node: &str) {
        self.waiting.retain(|_, waiting| &*waiting.node != node);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// One who waits for a reply from another node.
#[derive(Debug)]
pub struct Expectation {
    /// What the reply will carry.
    pub correlation: u64,
    /// Ends with an error when the node is forgotten.
    pub receiver: oneshot::Receiver<Vec<u8>>,
    table: Arc<Correlations>,
}

impl Drop for Expectation {
    fn drop(&mut self) {
        self.table.waiting.remove(&self.correlation);
    }
}

/// The way back to a caller on another node.
#[derive(Clone)]
pub struct ReturnPath {
    /// The caller's node.
    pub node: Arc<str>,
    /// What it called the command.
    pub correlation: u64,
    /// Who carries the reply.
    pub courier: Arc<dyn Courier>,
}

impl std::fmt::Debug for ReturnPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReturnPath({} #{})", self.node, self.correlation)
    }
}

impl ReturnPath {
    /// Sends the outcome back. The caller never waits for what can't come: without a link its node has forgotten this one,
    /// or will; where there is no room for a reply, the link is ended, and the caller's region asks again.
    pub fn send<A: Aggregate>(&self, outcome: &Outcome<A>) {
        let sent = match self.try_send(outcome) {
            Some(Err(CourierError::TooLarge)) => {
                tracing::warn!(kind = A::KIND.as_str(), "a reply is too large for another node");
                self.try_send::<A>(&Outcome::Failed(Failure::Undecodable))
            }
            sent => sent,
        };
        let Some(Err(error)) = sent else { return };
        metrics::counter!("souk_replies_undeliverable_total").increment(1);
        tracing::debug!(%error, node = %self.node, "a reply could not be sent back");
        if error == CourierError::Full {
            self.courier.break_off(&self.node);
        }
    }

    fn try_send<A: Aggregate>(&self, outcome: &Outcome<A>) -> Option<Result<(), CourierError>> {
        souk_wire::encode(outcome)
            .and_then(|body| {
                souk_wire::encode(&Envelope::Reply {
                    correlation: self.correlation,
                    body,
                })
            })
            .map_err(|error| tracing::warn!(%error, "a reply could not be encoded"))
            .ok()
            .map(|item| self.courier.send(&self.node, self.correlation, item))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use souk_domain::Cart;

    /// Refuses the first items with these errors, and notes what happens.
    #[derive(Default)]
    struct Refusing {
        errors: Mutex<Vec<CourierError>>,
        sent: Mutex<Vec<Envelope>>,
        broken_off: Mutex<Vec<String>>,
    }

    impl Courier for Refusing {
        fn send(&self, _node: &str, _key: u64, item: Vec<u8>) -> Result<(), CourierError> {
            match self.errors.lock().unwrap().pop() {
                Some(error) => Err(error),
                None => {
                    self.sent.lock().unwrap().push(souk_wire::decode(&item).unwrap());
                    Ok(())
                }
            }
        }

        fn break_off(&self, node: &str) {
            self.broken_off.lock().unwrap().push(node.to_owned());
        }
    }

    fn reply_refused_with(error: CourierError) -> Arc<Refusing> {
        let courier = Arc::new(Refusing::default());
        courier.errors.lock().unwrap().push(error);
        let path = ReturnPath {
            node: Arc::from("n2"),
            correlation: 7,
            courier: Arc::clone(&courier) as Arc<dyn Courier>,
        };
        path.send::<Cart>(&Outcome::Expired);
        courier
    }

    #[test]
    fn a_reply_without_room_ends_the_link_instead_of_leaving_its_caller_waiting() {
        let courier = reply_refused_with(CourierError::Full);
        assert_eq!(*courier.broken_off.lock().unwrap(), ["n2"]);
    }

    #[test]
    fn a_reply_that_is_too_large_says_so() {
        let courier = reply_refused_with(CourierError::TooLarge);
        let sent = courier.sent.lock().unwrap();
        let [Envelope::Reply { correlation: 7, body }] = sent.as_slice() else {
            panic!("{sent:?}");
        };
        let outcome: Outcome<Cart> = souk_wire::decode(body).unwrap();
        assert!(
            matches!(outcome, Outcome::Failed(Failure::Undecodable)),
            "{outcome:?}"
        );
        assert!(courier.broken_off.lock().unwrap().is_empty());
    }

    #[test]
    fn without_a_link_there_is_nothing_to_end() {
        assert!(
            reply_refused_with(CourierError::NoLink)
                .broken_off
                .lock()
                .unwrap()
                .is_empty()
        );
    }
}
