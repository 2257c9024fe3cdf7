//! State of an entity between the store and its callers: the durable record, the tentative one, and the commands that
//! wait for a load, for a write or for the entity to settle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorRef;

use super::{Command, DecisionPanicked, EntityMessage, Record};
use crate::actors::outcome::{Answer, Ask, Failure, Outcome, Permit, ReplyTo};
use crate::actors::persistence::{LoadFailed, Loaded};
use crate::panics;
use crate::stores::documents::{Document, DocumentWrite};
use souk_domain::{Aggregate, Event, Timestamp};

/// Conflicts of one command before its caller gets [`Outcome::Busy`].
const CONFLICT_LIMIT: u8 = 8;

/// When that caller may try again.
const CONFLICT_RETRY: Duration = Duration::from_millis(100);

/// A waiting caller is answered this long before its deadline, so that the answer arrives in time.
const WAITER_MARGIN: Duration = Duration::from_millis(50);

/// The decision on a command, before it is durable.
pub(super) struct Decided<A: Aggregate> {
    outcome: Outcome<A>,
    settled: bool,
    /// Whether it changed the tentative state.
    pub(super) changed: bool,
}

/// A decided command that waits for a write.
struct Held<A: Aggregate> {
    decided: Decided<A>,
    command: Box<Command<A>>,
}

/// A caller that waits for the entity to settle.
struct Waiter<A: Aggregate> {
    reply_to: ReplyTo<A>,
    reply: A::Reply,
    until: Instant,
    _permit: Permit,
}

/// The write in flight.
struct Flight<A: Aggregate> {
    held: Vec<Held<A>>,
    record: Arc<Record<A>>,
    version: u64,
}

enum Phase<A: Aggregate> {
    /// The row is being loaded and commands wait; `asked` while a load is in flight.
    Loading {
        queued: Vec<Box<Command<A>>>,
        asked: bool,
    },
    /// The row is loaded and commands are decided.
    Ready,
}

pub(super) struct Pipeline<A: Aggregate> {
    phase: Phase<A>,
    durable: Option<Arc<Record<A>>>,
    durable_version: u64,
    tentative: Option<Arc<Record<A>>>,
    tentative_version: u64,
    events: Vec<(u64, Event)>,
    gathered: Vec<Held<A>>,
    flight: Option<Box<Flight<A>>>,
    waiters: Vec<Waiter<A>>,
    last_error: Option<Box<str>>,
}

