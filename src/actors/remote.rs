//! Commands and replies between nodes: envelopes, pending requests, and the way back of a reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::outcome::{Ask, Failure, Outcome};
use crate::traces::TraceContext;
use souk_cluster::frames::Item;
use souk_cluster::lanes::{Links, SendError};
use souk_domain::Aggregate;

/// Sends encoded items to other nodes. The items to a node stay in order.
pub trait NodeTransport: Send + Sync + 'static {
    /// Queues `item` for `node`.
    ///
    /// # Errors
    /// [`SendError`]; the item was not queued.
    fn send(&self, node: &str, item: Vec<u8>) -> Result<(), SendError>;

    /// Closes the connection to `node`: its requests to this node that wait for a reply fail, and are repeated.
    fn disconnect(&self, node: &str);
}

impl NodeTransport for Links {
    fn send(&self, node: &str, item: Vec<u8>) -> Result<(), SendError> {
        Self::send(self, node, Item(item))
    }

    fn disconnect(&self, node: &str) {
        self.end(node);
    }
}

/// An item between nodes.
#[derive(Debug, Serialize, Deserialize)]
pub enum Envelope {
    /// A command for an entity that the receiver owns.
    Command {
        /// The number of the request; the reply repeats it.
        correlation: u64,
        /// The name of the kind of entity.
        kind: String,
        /// Which entity.
        id: String,
        /// A [`RemoteAsk`].
        body: Vec<u8>,
    },
    /// The outcome of a command.
    Reply {
        /// The number of the request.
        correlation: u64,
        /// An [`Outcome`].
        body: Vec<u8>,
    },
    /// The sender has released every shard that it lost with a view.
    Released {
        /// The view's number.
        view: u64,
    },
    /// The sender has changed the view in the store: look now instead of at the next interval.
    LookNow,
}

/// An ask to another node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct RemoteAsk<A: Aggregate> {
    /// The command and its conditions.
    pub ask: Ask<A>,
    /// The trace that it belongs to, if traces are recorded.
    pub trace: Option<TraceContext>,
}

/// Requests to other nodes that wait for their reply.
#[derive(Debug, Default)]
pub struct PendingRequests {
    next: AtomicU64,
    waiting: DashMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    node: Arc<str>,
    reply: oneshot::Sender<Vec<u8>>,
}

impl PendingRequests {
    /// Registers a request to `node`. It is removed when the [`PendingRequest`] is dropped.
    pub fn register(self: &Arc<Self>, node: Arc<str>) -> PendingRequest {
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, receiver) = oneshot::channel();
        self.waiting.insert(correlation, Waiting { node, reply });
        PendingRequest {
            correlation,
            receiver,
            requests: Arc::clone(self),
        }
    }

    /// Delivers a reply.
    pub fn complete(&self, correlation: u64, body: Vec<u8>) {
        if let Some((_, waiting)) = self.waiting.remove(&correlation) {
            // The caller may have reached its deadline just now.
            drop(waiting.reply.send(body));
        }
    }

    /// Fails all requests to `node`, because the node or the link to it is gone. Their callers ask again.
    pub fn fail(&self, node: &str) {
        self.waiting.retain(|_, waiting| &*waiting.node != node);
    }
}

/// A request to another node that waits for its reply.
#[derive(Debug)]
pub struct PendingRequest {
    /// The number that the reply will carry.
    pub correlation: u64,
    /// Receives the reply, or an error if the request fails.
    pub receiver: oneshot::Receiver<Vec<u8>>,
    requests: Arc<PendingRequests>,
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.requests.waiting.remove(&self.correlation);
    }
}

/// The way back to a caller on another node.
#[derive(Clone)]
pub struct ReturnPath {
    /// The caller's node.
    pub node: Arc<str>,
    /// The number of its request.
    pub correlation: u64,
    /// Sends the reply.
    pub transport: Arc<dyn NodeTransport>,
}

impl std::fmt::Debug for ReturnPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReturnPath({} #{})", self.node, self.correlation)
    }
}

impl ReturnPath {
    /// Sends the outcome to the caller. The caller never waits for a reply that can't be sent: without a link its node fails
    /// the request itself, and if the lane is full, the link is closed, and the caller's region asks again.
    pub fn send<A: Aggregate>(&self, outcome: &Outcome<A>) {
        let sent = match self.try_send(outcome) {
            Some(Err(SendError::TooLarge(_))) => {
                tracing::warn!(kind = A::KIND.as_str(), "reply too large for another node");
                self.try_send::<A>(&Outcome::Failed(Failure::Undecodable))
            }
            sent => sent,
        };
        let Some(Err(error)) = sent else { return };
        metrics::counter!("souk_replies_undeliverable_total").increment(1);
        tracing::debug!(%error, node = %self.node, "cannot send a reply");
        if error == SendError::Busy {
            self.transport.disconnect(&self.node);
        }
    }

