//! A write that makes no progress: the other end holds its connection and does not read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Watches the writes of one stream. Costs nothing until one has to wait for the first time.
pub struct Stall {
    limit: Duration,
    waits: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// A write may wait for so long.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            waits: false,
            timer: None,
        }
    }

    /// A write went on.
    pub fn over(&mut self) {
        self.waits = false;
    }

    /// To be asked whenever a write has to wait; ready when it has done so for too long.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(())
    }
}
