//! State of an entity between the store and its callers: the durable record, the tentative one, and the commands that
//! wait for a load, for a write or for the entity to settle.

mod loading;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorRef;

pub(super) use self::loading::{LoadError, Queued};
use super::{Command, DecisionPanicked, EntityMessage, Record};
use crate::actors::outcome::{Answer, Ask, Failure, Outcome, Permit, ReplyTo};
use crate::panics;
use crate::stores::documents::{Document, DocumentWrite};
use souk_domain::{Aggregate, Decision, NewEvent, Timestamp};

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

/// Commands that wait for the row to be loaded.
struct Loading<A: Aggregate> {
    queued: Vec<Box<Command<A>>>,
    /// While a load is in flight: how many of them were there before it was sent.
    asked: Option<usize>,
}

pub(super) struct Pipeline<A: Aggregate> {
    /// `None` where the row is loaded, and commands are decided.
    loading: Option<Loading<A>>,
    durable: Option<Arc<Record<A>>>,
    pub(super) durable_version: u64,
    tentative: Option<Arc<Record<A>>>,
    tentative_version: u64,
    events: Vec<(u64, A::Event)>,
    gathered: Vec<Held<A>>,
    flight: Option<Box<Flight<A>>>,
    waiters: Vec<Waiter<A>>,
    pub(super) last_error: Option<Box<str>>,
    /// The view with which this node acquired the shard, when the row was loaded.
    pub(super) since: u64,
    /// The fence of the next write: not below that of the row.
    fence: u64,
    /// Whether no other node can write the row as it was loaded. Until then nothing is answered from it.
    fenced: bool,
    /// Nobody has looked whether there is a row: nothing may be answered but what a write confirms.
    pub(super) presumed: bool,
    /// The lowest version with the same state as the tentative one: a write that only fences changes nothing else.
    same_since: u64,
}

impl<A: Aggregate> Pipeline<A> {
    pub(super) fn new() -> Self {
        Self {
            loading: Some(Loading {
                queued: Vec::new(),
                asked: None,
            }),
            durable: None,
            durable_version: 0,
            tentative: None,
            tentative_version: 0,
            events: Vec::new(),
            gathered: Vec::new(),
            flight: None,
            waiters: Vec::new(),
            last_error: None,
            since: 0,
            fence: 0,
            fenced: false,
            presumed: false,
            same_since: 0,
        }
    }

    /// No decision waits for a write: memory equals the row as it was last seen.
    fn is_clean(&self) -> bool {
        self.flight.is_none() && self.gathered.is_empty()
    }

    /// Answers wait for a write: a decision does, or the row has to be fenced first.
    pub(super) fn awaits_write(&self) -> bool {
        !self.is_clean() || !self.fenced
    }

