//! The window of a lane: how much may be on its way. ractor's queues have no end, so what a peer has not acknowledged has
//! one: a peer that stops leaves the lane full, and never the memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Frames of one lane that may be unacknowledged.
pub const WINDOW_FRAMES: usize = 64;

/// Bytes of one lane that may be unacknowledged; the last frame may reach beyond it.
pub const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// The receiver acknowledges after so many frames, or so many bytes, and not each one: acknowledgements cost messages too.
const ACKNOWLEDGE_FRAMES: usize = WINDOW_FRAMES / 4;
const ACKNOWLEDGE_BYTES: usize = WINDOW_BYTES / 4;

// No standstill: what the receiver may still keep back never closes the sender's window. Both ends are of this build's
// constants; another pair of them is another application protocol (see `certificates`).
const _: () = assert!(ACKNOWLEDGE_FRAMES < WINDOW_FRAMES && ACKNOWLEDGE_BYTES < WINDOW_BYTES);

/// The peer counts wrongly: the connection cannot be trusted to be in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A frame is missing, or comes twice.
    #[error("frame {got} came where {expected} was due")]
    OutOfOrder {
        /// The frame that was due.
        expected: u64,
        /// The frame that came.
        got: u64,
    },
    /// It acknowledges what was never sent.
    #[error("frame {got} was acknowledged, and only {sent} were sent")]
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

    /// Waits until another frame may go. One task waits at a time.
    pub(super) async fn open(&self) {
        loop {
            {
                let state = self.state();
                if state.frames.len() < WINDOW_FRAMES && state.bytes < WINDOW_BYTES {
                    return;
                }
            }
            // A permit that was left since the look above is taken at once.
            self.opened.notified().await;
        }
    }

    /// The sequence number of the next frame, which is now on its way.
    pub(super) fn send(&self, bytes: usize) -> u64 {
        let mut state = self.state();
        state.sent += 1;
        state.bytes += bytes;
        let sequence = state.sent;
        state.frames.push_back((sequence, bytes));
        sequence
    }

    /// The peer has taken all frames up to this one.
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
    taken: u64,
    frames_kept_back: usize,
    bytes_kept_back: usize,
}

impl ReceiveWindow {
    /// Whether this frame is the one that is due.
    pub(super) fn admit(&self, sequence: u64) -> Result<(), WindowError> {
        let expected = self.taken + 1;
        if sequence == expected {
            Ok(())
        } else {
            Err(WindowError::OutOfOrder {
                expected,
                got: sequence,
            })
        }
    }

    /// The admitted frame was taken.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += 1;
        self.frames_kept_back += 1;
        self.bytes_kept_back += bytes;
    }

    /// What has to be acknowledged now.
    pub(super) fn due(&self) -> Option<u64> {
        let due = self.frames_kept_back >= ACKNOWLEDGE_FRAMES || self.bytes_kept_back >= ACKNOWLEDGE_BYTES;
        due.then_some(self.taken)
    }

    /// The acknowledgement went out.
    pub(super) fn acknowledged(&mut self) {
        self.frames_kept_back = 0;
        self.bytes_kept_back = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the sizes, and however late the receiver is, frames keep flowing and never exceed the window.
        #[test]
        fn the_window_bounds_and_never_stands_still(
            sizes in prop::collection::vec(1usize..9 * 1024 * 1024, 1..300),
            lag in 0usize..80,
        ) {
            let sender = SendWindow::default();
            let mut receiver = ReceiveWindow::default();
            let mut on_the_way = VecDeque::new();
            let mut largest = 0;
            for bytes in sizes {
                largest = largest.max(bytes);
                while sender.open().now_or_never().is_none() {
                    // Only the receiver can open it; with nothing on the way to it this would be a standstill.
                    let Some((sequence, bytes)) = on_the_way.pop_front() else {
                        return Err(TestCaseError::fail("the lane stands still"));
                    };
                    deliver(&sender, &mut receiver, sequence, bytes);
                }
                let sequence = sender.send(bytes);
                on_the_way.push_back((sequence, bytes));
                while on_the_way.len() > lag {
                    if let Some((sequence, bytes)) = on_the_way.pop_front() {
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
        receiver.admit(sequence).unwrap();
        receiver.take(bytes);
        if let Some(taken) = receiver.due() {
            receiver.acknowledged();
            sender.acknowledge(taken).unwrap();
        }
    }

    #[test]
    fn gaps_repeats_and_false_acknowledgements_are_errors() {
        let mut receiver = ReceiveWindow::default();
        assert_eq!(
            receiver.admit(2),
            Err(WindowError::OutOfOrder { expected: 1, got: 2 })
        );
        receiver.admit(1).unwrap();
        receiver.take(1);
        assert!(receiver.admit(1).is_err());
        let sender = SendWindow::default();
        assert_eq!(sender.send(1), 1);
        assert_eq!(
            sender.acknowledge(2),
            Err(WindowError::NeverSent { got: 2, sent: 1 })
        );
        sender.acknowledge(1).unwrap();
        // An older one, which a later overtook, does no harm.
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
