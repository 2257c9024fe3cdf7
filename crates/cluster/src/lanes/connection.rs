//! The lanes of a connection, one each way: outgoing queue and window, incoming order and acknowledgements.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use metrics::counter;
use ractor::ActorRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::window::{ReceiveWindow, SendWindow, WindowError};
use super::{FrameSink, SendError};
use crate::frames::{EncodedFrame, FRAME_BYTES, FRAME_ITEMS, Frame, ITEM_BYTES, Item, LaneMessage};
use crate::transport::Secured;
use crate::view::NodeIdentity;

/// Most items in the queue of a lane.
pub const QUEUE_ITEMS: usize = 4096;

/// Most bytes in the queue of a lane.
pub const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// A connection to one incarnation of one node.
pub struct Connection {
    peer: NodeIdentity,
    pub(super) inbound_token: u64,
    outbound_token: u64,
    closed: CancellationToken,
    incoming: Mutex<IncomingLane>,
    /// Set when the peer's gateway is known; frames may arrive before.
    outgoing: OnceLock<OutgoingLane>,
}

#[derive(Default)]
struct IncomingLane {
    window: ReceiveWindow,
    pending: Pending,
}

/// How incoming items are handled.
enum Pending {
    /// Kept, because the peer was ready first and replies can't be sent yet. The peer's window bounds them.
    Kept(Vec<Item>),
    /// Delivered to the sink.
    Delivered,
}

impl Default for Pending {
    fn default() -> Self {
        Self::Kept(Vec::new())
    }
}

struct OutgoingLane {
    gateway: ActorRef<LaneMessage>,
    window: SendWindow,
    queue: mpsc::Sender<Item>,
    queued_bytes: AtomicUsize,
}

impl Connection {
    pub(super) fn new(secured: &Secured) -> Self {
        Self {
            peer: secured.peer.clone(),
            inbound_token: secured.inbound_token,
            outbound_token: secured.outbound_token,
            closed: secured.closed.clone(),
            incoming: Mutex::default(),
            outgoing: OnceLock::new(),
        }
    }

    /// The node at the other end.
    pub fn peer(&self) -> &NodeIdentity {
        &self.peer
    }

    /// Cancelled when the connection has ended; closes it when cancelled.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Begins to send to the peer's gateway. A second call has no effect.
    pub(super) fn activate(self: &Arc<Self>, gateway: ActorRef<LaneMessage>) {
        let (queue, receiver) = mpsc::channel(QUEUE_ITEMS);
        let lane = OutgoingLane {
            gateway,
            window: SendWindow::default(),
            queue,
            queued_bytes: AtomicUsize::new(0),
        };
        if self.outgoing.set(lane).is_ok() {
            tokio::spawn(Arc::clone(self).drain(receiver));
        }
    }

    /// Delivers the items that were kept until replies could be sent, and all later ones.
    pub(super) fn start_delivery(&self, sink: &FrameSink) {
        let mut lane = self.incoming();
        if let Pending::Kept(items) = std::mem::replace(&mut lane.pending, Pending::Delivered)
            && !items.is_empty()
        {
            sink(&self.peer, items);
        }
        // The peer may have filled its window and wait for an acknowledgement that could not be sent.
        self.acknowledge(&mut lane.window);
    }

    fn incoming(&self) -> MutexGuard<'_, IncomingLane> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item into the queue.
    pub(super) fn send(&self, item: Item) -> Result<(), SendError> {
        let bytes = item.0.len();
        if bytes > ITEM_BYTES {
            return Err(SendError::TooLarge(bytes));
        }
        if self.closed.is_cancelled() {
            return Err(SendError::NoLink);
        }
        let lane = self.outgoing.get().ok_or(SendError::NoLink)?;
        let before = lane.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let queued = if before + bytes > QUEUE_BYTES {
            Err(SendError::Busy)
        } else {
            lane.queue.try_send(item).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Busy,
                mpsc::error::TrySendError::Closed(_) => SendError::NoLink,
            })
        };
        if queued.is_err() {
            lane.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        queued
    }

    /// Sends the items of the queue, packed into frames, whenever the window is open.
    async fn drain(self: Arc<Self>, queue: mpsc::Receiver<Item>) {
        self.closed.run_until_cancelled(self.pack_and_send(queue)).await;
    }

    async fn pack_and_send(&self, mut queue: mpsc::Receiver<Item>) {
        let Some(lane) = self.outgoing.get() else {
            return;
        };
        let peer = &self.peer.name;
        let frames_sent = counter!("souk_link_frames_sent_total", "peer" => peer.clone());
        let items_sent = counter!("souk_link_items_sent_total", "peer" => peer.clone());
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(item) => item,
                None => match queue.recv().await {
                    Some(item) => item,
                    None => return,
                },
            };
            // The window first: items that gather while it is closed go into one frame.
            lane.window.open().await;
            // And once behind the tasks that are ready now, which may have items as well.
            tokio::task::yield_now().await;
            let mut bytes = first.0.len();
            let mut items = vec![first];
            while items.len() < FRAME_ITEMS {
                let Ok(item) = queue.try_recv() else { break };
                if bytes + item.0.len() > FRAME_BYTES {
                    left_over = Some(item);
                    break;
                }
                bytes += item.0.len();
                items.push(item);
            }
            lane.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let count = items.len();
            let frame = Frame::Items {
                token: self.outbound_token,
                sequence: lane.window.send(bytes),
                items,
            };
            if !self.cast(&lane.gateway, &frame) {
                return;
            }
            frames_sent.increment(1);
            items_sent.increment(count as u64);
        }
    }

    /// Sends a frame to the peer's gateway. A failure closes the connection, because a lane must have no gap.
    fn cast(&self, gateway: &ActorRef<LaneMessage>, frame: &Frame) -> bool {
        let sent = match souk_wire::encode(frame) {
            Ok(bytes) => gateway
                .cast(LaneMessage::Frame(EncodedFrame(bytes)))
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &sent
            && !self.closed.is_cancelled()
        {
            tracing::debug!(peer = %self.peer, error, "cannot send a frame; closing the link");
            self.closed.cancel();
        }
        sent.is_ok()
    }

    /// Receives the items of a frame.
    pub(super) fn receive(
        &self,
        sequence: u64,
        items: Vec<Item>,
        sink: &FrameSink,
    ) -> Result<(), WindowError> {
        let mut incoming = self.incoming();
        incoming.window.check(sequence)?;
        let bytes = items.iter().map(|item| item.0.len()).sum();
        match &mut incoming.pending {
            Pending::Kept(kept) => kept.extend(items),
            Pending::Delivered => sink(&self.peer, items),
        }
        incoming.window.received(bytes);
        self.acknowledge(&mut incoming.window);
        Ok(())
    }

    /// Sends the acknowledgement that is due, if the peer's gateway is known.
    fn acknowledge(&self, window: &mut ReceiveWindow) {
        if let (Some(sequence), Some(lane)) = (window.due(), self.outgoing.get()) {
            let frame = Frame::Acknowledge {
                token: self.outbound_token,
                sequence,
            };
            if self.cast(&lane.gateway, &frame) {
                window.acknowledged();
            }
        }
    }

    /// The peer acknowledges the frames up to this one.
    pub(super) fn acknowledged(&self, sequence: u64) -> Result<(), WindowError> {
        match self.outgoing.get() {
            Some(lane) => lane.window.acknowledge(sequence),
            None => Err(WindowError::NeverSent {
                got: sequence,
                sent: 0,
            }),
        }
    }
}
