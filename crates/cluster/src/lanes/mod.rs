//! Lanes: ordered, windowed streams of items between nodes. ractor announces only the gateway actor of a node to its peers;
//! entities have no names and no groups. Items that wait at the same time travel in one frame, and a window bounds what is in
//! flight, so a peer that stops causes `Busy` errors and no growing memory.
//!
//! There is one lane in each direction: what waits at the same time shares a frame, and with more lanes less of it waits at the
//! same one. A gateway handles 40 to 58 thousand frames a second; a machine on which that is too few gains from a second.
//!
//! The items of one lane arrive in the order in which they were sent while the connection lives. When it ends, items in
//! flight may or may not have arrived; [`LinkEvent::Down`](crate::peers::LinkEvent::Down) tells the callers.

mod connection;
mod window;

use std::sync::Arc;

use dashmap::DashMap;
use metrics::{counter, gauge};
use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use connection::{Connection, QUEUE_BYTES, QUEUE_ITEMS};
pub use window::{WINDOW_BYTES, WINDOW_FRAMES, WindowError};

use crate::frames::{EncodedFrame, Frame, Item, LaneMessage};
use crate::transport::Secured;
use crate::view::NodeIdentity;

/// Receives the items of another node in their order. Called on the gateway, so it must neither block nor panic; the sender's
/// lane waits while it runs.
pub type FrameSink = dyn Fn(&NodeIdentity, Vec<Item>) + Send + Sync;

/// Why an item was not sent. It has no effect anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no link to that node.
    #[error("there is no link to the node")]
    NoLink,
    /// The lane is full: the peer is too slow or has stopped.
    #[error("the lane to the node is full")]
    Busy,
    /// Larger than [`ITEM_BYTES`](crate::frames::ITEM_BYTES).
    #[error("an item of {0} bytes is too large for a lane")]
    TooLarge(usize),
}

/// All links of a node. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    /// The connection to each node, by name.
    by_node: DashMap<String, Arc<Connection>>,
    /// Every connection that may receive frames, by the token of those frames.
    by_token: DashMap<u64, Arc<Connection>>,
    sink: Arc<FrameSink>,
}

impl Links {
    /// No links yet; incoming items go to `sink`.
    pub fn new(sink: Arc<FrameSink>) -> Self {
        Self {
            inner: Arc::new(Inner {
                by_node: DashMap::new(),
                by_token: DashMap::new(),
                sink,
            }),
        }
    }

    /// Sends an item to a node. Items arrive in order.
    ///
    /// # Errors
    /// [`SendError`]; the item was not sent. `Ok` does not mean that it arrives.
    pub fn send(&self, node: &str, item: Item) -> Result<(), SendError> {
        let connection = self.inner.by_node.get(node).ok_or(SendError::NoLink)?;
        connection.send(item)
    }

    /// Whether there is a link to this incarnation.
    pub fn is_up(&self, node: &NodeIdentity) -> bool {
        self.inner
            .by_node
            .get(&node.name)
            .is_some_and(|entry| entry.peer() == node && !entry.closed().is_cancelled())
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

    /// Accepts frames of this connection from now on.
    pub(super) fn open(&self, secured: &Secured) -> Arc<Connection> {
        let connection = Arc::new(Connection::new(secured));
        self.inner
            .by_token
            .insert(connection.inbound_token, Arc::clone(&connection));
        connection
    }

    /// Sends items by this connection from now on, and delivers incoming ones. Not before: the peer may be ready first, and
    /// the reply to a command that it sends needs a way back.
    pub(super) fn activate(&self, connection: &Arc<Connection>, gateway: ActorRef<LaneMessage>) {
        connection.activate(gateway);
        self.inner
            .by_node
            .insert(connection.peer().name.clone(), Arc::clone(connection));
        connection.start_delivery(self.inner.sink.as_ref());
        gauge!("souk_links").set(self.inner.by_node.len() as f64);
    }

    /// Removes the connection and closes it.
    pub(super) fn close(&self, connection: &Arc<Connection>) {
        connection.closed().cancel();
        self.inner.by_token.remove(&connection.inbound_token);
        self.inner
            .by_node
            .remove_if(&connection.peer().name, |_, current| {
                Arc::ptr_eq(current, connection)
            });
        gauge!("souk_links").set(self.inner.by_node.len() as f64);
    }

    /// Closes the connection to a node; the link reconnects.
    pub fn end(&self, node: &str) {
        if let Some(connection) = self.inner.by_node.get(node) {
            connection.closed().cancel();
        }
    }

    /// Closes all connections; the links reconnect.
    pub(super) fn end_all(&self) {
        for entry in &self.inner.by_token {
            entry.closed().cancel();
        }
    }

    fn receive(&self, EncodedFrame(bytes): &EncodedFrame) {
        let frame: Frame = match souk_wire::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                // Only the frame itself tells which peer sent it.
                counter!("souk_link_frames_dropped_total", "why" => "undecodable").increment(1);
                tracing::warn!(%error, "cannot decode a frame of another node");
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
            // From a connection that has ended.
            counter!("souk_link_frames_dropped_total", "why" => "ended").increment(1);
            return;
        };
        let received = match frame {
            Frame::Items { sequence, items, .. } => {
                counter!("souk_link_items_received_total").increment(items.len() as u64);
                connection.receive(sequence, items, self.inner.sink.as_ref())
            }
            Frame::Acknowledge { sequence, .. } => connection.acknowledged(sequence),
        };
        if let Err(error) = received {
            counter!("souk_link_frames_dropped_total", "why" => "out_of_order").increment(1);
            tracing::warn!(peer = %connection.peer(), %error, "closing the link");
            connection.closed().cancel();
        }
    }
}

/// The actor that receives the frames of other nodes.
pub struct Gateway;

impl Gateway {
    /// The process group by which peers find the gateway.
    pub const GROUP: &str = "souk.lane.0";
}

impl Actor for Gateway {
    type Msg = LaneMessage;
    type State = Links;
    type Arguments = Links;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        links: Links,
    ) -> Result<Self::State, ActorProcessingErr> {
        ractor::pg::join(Self::GROUP.to_owned(), vec![myself.get_cell()]);
        Ok(links)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        LaneMessage::Frame(frame): Self::Msg,
        links: &mut Links,
    ) -> Result<(), ActorProcessingErr> {
        links.receive(&frame);
        Ok(())
    }
}