impl<A: Aggregate> Pipeline<A> {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Loading {
                queued: Vec::new(),
                asked: true,
            },
            durable: None,
            durable_version: 0,
            tentative: None,
            tentative_version: 0,
            events: Vec::new(),
            gathered: Vec::new(),
            flight: None,
            waiters: Vec::new(),
            last_error: None,
        }
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.phase, Phase::Loading { .. })
    }

    /// No decision waits for a write: memory equals the row as it was last seen.
    pub(super) fn is_clean(&self) -> bool {
        self.flight.is_none() && self.gathered.is_empty()
    }

    /// No command waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        let queue_is_empty = match &self.phase {
            Phase::Loading { queued, .. } => queued.is_empty(),
            Phase::Ready => true,
        };
        queue_is_empty && self.is_clean() && self.waiters.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        let queued = match &self.phase {
            Phase::Loading { queued, .. } => queued.len(),
            Phase::Ready => 0,
        };
        let in_flight = self.flight.as_ref().map_or(0, |flight| flight.held.len());
        queued + in_flight + self.gathered.len() + self.waiters.len()
    }

    pub(super) fn version(&self) -> u64 {
        self.durable_version
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The state in the store. While it equals the tentative one, memory holds a single copy.
    pub(super) fn durable_state(&self) -> Option<&A> {
        self.durable
            .as_ref()
            .or(self.tentative.as_ref())
            .map(|record| &record.state)
    }

    /// Queues a command until the row is loaded. True where the caller has to request the load.
    pub(super) fn queue_for_load(&mut self, command: Box<Command<A>>) -> bool {
        match &mut self.phase {
            Phase::Loading { queued, asked } => {
                queued.push(command);
                !std::mem::replace(asked, true)
            }
            Phase::Ready => false,
        }
    }

    /// Loads the row again, for the command that found memory stale.
    pub(super) fn reload_with(&mut self, command: Box<Command<A>>) {
        self.start_loading(vec![command], true);
    }

    fn start_loading(&mut self, queued: Vec<Box<Command<A>>>, asked: bool) {
        self.durable = None;
        self.tentative = None;
        self.events.clear();
        self.phase = Phase::Loading { queued, asked };
    }

    /// Takes the loaded row and returns the commands that waited for it. Where the load failed, they fail too.
    pub(super) fn install(&mut self, id: &str, loaded: Loaded) -> Result<Vec<Box<Command<A>>>, String> {
        let Phase::Loading { queued, .. } = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return Ok(Vec::new());
        };
        let decoded = match loaded {
            Ok(None) => Ok((Record::initial(id), 0)),
            Ok(Some(document)) => Record::decode(&document)
                .map(|record| (record, document.version))
                .map_err(|error| format!("the row does not decode: {error}")),
            Err(LoadFailed) => Err("the store did not answer".to_owned()),
        };
        match decoded {
            Ok((record, version)) => {
                self.tentative = Some(Arc::new(record));
                self.durable_version = version;
                self.tentative_version = version;
                self.settle_waiters();
                let (again, given_up): (Vec<_>, Vec<_>) = queued
                    .into_iter()
                    .partition(|command| command.conflicts <= CONFLICT_LIMIT);
                for command in given_up {
                    command.reply_to.send(Outcome::Busy {
                        retry_after_ms: u64::try_from(CONFLICT_RETRY.as_millis()).unwrap_or(0),
                    });
                }
                Ok(again)
            }
            Err(error) => {
                self.last_error = Some(error.as_str().into());
                for command in queued {
                    command.reply_to.send(Outcome::Failed(Failure::Store));
                }
                // The next command asks for the next load.
                self.start_loading(Vec::new(), false);
                Err(error)
            }
        }
    }

    /// Decides one command on the tentative state. A panic of the domain is returned as an error.
    pub(super) fn decide(
        &mut self,
        id: &str,
        ask: &Ask<A>,
        at: Timestamp,
    ) -> Result<Decided<A>, DecisionPanicked> {
        let version = self.tentative_version;
        let Some(record) = &mut self.tentative else {
            // Not loaded: "there is nothing" would be wrong.
            return Ok(Decided {
                outcome: Outcome::Lost,
                settled: true,
                changed: false,
            });
        };
        if let Some(reply) = ask.command_id.as_ref().and_then(|command| record.recall(command)) {
            return Ok(Decided {
                outcome: Outcome::Reply(Answer {
                    reply: reply.clone(),
                    version,
                    view: record.state.view(),
                }),
                settled: record.state.settled(),
                changed: false,
            });
        }
        if ask.expected_version.is_some_and(|expected| expected != version) {
            return Ok(Decided {
                outcome: Outcome::VersionConflict { current: version },
                settled: true,
                changed: false,
            });
        }
        // The state is only read, so that a panic leaves nothing half done.
        let decision = catch_unwind(AssertUnwindSafe(|| {
            crate::fail::point("entity.decide", id);
            record.state.decide(&ask.command, at)
        }))
        .map_err(|payload| DecisionPanicked(panics::message(&*payload).to_owned()))?;
        let changed = decision.change.is_some();
        if let Some(change) = decision.change {
            if self.durable.is_none() {
                self.durable = Some(Arc::clone(record));
            }
            self.tentative_version += 1;
            let answered = ask
                .command_id
                .clone()
                .map(|command| (command, decision.reply.clone()));
            Record::advance(record, change.state, answered);
            let version = self.tentative_version;
            self.events
                .extend(change.events.into_iter().map(|event| (version, event)));
        }
        Ok(Decided {
            outcome: Outcome::Reply(Answer {
                reply: decision.reply,
                version: self.tentative_version,
                view: record.state.view(),
            }),
            settled: record.state.settled(),
            changed,
        })
    }

    /// Replies at once where no decision waits for a write, and otherwise once the latest write is durable.
    pub(super) fn deliver_or_hold(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        decided: Decided<A>,
        command: Box<Command<A>>,
    ) {
        if decided.changed || !self.gathered.is_empty() {
            self.gathered.push(Held { decided, command });
        } else if let Some(flight) = &mut self.flight {
            flight.held.push(Held { decided, command });
        } else {
            self.deliver(myself, decided, *command);
        }
    }

    fn deliver(&mut self, myself: &ActorRef<EntityMessage<A>>, decided: Decided<A>, command: Command<A>) {
        let Command {
            ask,
            reply_to,
            permit,
            ..
        } = command;
        match decided.outcome {
            Outcome::Reply(answer) if ask.wait_until_settled && !decided.settled => {
                let until = ask.deadline.checked_sub(WAITER_MARGIN).unwrap_or(ask.deadline);
                self.waiters.push(Waiter {
                    reply_to,
                    reply: answer.reply,
                    until,
                    _permit: permit,
                });
                myself.send_after(until.saturating_duration_since(Instant::now()), || {
                    EntityMessage::WaitersDue
                });
            }
            outcome => reply_to.send(outcome),
        }
    }

    /// The next write, where decisions wait for one and none is in flight.
    pub(super) fn next_write(
        &mut self,
        id: &str,
        shard: u16,
    ) -> Result<Option<DocumentWrite>, serde_json::Error> {
        if self.flight.is_some() || self.gathered.is_empty() {
            return Ok(None);
        }
        let Some(record) = &self.tentative else {
            return Ok(None);
        };
        let body = serde_json::to_string(&**record)?;
        let write = DocumentWrite {
            document: Document {
                id: id.to_owned(),
                shard,
                version: self.tentative_version,
                due_at: record.state.due_at(),
                owner: record.state.owner().map(str::to_owned),
                body,
            },
            expected: self.durable_version,
            events: std::mem::take(&mut self.events),
        };
        self.flight = Some(Box::new(Flight {
            held: std::mem::take(&mut self.gathered),
            record: Arc::clone(record),
            version: self.tentative_version,
        }));
        Ok(Some(write))
    }

    /// The write in flight is durable: replies to its callers, and returns the durable state.
    pub(super) fn applied(&mut self, id: &str, myself: &ActorRef<EntityMessage<A>>) -> Option<&A> {
        let flight = *self.flight.take()?;
        self.durable_version = flight.version;
        self.last_error = None;
        for held in flight.held {
            tracing::debug!(
                request_id = &*held.command.ask.request_id,
                kind = A::KIND.as_str(),
                id,
                version = flight.version,
                "durable"
            );
            self.deliver(myself, held.decided, *held.command);
        }
        // A single copy suffices while it equals the tentative one.
        self.durable = (!self.gathered.is_empty()).then_some(flight.record);
        self.settle_waiters();
        self.durable_state()
    }

    /// Replies to callers that wait for the entity to settle, if the durable state has.
    fn settle_waiters(&mut self) {
        let version = self.durable_version;
        let Some(view) = self
            .durable_state()
            .filter(|state| state.settled())
            .map(Aggregate::view)
        else {
            return;
        };
        for waiter in self.waiters.drain(..) {
            waiter.reply_to.send(Outcome::Reply(Answer {
                reply: waiter.reply,
                version,
                view: view.clone(),
            }));
        }
    }

    /// Drops callers that wait for the entity to settle: they ask again and reach its next owner.
    pub(super) fn dismiss_waiters(&mut self) {
        self.waiters.clear();
    }

    /// The write in flight met another version, or its outcome is unknown: all pending commands are decided again after a
    /// load. Where the outcome is unknown, a command without an id could take effect twice; it fails.
    pub(super) fn conflicted(&mut self, unknown: bool) {
        let in_flight = self.flight.take().map(|flight| flight.held).unwrap_or_default();
        let mut queued = Vec::new();
        for mut held in in_flight {
            if unknown && held.decided.changed && held.command.ask.command_id.is_none() {
                held.command.reply_to.send(Outcome::Failed(Failure::Store));
            } else {
                held.command.conflicts += 1;
                queued.push(held.command);
            }
        }
        queued.extend(
            std::mem::take(&mut self.gathered)
                .into_iter()
                .map(|held| held.command),
        );
        self.last_error = Some(
            if unknown {
                "a write's outcome is unknown"
            } else {
                "a write met another version"
            }
            .into(),
        );
        self.start_loading(queued, true);
    }

    /// The store is away: whoever waits for a write is told, and the next command reads the row again.
    pub(super) fn fail_all(&mut self) {
        let in_flight = self.flight.take().map(|flight| flight.held).unwrap_or_default();
        for held in in_flight.into_iter().chain(std::mem::take(&mut self.gathered)) {
            held.command.reply_to.send(Outcome::Failed(Failure::Store));
        }
        self.last_error = Some("the store was away".into());
        self.start_loading(Vec::new(), true);
    }

    /// Replies with the durable state to callers whose time to wait for the entity to settle has passed.
    pub(super) fn release_waiters(&mut self, now: Instant) {
        let version = self.durable_version;
        let Some(view) = self.durable_state().map(Aggregate::view) else {
            return self.waiters.retain(|waiter| waiter.until > now);
        };
        let (due, waiting) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.until <= now);
        self.waiters = waiting;
        let due: Vec<Waiter<A>> = due;
        for waiter in due {
            waiter.reply_to.send(Outcome::Reply(Answer {
                reply: waiter.reply,
                version,
                view: view.clone(),
            }));
        }
    }
}
