//! Signals, and the life of children.

use std::env;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// Set by the demo in the environment of its nodes, to its own process id.
pub const DEMO_CHILD: &str = "SOUK_DEMO_CHILD";

/// Requests to end this process: SIGTERM, SIGINT (Ctrl-C), SIGHUP (its terminal went away). They are taken from the moment
/// of this call on, not only once somebody waits for them.
///
/// # Errors
/// [`Failure::Failed`] where the system refuses the handlers.
pub fn termination() -> Result<Termination, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed("signals can't be received", error));
    Ok(Termination {
        terminate: listen(SignalKind::terminate())?,
        interrupt: listen(SignalKind::interrupt())?,
        hangup: listen(SignalKind::hangup())?,
    })
}

/// See [`termination`].
#[derive(Debug)]
pub struct Termination {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Termination {
    /// Waits for the next request to end. Cancel safe.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Ends at the first request. From then on a second one ends the process at once, with code 1: whoever asks twice does
    /// not want to wait for a drain.
    pub async fn first_gently_then_at_once(mut self) {
        self.requested().await;
        tokio::spawn(async move {
            self.requested().await;
            tracing::warn!("asked to end a second time: ending without draining");
            std::process::exit(1);
        });
    }
}

/// Where a demo started this process, makes the system kill it when the demo dies, so that no node outlives a demo that
/// was killed itself. Nothing acknowledged is lost by it (invariant 7).
///
/// # Errors
/// [`Failure::Failed`] where the demo has died already, or the system refuses.
pub fn die_with_demo() -> Result<(), Failure> {
    let Some(demo) = env::var_os(DEMO_CHILD) else {
        return Ok(());
    };
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| Failure::failed("the system refuses to end this process with its parent", error))?;
    // The demo may have died before the line above: then this process has another parent by now.
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    if demo.to_str().and_then(|demo| demo.parse().ok()) == parent {
        Ok(())
    } else {
        Err(Failure::plain(format!(
            "{DEMO_CHILD} names a process that is not the parent of this one: the demo is gone (unset the variable to go on)"
        )))
    }
}
