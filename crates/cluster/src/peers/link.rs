//! The link to one incarnation of one peer: made, lost, made again, for as long as it is wanted.
//!
//! The node whose name sorts last dials; the other waits, and while it has no link it knocks at the peer's port, only to
//! learn whether the process is still there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use rand::Rng;
use rustls::ClientConfig;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::sessions::{Serial, SessionEvent, Sessions, gateways, ractor_name};
use super::{LinkEvent, LinkEvents, Peer};
use crate::lanes::{Connection, Links};
use crate::transport::{Admission, DialError, Secured, TransportSettings, connect, dial};

/// A link that lived shorter than this was a failure, and the next attempt waits as after one.
const STABLE: Duration = Duration::from_secs(1);

/// For ractor to wind up an ended session before the next one of the same peer is handed to it: of two at a time it would
/// keep one of its own choice.
const WIND_UP_LIMIT: Duration = Duration::from_secs(2);

/// What every link needs.
pub(super) struct LinkContext {
    pub(super) admission: Arc<Admission>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) settings: Arc<TransportSettings>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) links: Links,
    pub(super) events: LinkEvents,
}

/// What a link is told. All but `Incoming` it is told by itself and by ractor.
#[derive(Debug, RactorMessage)]
pub(super) enum LinkMessage {
    /// Try to reach the peer.
    Attempt,
    /// How the attempt went; nothing where the attempt was to knock only, and somebody listened.
    Attempted(Result<Option<Box<Secured>>, DialError>),
    /// The peer has dialled.
    Incoming(Box<Secured>),
    /// News of a session.
    Session(Serial, SessionEvent),
    /// The stream has ended.
    Over(Serial),
    /// The session should be ready by now.
    ReadyOverdue(Serial),
    /// Ended sessions should be wound up by now.
    WindUpOverdue,
}

/// The actor that keeps one link.
pub(super) struct Link;

/// A link's state.
pub(super) struct LinkState {
    context: Arc<LinkContext>,
    peer: Peer,
    /// Attempts that failed since the link was last stable.
    failures: u32,
    attempt: Option<AbortHandle>,
    next_attempt: Option<AbortHandle>,
    current: Option<Current>,
    /// Ended sessions that ractor has not wound up.
    winding_up: HashSet<Serial>,
    /// A connection that waits for that.
    waiting: Option<Box<Secured>>,
    /// Whether it was already said, since the link was last up, that nobody listens.
    refusal_told: bool,
}

/// A connection that is ractor's. Dropping it, in a panic too, ends it and says so.
struct Current {
    serial: Serial,
    connection: Arc<Connection>,
    context: Arc<LinkContext>,
    up_since: Option<Instant>,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.context.links.close(&self.connection);
        if self.up_since.is_some() {
            let peer = self.connection.peer().clone();
            tracing::info!(%peer, "the link is down");
            (self.context.events)(LinkEvent::Down { peer, refused: false });
        }
    }
}

impl Drop for LinkState {
    fn drop(&mut self) {
        for task in self.attempt.iter().chain(&self.next_attempt) {
            task.abort();
        }
    }
}

impl LinkState {
    fn serial(&self) -> Option<Serial> {
        self.current.as_ref().map(|current| current.serial)
    }

