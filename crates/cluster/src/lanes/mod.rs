//! Lanes: how one node's regions reach another's. Four gateway actors a node are all that ractor announces to its peers;
//! entities have no names and no groups. Items that wait at the same time travel in one frame, and what is on its way is
//! bounded by a window, so that a peer that stops costs its callers a `Busy` and no memory.
//!
//! Items of one lane arrive in the order in which they were sent, for as long as the connection lives. When it ends, what
//! was on its way is lost or not, and nobody can tell: whoever waits for a reply learns of it by
//! [`LinkEvent::Down`](super::peers::LinkEvent::Down).

mod connection;
mod window;

use std::sync::Arc;

use dashmap::DashMap;
use metrics::{counter, gauge};
use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use connection::{Connection, QUEUE_BYTES, QUEUE_ITEMS};
pub use window::{WINDOW_BYTES, WINDOW_FRAMES, WindowError};

use super::frames::{EncodedFrame, Frame, Item, LaneMessage};
use super::transport::{NodeIdentity, Secured};

/// Gateways of each node. Several, because one actor on each side does 40 to 58 thousand frames a second at best.
pub const LANES: usize = 4;

/// Takes what comes in.
pub trait FrameSink: Send + Sync + 'static {
    /// Takes items in their order. Called on a gateway, so it must neither block nor panic; while it runs, its lane of the
    /// sender waits.
    fn deliver(&self, from: &NodeIdentity, items: Vec<Item>);
}

impl<Function> FrameSink for Function
where
    Function: Fn(&NodeIdentity, Vec<Item>) + Send + Sync + 'static,
{
    fn deliver(&self, from: &NodeIdentity, items: Vec<Item>) {
        self(from, items);
    }
}

/// Why an item was not sent. It was not queued either, so it has no effect anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no link to that node.
    #[error("there is no link to the node")]
    NoLink,
    /// The lane is full: the peer does not keep up, or has stopped.
    #[error("the lane to the node is full")]
    Busy,
    /// Larger than [`ITEM_BYTES`](super::frames::ITEM_BYTES).
    #[error("an item of {0} bytes is too large for a lane")]
    TooLarge(usize),
}

/// All links of a node. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    /// The link to send by, for each name.
    by_node: DashMap<String, Arc<Connection>>,
    /// Every connection from which frames may come, by the token that marks them.
    by_token: DashMap<u64, Arc<Connection>>,
    sink: Arc<dyn FrameSink>,
}

impl Links {
    /// No links yet; what comes in goes to `sink`.
    pub fn new(sink: Arc<dyn FrameSink>) -> Self {
        Self {
            inner: Arc::new(Inner {
                by_node: DashMap::new(),
                by_token: DashMap::new(),
                sink,
            }),
        }
    }

    /// Sends an item to a node. Items with the same key arrive in their order; the key is a shard, as a rule.
    ///
    /// # Errors
    /// [`SendError`]; the item was not sent then. Where it is sent, that is no promise that it arrives.
    pub fn send(&self, node: &str, key: u64, item: Item) -> Result<(), SendError> {
        let connection = self
            .inner
            .by_node
            .get(node)
            .map(|entry| Arc::clone(entry.value()))
            .ok_or(SendError::NoLink)?;
        // The remainder is below LANES.
        let lane = (key % LANES as u64) as usize;
        connection.send(lane, item)
    }

    /// Whether there is a link to this very incarnation.
    pub fn is_up(&self, node: &NodeIdentity) -> bool {
        self.inner
            .by_node
            .get(&node.name)
            .is_some_and(|entry| entry.peer() == node && !entry.over().is_cancelled())
    }

    /// The nodes to which there is a link, sorted.
    pub fn peers(&self) -> Vec<NodeIdentity> {
        let mut peers: Vec<_> = self
            .inner
            .by_node
            .iter()
            .map(|entry| entry.peer().clone())
            .collect();
        peers.sort();
        peers
    }

    /// From now on frames of this connection are taken.
    pub(super) fn open(&self, secured: &Secured) -> Arc<Connection> {
        let connection = Arc::new(Connection::new(secured));
        self.inner
            .by_token
            .insert(connection.inbound_token(), Arc::clone(&connection));
        connection
    }

    /// From now on items are sent by this connection, and what comes in by it is handed over. Not before: the peer may be
    /// up first, and a command that it sends then has to find a way back for its reply.
    pub(super) fn raise(&self, connection: &Arc<Connection>, gateways: [ActorRef<LaneMessage>; LANES]) {
        connection.raise(gateways);
        self.inner
            .by_node
            .insert(connection.peer().name.clone(), Arc::clone(connection));
        connection.begin_to_deliver(self.inner.sink.as_ref());
        gauge!("souk_links").set(self.inner.by_node.len() as f64);
    }

    /// The connection has ended; ends it where it has not.
    pub(super) fn close(&self, connection: &Arc<Connection>) {
        connection.over().cancel();
        self.inner.by_token.remove(&connection.inbound_token());
        self.inner
            .by_node
            .remove_if(&connection.peer().name, |_, current| {
                Arc::ptr_eq(current, connection)
            });
        gauge!("souk_links").set(self.inner.by_node.len() as f64);
    }

    /// Ends the connection to a node, where there is one; it is made anew.
    pub fn end(&self, node: &str) {
        if let Some(connection) = self.inner.by_node.get(node) {
            connection.over().cancel();
        }
    }

    /// Ends every connection; they are made anew.
    pub(super) fn end_all(&self) {
        for entry in &self.inner.by_token {
            entry.over().cancel();
        }
    }

    fn receive(&self, lane: usize, EncodedFrame(bytes): &EncodedFrame) {
        let frame: Frame = match souk_wire::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                // Which peer sent it stands in the frame only.
                counter!("souk_link_frames_dropped_total", "why" => "undecodable").increment(1);
                tracing::warn!(%error, lane, "a frame from a node of the cluster does not decode");
                return;
            }
        };
        let (Frame::Items { token, .. } | Frame::Acknowledge { token, .. }) = &frame;
        let Some(connection) = self
            .inner
            .by_token
            .get(token)
            .map(|entry| Arc::clone(entry.value()))
        else {
            // Left over from a connection that has ended.
            counter!("souk_link_frames_dropped_total", "why" => "ended").increment(1);
            return;
        };
        let taken = match frame {
            Frame::Items { sequence, items, .. } => {
                counter!("souk_link_items_received_total").increment(items.len() as u64);
                connection.take(lane, sequence, items, self.inner.sink.as_ref())
            }
            Frame::Acknowledge { sequence, .. } => connection.acknowledged(lane, sequence),
        };
        if let Err(error) = taken {
            counter!("souk_link_frames_dropped_total", "why" => "out_of_order").increment(1);
            tracing::warn!(peer = %connection.peer(), %error, lane, "the link is closed");
            connection.over().cancel();
        }
    }
}

/// The actor that other nodes can send to: one a lane.
pub struct Gateway;

impl Gateway {
    /// The process group by which peers find the gateway of a lane.
    pub fn group(lane: usize) -> String {
        format!("souk.lane.{lane}")
    }
}

/// A gateway's state.
pub struct GatewayState {
    lane: usize,
    links: Links,
}

impl Actor for Gateway {
    type Msg = LaneMessage;
    type State = GatewayState;
    type Arguments = (usize, Links);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (lane, links): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        ractor::pg::join(Self::group(lane), vec![myself.get_cell()]);
        Ok(GatewayState { lane, links })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        LaneMessage::Frame(frame): Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.links.receive(state.lane, &frame);
        Ok(())
    }
}
