//! The link to one incarnation of a peer: connects, and reconnects while the link is wanted.
//!
//! The node whose name sorts last dials. The other waits, and probes the peer's port while it has no link, only to learn
//! whether the process still exists.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use rustls::ClientConfig;
use souk_retry::Backoff;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::sessions::{Serial, SessionEvent, Sessions, gateway, ractor_name};
use super::{LinkEvent, LinkEvents, Peer};
use crate::lanes::{Connection, Links};
use crate::transport::{Admission, DialError, Secured, TransportSettings, connect, dial};

/// A link that lasted shorter than this counts as a failed attempt.
const STABLE: Duration = Duration::from_secs(1);

/// For ractor to close an ended session before it is given the next one of the same peer. Of two sessions at a time it
/// would close one of its own choice.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What all links share.
pub(super) struct LinkContext {
    pub(super) admission: Arc<Admission>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) settings: Arc<TransportSettings>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) links: Links,
    pub(super) events: LinkEvents,
}

/// Messages of a link. All but `Incoming` come from itself and from ractor.
#[derive(Debug, RactorMessage)]
pub(super) enum LinkMessage {
    /// Dial or probe the peer.
    Attempt,
    /// The result of an attempt; `None` for a successful probe.
    Attempted(Result<Option<Box<Secured>>, DialError>),
    /// The peer has dialled.
    Incoming(Box<Secured>),
    /// An event of a session.
    Session(Serial, SessionEvent),
    /// The stream has ended.
    Ended(Serial),
    /// The time limit for the session to become ready.
    ReadyOverdue(Serial),
    /// The time limit for ractor to close ended sessions.
    CloseOverdue,
}

/// The actor that keeps one link.
pub(super) struct Link;

/// The link's state.
pub(super) struct LinkState {
    context: Arc<LinkContext>,
    peer: Peer,
    /// Restarts when the link has been stable.
    backoff: Backoff,
    attempt: Option<AbortHandle>,
    next_attempt: Option<AbortHandle>,
    current: Option<Current>,
    /// Ended sessions that ractor has not closed.
    closing: HashSet<Serial>,
    /// A connection that waits until they are closed.
    waiting: Option<Box<Secured>>,
    /// Whether a refused connection was reported since the link was last up.
    refusal_reported: bool,
}

/// A connection that was given to ractor. Dropping it, also in a panic, closes and reports it.
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
            tracing::info!(%peer, "link down");
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
    fn attempt_after(&mut self, pause: Duration, myself: &ActorRef<LinkMessage>) {
        if let Some(earlier) = self.next_attempt.take() {
            earlier.abort();
        }
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
            // The link may have stopped.
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
                tracing::debug!(peer = %self.peer.identity, %error, cause, "cannot connect");
                let is_up = self
                    .current
                    .as_ref()
                    .is_some_and(|current| current.up_since.is_some());
                if error.is_connection_refused() && !is_up && !self.refusal_reported {
                    self.refusal_reported = true;
                    (self.context.events)(LinkEvent::Down {
                        peer: self.peer.identity.clone(),
                        refused: true,
                    });
                }
            }
        }
        if self.current.is_none() {
            let pause = self.backoff.next_pause();
            self.attempt_after(pause, myself);
        }
    }

    /// Replaces any other connection: the peer that opened this one has no other, so an older one is dead.
    fn adopt(&mut self, myself: &ActorRef<LinkMessage>, secured: Box<Secured>) {
        if let Some(current) = self.current.take() {
            self.closing.insert(current.serial);
        }
        if let Some(attempt) = self.attempt.take() {
            attempt.abort();
        }
        if self.closing.is_empty() {
            self.hand_over(myself, *secured);
        } else {
            self.waiting = Some(secured);
            myself.send_after(CLOSE_LIMIT, || LinkMessage::CloseOverdue);
        }
    }

    fn hand_over(&mut self, myself: &ActorRef<LinkMessage>, secured: Secured) {
        let serial = self.context.sessions.next_serial();
        let connection = self.context.links.open(&secured);
        let closed = secured.closed.clone();
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
            // The stream is closed, and the watcher below reports it.
            tracing::debug!(peer = %self.peer.identity, "ractor accepts no connections at the moment");
        }
        let watcher = myself.clone();
        tokio::spawn(async move {
            closed.cancelled().await;
            let _ = watcher.cast(LinkMessage::Ended(serial));
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
            tracing::warn!(%peer, name, "the peer's name in ractor does not match its certificate; closing the link");
            current.connection.closed().cancel();
            return;
        }
        let Some(gateway) = gateway(node) else {
            tracing::warn!(%peer, "the peer has not announced its gateways; closing the link");
            current.connection.closed().cancel();
            return;
        };
        self.context.links.activate(&current.connection, gateway);
        current.up_since = Some(Instant::now());
        self.refusal_reported = false;
        tracing::info!(%peer, "link up");
        (self.context.events)(LinkEvent::Up { peer });
    }

    /// The current connection has ended: reports it and reconnects, at once if the link was stable.
    fn ended(&mut self, myself: &ActorRef<LinkMessage>, serial: Serial, closed: bool) {
        let Some(current) = self.current.take_if(|current| current.serial == serial) else {
            return;
        };
        if !closed {
            self.closing.insert(serial);
        }
        let was_stable = current.up_since.is_some_and(|since| since.elapsed() >= STABLE);
        drop(current);
        let pause = if was_stable {
            self.backoff = redial_backoff(&self.context.settings);
            Duration::ZERO
        } else {
            self.backoff.next_pause()
        };
        self.attempt_after(pause, myself);
    }

    fn closed(&mut self, myself: &ActorRef<LinkMessage>) {
        if self.closing.is_empty()
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
            backoff: redial_backoff(&context.settings),
            context,
            peer,
            attempt: None,
            next_attempt: None,
            current: None,
            closing: HashSet::new(),
            waiting: None,
            refusal_reported: false,
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
                state.ended(&myself, serial, true);
                state.closing.remove(&serial);
                state.closed(&myself);
            }
            LinkMessage::Ended(serial) => state.ended(&myself, serial, false),
            LinkMessage::ReadyOverdue(serial) => {
                if let Some(current) = &state.current
                    && current.serial == serial
                    && current.up_since.is_none()
                {
                    tracing::debug!(peer = %state.peer.identity, "the session was not ready in time; closing the link");
                    // The watcher reports the end.
                    current.connection.closed().cancel();
                }
            }
            LinkMessage::CloseOverdue => {
                for serial in state.closing.drain() {
                    state.context.sessions.forget(serial);
                }
                state.closed(&myself);
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // The state outlives the actor in its supervisor's mailbox.
        drop(state.current.take());
        drop(state.waiting.take());
        Ok(())
    }
}

fn redial_backoff(settings: &TransportSettings) -> Backoff {
    Backoff::new(settings.redial_first, settings.redial_limit)
}