    fn is_up(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.up_since.is_some())
    }

    /// Attempts the next time after a pause that grows with the failures; at once after none.
    fn schedule(&mut self, myself: &ActorRef<LinkMessage>) {
        if let Some(earlier) = self.next_attempt.take() {
            earlier.abort();
        }
        let pause = pause(self.failures, &self.context.settings);
        self.next_attempt = Some(myself.send_after(pause, || LinkMessage::Attempt).abort_handle());
    }

    fn attempt(&mut self, myself: &ActorRef<LinkMessage>) {
        if self.current.is_some() || self.waiting.is_some() || self.attempt.is_some() {
            return;
        }
        let context = Arc::clone(&self.context);
        let peer = self.peer.clone();
        let myself = myself.clone();
        let task = tokio::spawn(async move {
            let attempted = if context.admission.dials(&peer.identity.name) {
                dial(
                    context.admission.own(),
                    &peer.identity,
                    peer.address,
                    &context.tls,
                    &context.settings,
                )
                .await
                .map(|secured| Some(Box::new(secured)))
            } else {
                connect(peer.address, &context.settings).await.map(|_| None)
            };
            // The link may have stopped; then nobody wants to know.
            let _ = myself.cast(LinkMessage::Attempted(attempted));
        });
        self.attempt = Some(task.abort_handle());
    }

    fn attempted(
        &mut self,
        myself: &ActorRef<LinkMessage>,
        attempted: Result<Option<Box<Secured>>, DialError>,
    ) {
        self.attempt = None;
        match attempted {
            Ok(Some(secured)) => return self.adopt(myself, secured),
            Ok(None) => {}
            Err(error) => {
                counter!("souk_link_attempts_failed_total", "peer" => self.peer.identity.name.clone())
                    .increment(1);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::debug!(peer = %self.peer.identity, %error, cause, "no link");
                if error.nobody_listens() && !self.is_up() && !self.refusal_told {
                    self.refusal_told = true;
                    (self.context.events)(LinkEvent::Down {
                        peer: self.peer.identity.clone(),
                        refused: true,
                    });
                }
            }
        }
        if self.current.is_none() {
            self.failures = self.failures.saturating_add(1);
            self.schedule(myself);
        }
    }

    /// Takes a fresh connection in the place of any other: who made it has none, so an older one is dead.
    fn adopt(&mut self, myself: &ActorRef<LinkMessage>, secured: Box<Secured>) {
        if let Some(current) = self.current.take() {
            self.winding_up.insert(current.serial);
        }
        if let Some(attempt) = self.attempt.take() {
            attempt.abort();
        }
        if self.winding_up.is_empty() {
            self.hand_over(myself, *secured);
        } else {
            self.waiting = Some(secured);
            myself.send_after(WIND_UP_LIMIT, || LinkMessage::WindUpOverdue);
        }
    }

    fn hand_over(&mut self, myself: &ActorRef<LinkMessage>, secured: Secured) {
        let serial = self.context.sessions.next_serial();
        let connection = self.context.links.open(&secured);
        let over = secured.over.clone();
        let incoming = secured.incoming;
        self.current = Some(Current {
            serial,
            connection,
            context: Arc::clone(&self.context),
            up_since: None,
        });
        let handed = self
            .context
            .sessions
            .hand_over(serial, myself.clone(), incoming, |label| {
                secured.into_stream(label)
            });
        if !handed {
            // The stream is closed with that; the watcher below finds it so.
            tracing::debug!(peer = %self.peer.identity, "ractor takes no connections just now");
        }
        let watcher = myself.clone();
        tokio::spawn(async move {
            over.cancelled().await;
            let _ = watcher.cast(LinkMessage::Over(serial));
        });
        myself.send_after(self.context.settings.ready_limit, move || {
            LinkMessage::ReadyOverdue(serial)
        });
    }

    fn ready(&mut self, serial: Serial, node: u64, name: Option<&str>) {
        let Some(current) = self.current.as_mut().filter(|current| current.serial == serial) else {
            return;
        };
        let peer = current.connection.peer().clone();
        if name != Some(ractor_name(&peer).as_str()) {
            tracing::warn!(%peer, name, "the peer is another to ractor than by its certificate: the link is closed");
            current.connection.over().cancel();
            return;
        }
        let Some(gateways) = gateways(node) else {
            tracing::warn!(%peer, "the peer has not announced its gateways: the link is closed");
            current.connection.over().cancel();
            return;
        };
        self.context.links.raise(&current.connection, gateways);
        current.up_since = Some(Instant::now());
        self.refusal_told = false;
        tracing::info!(%peer, "the link is up");
        (self.context.events)(LinkEvent::Up { peer });
    }

    /// The current connection has ended: says so, and goes on at once.
    fn over(&mut self, myself: &ActorRef<LinkMessage>, serial: Serial, wound_up: bool) {
        if self.serial() != Some(serial) {
            return;
        }
        let Some(current) = self.current.take() else {
            return;
        };
        if !wound_up {
            self.winding_up.insert(serial);
        }
        if current.up_since.is_some_and(|since| since.elapsed() >= STABLE) {
            self.failures = 0;
        }
        drop(current);
        self.schedule(myself);
        // The next loss waits longer, unless the link has become stable before.
        self.failures = self.failures.saturating_add(1);
    }

    fn wound_up(&mut self, myself: &ActorRef<LinkMessage>) {
        if self.winding_up.is_empty()
            && self.current.is_none()
            && let Some(secured) = self.waiting.take()
        {
            self.hand_over(myself, *secured);
        }
    }
}

impl Actor for Link {
    type Msg = LinkMessage;
    type State = LinkState;
    type Arguments = (Arc<LinkContext>, Peer);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (context, peer): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(LinkMessage::Attempt)?;
        Ok(LinkState {
            context,
            peer,
            failures: 0,
            attempt: None,
            next_attempt: None,
            current: None,
            winding_up: HashSet::new(),
            waiting: None,
            refusal_told: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LinkMessage::Attempt => state.attempt(&myself),
            LinkMessage::Attempted(attempted) => state.attempted(&myself, attempted),
            LinkMessage::Incoming(secured) => state.adopt(&myself, secured),
            LinkMessage::Session(serial, SessionEvent::Ready { node, name }) => {
                state.ready(serial, node, name.as_deref());
            }
            LinkMessage::Session(serial, SessionEvent::Closed) => {
                state.over(&myself, serial, true);
                state.winding_up.remove(&serial);
                state.wound_up(&myself);
            }
            LinkMessage::Over(serial) => state.over(&myself, serial, false),
            LinkMessage::ReadyOverdue(serial) => {
                if state.serial() == Some(serial) && !state.is_up() {
                    tracing::debug!(peer = %state.peer.identity, "the session did not become ready in time");
                    // Its end is noticed by the watcher.
                    if let Some(current) = &state.current {
                        current.connection.over().cancel();
                    }
                }
            }
            LinkMessage::WindUpOverdue => {
                for serial in state.winding_up.drain() {
                    state.context.sessions.forget(serial);
                }
                state.wound_up(&myself);
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // The state itself outlives the actor in its supervisor's mailbox.
        drop(state.current.take());
        drop(state.waiting.take());
        Ok(())
    }
}

/// The pause before an attempt: none, then doubling from `redial_first` up to `redial_limit`, each between half and all of
/// it, so that nodes that lost each other at the same time do not come back at the same time.
fn pause(failures: u32, settings: &TransportSettings) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let full = settings
        .redial_first
        .saturating_mul(2u32.saturating_pow(doublings))
        .min(settings.redial_limit);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_to_the_limit_and_not_beyond(failures in 1u32..100) {
            let settings = TransportSettings::default();
            let pause = pause(failures, &settings);
            prop_assert!(pause <= settings.redial_limit);
            prop_assert!(pause >= settings.redial_first / 2);
            if failures > 10 {
                prop_assert!(pause >= settings.redial_limit / 2);
            }
        }
    }

    #[test]
    fn the_first_attempt_comes_at_once() {
        assert_eq!(pause(0, &TransportSettings::default()), Duration::ZERO);
    }
}
