//! A moment at which no database of an engine is written: what the files then show is of one moment.
//!
//! The thread of each database holds between two commits until the pause is over, or until [`PAUSE_TIME_LIMIT`] has passed.
//! Whoever ends a pause learns whether all have held until then.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::error::Error;
use crate::limits::PAUSE_TIME_LIMIT;

/// A pause of which some databases may not have heard yet.
pub(crate) struct Beginning {
    pause: Pause,
    holding: Vec<oneshot::Receiver<()>>,
}

impl Beginning {
    /// `alone`: held as long as the pause.
    pub(crate) fn new(alone: OwnedMutexGuard<()>) -> Self {
        let pause = Pause {
            over: Vec::new(),
            given_up: Arc::default(),
            _alone: alone,
        };
        Self {
            pause,
            holding: Vec::new(),
        }
    }

    /// The part of one more database.
    pub(crate) fn hold(&mut self) -> Hold {
        let (holds, holding) = oneshot::channel();
        // Nothing is ever sent: it is over when the sender is dropped.
        let (over, is_over) = sync_channel(0);
        self.holding.push(holding);
        self.pause.over.push(over);
        Hold {
            holds,
            is_over,
            given_up: Arc::clone(&self.pause.given_up),
        }
    }

    /// Waits until every database holds.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the thread of one has ended.
    pub(crate) async fn begun(self) -> Result<Pause, Error> {
        for holding in self.holding {
            holding.await.map_err(Error::unavailable)?;
        }
        Ok(self.pause)
    }
}

/// All databases hold. Ends on drop.
pub(crate) struct Pause {
    over: Vec<SyncSender<Infallible>>,
    given_up: Arc<AtomicBool>,
    _alone: OwnedMutexGuard<()>,
}

impl Pause {
    /// Lets the writers go on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where one of them has gone on by itself before.
    pub(crate) fn end(self) -> Result<(), Error> {
        if self.given_up.load(Ordering::SeqCst) {
            return Err(Error::unavailable(format!(
                "the pause lasted longer than {PAUSE_TIME_LIMIT:?}, and the writers went on"
            )));
        }
        Ok(())
    }
}

/// The part of one database's thread in a pause.
pub(crate) struct Hold {
    holds: oneshot::Sender<()>,
    is_over: Receiver<Infallible>,
    given_up: Arc<AtomicBool>,
}

impl Hold {
    /// Blocks until the pause is over.
    pub(crate) fn last(self) {
        // Nobody waits where the pause is over before it began.
        let _ = self.holds.send(());
        if let Err(RecvTimeoutError::Timeout) = self.is_over.recv_timeout(PAUSE_TIME_LIMIT) {
            // Before this thread writes again.
            self.given_up.store(true, Ordering::SeqCst);
            tracing::warn!("a pause of the writers took too long; they go on");
        }
    }
}