    fn try_send<A: Aggregate>(&self, outcome: &Outcome<A>) -> Option<Result<(), SendError>> {
        souk_wire::encode(outcome)
            .and_then(|body| {
                souk_wire::encode(&Envelope::Reply {
                    correlation: self.correlation,
                    body,
                })
            })
            .map_err(|error| tracing::warn!(%error, "cannot encode a reply"))
            .ok()
            .map(|item| self.transport.send(&self.node, item))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::actors::outcome::Origin;
    use souk_domain::{Cart, CartCommand, CommandId};

    /// Refuses the first items with these errors, and records what happens.
    #[derive(Default)]
    struct Refusing {
        errors: Mutex<Vec<SendError>>,
        sent: Mutex<Vec<Envelope>>,
        disconnected: Mutex<Vec<String>>,
    }

    impl NodeTransport for Refusing {
        fn send(&self, _node: &str, item: Vec<u8>) -> Result<(), SendError> {
            match self.errors.lock().unwrap().pop() {
                Some(error) => Err(error),
                None => {
                    self.sent.lock().unwrap().push(souk_wire::decode(&item).unwrap());
                    Ok(())
                }
            }
        }

        fn disconnect(&self, node: &str) {
            self.disconnected.lock().unwrap().push(node.to_owned());
        }
    }

    fn reply_refused_with(error: SendError) -> Arc<Refusing> {
        let transport = Arc::new(Refusing::default());
        transport.errors.lock().unwrap().push(error);
        let path = ReturnPath {
            node: Arc::from("n2"),
            correlation: 7,
            transport: Arc::clone(&transport) as Arc<dyn NodeTransport>,
        };
        path.send::<Cart>(&Outcome::Expired);
        transport
    }

    #[test]
    fn a_reply_to_a_full_lane_closes_the_link() {
        let transport = reply_refused_with(SendError::Busy);
        assert_eq!(*transport.disconnected.lock().unwrap(), ["n2"]);
    }

    #[test]
    fn a_reply_that_is_too_large_is_an_error() {
        let transport = reply_refused_with(SendError::TooLarge(9));
        let sent = transport.sent.lock().unwrap();
        let [Envelope::Reply { correlation: 7, body }] = sent.as_slice() else {
            panic!("{sent:?}");
        };
        let outcome: Outcome<Cart> = souk_wire::decode(body).unwrap();
        assert!(
            matches!(outcome, Outcome::Failed(Failure::Undecodable)),
            "{outcome:?}"
        );
        assert!(transport.disconnected.lock().unwrap().is_empty());
    }

    #[test]
    fn without_a_link_nothing_is_closed() {
        assert!(
            reply_refused_with(SendError::NoLink)
                .disconnected
                .lock()
                .unwrap()
                .is_empty()
        );
    }

    /// Nodes agree on the fields, on their order, and on what a deadline is.
    #[test]
    fn an_ask_travels_with_its_remaining_time() {
        type Fields = (
            CartCommand,
            Option<CommandId>,
            Option<u64>,
            u64,
            String,
            bool,
            Origin,
            bool,
            Option<TraceContext>,
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        let ask = Ask::<Cart>::new(CartCommand::Get, deadline, Arc::from("request"));
        let bytes = souk_wire::encode(&RemoteAsk { ask, trace: None }).unwrap();
        let fields: Fields = souk_wire::decode(&bytes).unwrap();
        assert!(matches!(fields.0, CartCommand::Get));
        assert!((1..=60_000).contains(&fields.3), "{} ms", fields.3);
        assert_eq!(fields.4, "request");
        let received: RemoteAsk<Cart> = souk_wire::decode(&bytes).unwrap();
        assert_eq!(&*received.ask.request_id, "request");
        assert!(received.ask.deadline > Instant::now());
    }

    #[tokio::test]
    async fn requests_to_a_lost_node_fail() {
        let requests = Arc::new(PendingRequests::default());
        let mut lost = requests.register(Arc::from("n2"));
        let mut other = requests.register(Arc::from("n3"));
        let dropped = requests.register(Arc::from("n3")).correlation;
        requests.fail("n2");
        assert!((&mut lost.receiver).await.is_err());
        requests.complete(other.correlation, vec![7]);
        assert_eq!((&mut other.receiver).await, Ok(vec![7]));
        requests.complete(dropped, vec![7]);
        assert!(requests.waiting.is_empty());
    }
}
