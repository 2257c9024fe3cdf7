//! Signals, and processes that end with their parent.

use std::env;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// The environment variable of the nodes of a demo, with the process id of the demo.
pub const DEMO_CHILD: &str = "SOUK_DEMO_CHILD";

/// Receives termination signals: SIGTERM, SIGINT (Ctrl-C), SIGHUP (terminal closed), from the moment of this call on.
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
    /// Waits for the next signal. Cancel safe.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Waits for the first signal. From then on, a second one ends the process at once, without draining, with code 1.
    pub async fn first_gently_then_at_once(mut self) {
        self.requested().await;
        tokio::spawn(async move {
            self.requested().await;
            tracing::warn!("second termination signal: ending without draining");
            std::process::exit(1);
        });
    }
}

/// If a demo started this process, has the system kill it when the demo dies, so that no node outlives a killed demo.
/// Nothing acknowledged is lost (invariant 7).
///
/// # Errors
/// [`Failure::Failed`] where the demo is dead already, or the system refuses.
pub fn die_with_demo() -> Result<(), Failure> {
    let Some(demo) = env::var_os(DEMO_CHILD) else {
        return Ok(());
    };
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| Failure::failed("the system refuses to end this process with its parent", error))?;
    // The demo may have died before the line above; then this process has another parent.
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    if demo.to_str().and_then(|demo| demo.parse().ok()) == parent {
        Ok(())
    } else {
        Err(Failure::plain(format!(
            "the process in {DEMO_CHILD} is not the parent of this one: the demo has ended (unset the variable to go on)"
        )))
    }
}
