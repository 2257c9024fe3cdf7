//! The window of a lane: a bound on unacknowledged frames. ractor's queues are unbounded; with the window, a peer that stops
//! fills the lane and not the memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Most unacknowledged frames of a lane.
pub const WINDOW_FRAMES: usize = 64;

/// Most unacknowledged bytes of a lane; the last frame may exceed it.
pub const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// The receiver acknowledges after this many frames or bytes, because acknowledgements cost messages too.
const ACKNOWLEDGE_FRAMES: usize = WINDOW_FRAMES / 4;
const ACKNOWLEDGE_BYTES: usize = WINDOW_BYTES / 4;

// No deadlock: frames that the receiver has not acknowledged yet never close the sender's window. Both ends use the same
// constants; changing them means another application protocol (see `certificates`).
const _: () = assert!(ACKNOWLEDGE_FRAMES < WINDOW_FRAMES && ACKNOWLEDGE_BYTES < WINDOW_BYTES);

/// The peer violates the order of frames, so the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A frame is missing or repeated.
    #[error("received frame {got} instead of {expected}")]
    OutOfOrder {
        /// The expected frame.
        expected: u64,
        /// The received frame.
        got: u64,
    },
    /// The peer acknowledges a frame that was never sent.
    #[error("frame {got} was acknowledged, but only {sent} were sent")]
    NeverSent {
        /// Acknowledged.
        got: u64,
        /// Sent.
        sent: u64,
    },
}

#[derive(Default)]
struct Unacknowledged {
    sent: u64,
    frames: VecDeque<(u64, usize)>,
    bytes: usize,
}

/// The sender's end.
#[derive(Default)]
pub(super) struct SendWindow {
    state: Mutex<Unacknowledged>,
    opened: Notify,
}

impl SendWindow {
    fn state(&self) -> std::sync::MutexGuard<'_, Unacknowledged> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another frame may be sent. Only one task waits at a time.
    pub(super) async fn open(&self) {
        loop {
            {
                let state = self.state();
                if state.frames.len() < WINDOW_FRAMES && state.bytes < WINDOW_BYTES {
                    return;
                }
            }
            // A notification since the check above is stored, so it is not missed.
            self.opened.notified().await;
        }
    }

    /// The sequence number of the next frame, which counts as sent.
    pub(super) fn send(&self, bytes: usize) -> u64 {
        let mut state = self.state();
        state.sent += 1;
        state.bytes += bytes;
        let sequence = state.sent;
        state.frames.push_back((sequence, bytes));
        sequence
    }

    /// The peer has received all frames up to this one.
    pub(super) fn acknowledge(&self, sequence: u64) -> Result<(), WindowError> {
        let mut state = self.state();
        if sequence > state.sent {
            return Err(WindowError::NeverSent {
                got: sequence,
                sent: state.sent,
            });
        }
        while let Some(&(oldest, bytes)) = state.frames.front()
            && oldest <= sequence
        {
            state.frames.pop_front();
            state.bytes -= bytes;
        }
        drop(state);
        self.opened.notify_one();
        Ok(())
    }
}

/// The receiver's end.
#[derive(Debug, Default)]
pub(super) struct ReceiveWindow {
    received: u64,
    unacknowledged_frames: usize,
    unacknowledged_bytes: usize,
}

impl ReceiveWindow {
    /// Checks that this frame is the next one.
    pub(super) fn check(&self, sequence: u64) -> Result<(), WindowError> {
        let expected = self.received + 1;
        if sequence == expected {
            Ok(())
        } else {
            Err(WindowError::OutOfOrder {
                expected,
                got: sequence,
            })
        }
    }

    /// The checked frame was delivered.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += 1;
        self.unacknowledged_frames += 1;
        self.unacknowledged_bytes += bytes;
    }

    /// The frame to acknowledge now.
    pub(super) fn due(&self) -> Option<u64> {
        let due = self.unacknowledged_frames >= ACKNOWLEDGE_FRAMES
            || self.unacknowledged_bytes >= ACKNOWLEDGE_BYTES;
        due.then_some(self.received)
    }

    /// The acknowledgement was sent.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged_frames = 0;
        self.unacknowledged_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proptest::prelude::*;

    proptest! {
        /// For all sizes of frames and delays of the receiver.
        #[test]
        fn the_window_is_bounded_and_never_deadlocks(
            sizes in prop::collection::vec(1usize..9 * 1024 * 1024, 1..300),
            lag in 0usize..80,
        ) {
            let sender = SendWindow::default();
            let mut receiver = ReceiveWindow::default();
            let mut in_flight = VecDeque::new();
            let mut largest = 0;
            for bytes in sizes {
                largest = largest.max(bytes);
                while sender.open().now_or_never().is_none() {
                    // Only the receiver can open it, so with nothing in flight this would be a deadlock.
                    let Some((sequence, bytes)) = in_flight.pop_front() else {
                        return Err(TestCaseError::fail("deadlock"));
                    };
                    deliver(&sender, &mut receiver, sequence, bytes);
                }
                let sequence = sender.send(bytes);
                in_flight.push_back((sequence, bytes));
                while in_flight.len() > lag {
                    if let Some((sequence, bytes)) = in_flight.pop_front() {
                        deliver(&sender, &mut receiver, sequence, bytes);
                    }
                }
                let state = sender.state();
                prop_assert!(state.frames.len() <= WINDOW_FRAMES);
                prop_assert!(state.bytes < WINDOW_BYTES + largest);
            }
        }
    }

    fn deliver(sender: &SendWindow, receiver: &mut ReceiveWindow, sequence: u64, bytes: usize) {
        receiver.check(sequence).unwrap();
        receiver.received(bytes);
        if let Some(taken) = receiver.due() {
            receiver.acknowledged();
            sender.acknowledge(taken).unwrap();
        }
    }

    #[test]
    fn gaps_and_false_acknowledgements_are_errors() {
        let mut receiver = ReceiveWindow::default();
        assert_eq!(
            receiver.check(2),
            Err(WindowError::OutOfOrder { expected: 1, got: 2 })
        );
        receiver.check(1).unwrap();
        receiver.received(1);
        assert!(receiver.check(1).is_err());
        let sender = SendWindow::default();
        assert_eq!(sender.send(1), 1);
        assert_eq!(
            sender.acknowledge(2),
            Err(WindowError::NeverSent { got: 2, sent: 1 })
        );
        sender.acknowledge(1).unwrap();
        // An outdated acknowledgement does no harm.
        sender.acknowledge(0).unwrap();
    }

    #[tokio::test]
    async fn a_waiting_sender_is_woken() {
        let window = std::sync::Arc::new(SendWindow::default());
        for _ in 0..WINDOW_FRAMES {
            window.send(1);
        }
        assert!(window.open().now_or_never().is_none());
        let waiting = tokio::spawn({
            let window = std::sync::Arc::clone(&window);
            async move { window.open().await }
        });
        window.acknowledge(1).unwrap();
        waiting.await.unwrap();
    }
}