    /// No command waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.flight.is_none()
    }

    pub(super) fn waiting(&self) -> usize {
        let queued = self.loading.as_ref().map_or(0, |loading| loading.queued.len());
        let in_flight = self.flight.as_ref().map_or(0, |flight| flight.held.len());
        queued + in_flight + self.gathered.len() + self.waiters.len()
    }

    /// The state in the store. While it equals the tentative one, memory holds a single copy.
    pub(super) fn durable_state(&self) -> Option<&A> {
        self.durable
            .as_ref()
            .or(self.tentative.as_ref())
            .map(|record| &record.state)
    }

    /// The durable state, where it may be shown.
    fn fenced_state(&self) -> Option<&A> {
        self.durable_state().filter(|_| self.fenced)
    }

    /// Decides one command on the tentative state. A panic of the domain is returned as an error.
    pub(super) fn decide(
        &mut self,
        id: &str,
        ask: &Ask<A>,
        at: Timestamp,
    ) -> Result<Decided<A>, DecisionPanicked> {
        let version = self.tentative_version;
        let refused = |outcome| Decided {
            outcome,
            settled: true,
            changed: false,
        };
        let Some(record) = &mut self.tentative else {
            // Not loaded: "there is nothing" would be wrong.
            return Ok(refused(Outcome::Lost));
        };
        let recalled = ask.command_id.as_ref().and_then(|command| record.recall(command));
        let is_stale = |expected: u64| !(self.same_since..=version).contains(&expected);
        if recalled.is_none() && ask.expected_version.is_some_and(is_stale) {
            return Ok(refused(Outcome::VersionConflict { current: version }));
        }
        let decision = match recalled {
            Some(reply) => Decision::keep(reply.clone()),
            // The state is only read, so that a panic leaves nothing half done.
            None => catch_unwind(AssertUnwindSafe(|| {
                crate::fail::point("entity.decide", id);
                record.state.decide(&ask.command, at)
            }))
            .map_err(|payload| DecisionPanicked(panics::message(&*payload).to_owned()))?,
        };
        let changed = decision.change.is_some();
        if let Some(change) = decision.change {
            if self.durable.is_none() {
                self.durable = Some(Arc::clone(record));
            }
            self.tentative_version += 1;
            self.same_since = self.tentative_version;
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
        let needs_next_write = !self.gathered.is_empty() || (!self.fenced && self.flight.is_none());
        if decided.changed || needs_next_write {
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

    /// The next write, where anybody waits for one and none is in flight. Where no decision changed anything, it writes
    /// the state again: that is the fence.
    pub(super) fn next_write(
        &mut self,
        id: &str,
        shard: u16,
    ) -> Result<Option<DocumentWrite>, serde_json::Error> {
        let nobody_waits = self.gathered.is_empty() && (self.fenced || self.waiters.is_empty());
        if self.flight.is_some() || nobody_waits {
            return Ok(None);
        }
        let Some(record) = &self.tentative else {
            return Ok(None);
        };
        if self.tentative_version == self.durable_version {
            self.tentative_version += 1;
            for held in &mut self.gathered {
                held.decided.outcome.at_version(self.tentative_version);
            }
        }
        let body = serde_json::to_string(&**record)?;
        let write = DocumentWrite {
            document: Document {
                id: id.to_owned(),
                shard,
                version: self.tentative_version,
                fence: self.fence,
                due_at: record.state.due_at(),
                owner: record.state.owner().map(str::to_owned),
                body,
            },
            expected: self.durable_version,
            events: NewEvent::number(id, std::mem::take(&mut self.events))?,
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
        self.fenced = true;
        self.presumed = false;
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
        if self.fenced_state().is_some_and(A::settled) {
            self.answer_waiters(|_| true);
        }
    }

    /// Replies with the durable state to these callers. Where it may not be shown they are dropped, and ask again.
    fn answer_waiters(&mut self, is_due: impl Fn(&Waiter<A>) -> bool) {
        let version = self.durable_version;
        let view = self.fenced_state().map(A::view);
        for waiter in self.waiters.extract_if(.., |waiter| is_due(waiter)) {
            if let Some(view) = view.clone() {
                let reply = waiter.reply;
                let answer = Answer { reply, version, view };
                waiter.reply_to.send(Outcome::Reply(answer));
            }
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
        queued.extend(self.gathered.drain(..).map(|held| held.command));
        let error = if unknown {
            "a write's outcome is unknown"
        } else {
            "a write met another version"
        };
        self.last_error = Some(error.into());
        self.start_loading(queued, true);
    }

    /// The write failed for this reason: its callers and those behind it get an error, and the row is loaded again.
    pub(super) fn fail_all(&mut self, reason: &str) {
        let in_flight = self.flight.take().map(|flight| flight.held).unwrap_or_default();
        for held in in_flight.into_iter().chain(self.gathered.drain(..)) {
            held.command.reply_to.send(Outcome::Failed(Failure::Store));
        }
        self.last_error = Some(reason.into());
        self.start_loading(Vec::new(), true);
    }

    /// Replies with the durable state to callers whose time to wait for the entity to settle has passed.
    pub(super) fn release_waiters(&mut self, now: Instant) {
        self.answer_waiters(|waiter| waiter.until <= now);
    }
}
