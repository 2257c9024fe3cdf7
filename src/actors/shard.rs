//! A shard supervises its entities: it activates them on their first message, passivates idle ones and those beyond the
//! cap, and parks those that crash repeatedly.

use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dashmap::mapref::one::Ref;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::entity::{Command, Entity, EntityArguments, EntityMessage};
use super::outcome::{EntityStats, Outcome};
use super::region::{Live, RegionContext};
use souk_domain::Aggregate;

/// Crashes further apart than this do not count together.
const CRASH_WINDOW: Duration = Duration::from_secs(60);
/// Back-off after the second crash (there is none after the first). It doubles with each further one until the entity is
/// parked.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// Commands that may wait for the passivation of one entity.
const CLOSING_QUEUE_LIMIT: usize = 1024;
/// Entities that a shard checks for idleness at one tick.
const SWEEP_LIMIT: usize = 4096;

/// Messages of a shard.
pub enum ShardMessage<A: Aggregate> {
    /// Forward a command to its entity, activating it if necessary.
    Deliver {
        /// The entity.
        id: Arc<str>,
        /// The command.
        command: Box<Command<A>>,
    },
    /// This entity has no row and nothing to do.
    Absent(Arc<str>),
    /// Passivate idle entities.
    Tick,
    /// Another node owns the shard now: finish writes in flight, release all entities and stop.
    HandOver,
}

impl<A: Aggregate> ractor::Message for ShardMessage<A> {}

impl<A: Aggregate> ShardMessage<A> {
    /// Refuses the command because another node owns the shard.
    pub fn refuse(self) {
        if let Self::Deliver { command, .. } = self {
            command.reply_to.send(Outcome::NotOwner(None));
        }
    }
}

/// The actor.
pub struct Shard<A: Aggregate>(pub(super) PhantomData<A>);

struct Crashes {
    count: u32,
    last: Instant,
    refused_until: Instant,
}

/// State of a shard.
pub struct ShardState<A: Aggregate> {
    shard: u16,
    context: Arc<RegionContext<A>>,
    ids: HashMap<ActorId, Arc<str>>,
    /// Entities that are stopping, with the commands that wait for the next activation.
    closing: HashMap<Arc<str>, Vec<Box<Command<A>>>>,
    /// Second-chance queue (Corbató, "A paging experiment with the Multics system", 1968): in the order of activation or
    /// of the last check, with the second of the latest command at that time.
    queue: VecDeque<(Arc<str>, u32)>,
    crashes: HashMap<Arc<str>, Crashes>,
    handing_over: bool,
}

impl<A: Aggregate> Actor for Shard<A> {
    type Msg = ShardMessage<A>;
    type State = ShardState<A>;
    type Arguments = (u16, Arc<RegionContext<A>>);

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        (shard, context): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(ShardState {
            shard,
            context,
            ids: HashMap::new(),
            closing: HashMap::new(),
            queue: VecDeque::new(),
            crashes: HashMap::new(),
            handing_over: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Deliver { id, command } => state.deliver(&myself, id, command).await?,
            ShardMessage::Absent(id) => state.passivate_absent(&id),
            ShardMessage::Tick => state.passivate_idle(),
            ShardMessage::HandOver => {
                state.handing_over = true;
                state.release_everything();
                state.stop_when_empty(&myself);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                state.entity_stopped(&myself, cell.get_id(), false).await?
            }
            SupervisionEvent::ActorFailed(cell, _) => {
                state.entity_stopped(&myself, cell.get_id(), true).await?
            }
            _ => {}
        }
        Ok(())
    }
}

impl<A: Aggregate> ShardState<A> {
    async fn deliver(
        &mut self,
        myself: &ActorRef<ShardMessage<A>>,
        id: Arc<str>,
        mut command: Box<Command<A>>,
    ) -> Result<(), ActorProcessingErr> {
        if self.handing_over {
            command.reply_to.send(Outcome::NotOwner(None));
            return Ok(());
        }
        if let Some(waiting) = self.closing.get_mut(&id) {
            if waiting.len() < CLOSING_QUEUE_LIMIT {
                waiting.push(command);
            } else {
                command.reply_to.send(self.context.busy());
            }
            return Ok(());
        }
        if let Some(live) = self.context.directory.get(&id) {
            match live.offer(command, self.context.limits.in_flight_per_entity) {
                Ok(()) => return Ok(()),
                Err(back) => command = back,
            }
            // It has stopped, and its supervision event is still to come: the command waits as for a passivation.
            drop(live);
            self.context.directory.remove(&id);
            self.closing.insert(id, vec![command]);
            return Ok(());
        }
        let now = Instant::now();
        if let Some(crashes) = self.crashes.get(&id)
            && crashes.refused_until > now
        {
            command.reply_to.send(Outcome::busy(crashes.refused_until - now));
            return Ok(());
        }
        self.make_room();
        self.activate(myself, id, command).await
    }

    async fn activate(
        &mut self,
        myself: &ActorRef<ShardMessage<A>>,
        id: Arc<str>,
        command: Box<Command<A>>,
    ) -> Result<(), ActorProcessingErr> {
        let metrics = &self.context.entity.metrics;
        let stats = Arc::new(EntityStats::default());
        stats.touched.store(metrics.seconds(), Ordering::Relaxed);
        let arguments = EntityArguments {
            id: Arc::clone(&id),
            shard: self.shard,
            context: Arc::clone(&self.context.entity),
            stats: Arc::clone(&stats),
        };
        let (actor, _) = Actor::spawn_linked(None, Entity(PhantomData), arguments, myself.get_cell()).await?;
        metrics.live.fetch_add(1, Ordering::Relaxed);
        metrics.activations.fetch_add(1, Ordering::Relaxed);
        if self.crashes.contains_key(&id) {
            metrics.restarts.fetch_add(1, Ordering::Relaxed);
        }
        self.ids.insert(actor.get_id(), Arc::clone(&id));
        self.queue.push_back((Arc::clone(&id), metrics.seconds()));
        let live = Live { actor, stats };
        // A new entity admits it.
        drop(live.offer(command, self.context.limits.in_flight_per_entity));
        self.context.directory.insert(id, live);
        Ok(())
    }

    /// Passivates the longest idle entities until another one fits below the shard's cap.
    fn make_room(&mut self) {
        let cap = self.context.entities_per_shard();
        let mut checks = self.queue.len();
        while self.ids.len() - self.closing.len().min(self.ids.len()) >= cap && checks > 0 {
            checks -= 1;
            self.check_oldest(|_| true);
        }
    }

    fn passivate_idle(&mut self) {
        let now = self.context.entity.metrics.seconds();
        let idle = u32::try_from(self.context.limits.idle.as_secs()).unwrap_or(u32::MAX);
        for _ in 0..self.queue.len().min(SWEEP_LIMIT) {
            if !self.check_oldest(|touched| now.saturating_sub(touched) >= idle) {
                break;
            }
        }
        let keep = CRASH_WINDOW.max(self.context.limits.parked);
        self.crashes.retain(|_, crashes| crashes.last.elapsed() < keep);
    }

    /// Checks the oldest entry of the queue: an entity that got commands since goes to the end, another is passivated
    /// where `is_idle` says so. False where the entry stays first.
    fn check_oldest(&mut self, is_idle: impl Fn(u32) -> bool) -> bool {
        let Some((id, seen)) = self.queue.pop_front() else {
            return false;
        };
        let live = self.context.directory.get(&id);
        let Some(stats) = live.map(|live| Arc::clone(&live.stats)) else {
            // It has stopped already.
            return true;
        };
        let touched = stats.touched.load(Ordering::Relaxed);
        if touched > seen || stats.waiting.load(Ordering::Acquire) > 0 {
            self.queue.push_back((id, touched));
            return true;
        }
        if is_idle(touched) {
            self.passivate(&id);
            return true;
        }
        self.queue.push_front((id, seen));
        false
    }

    /// Removes an entity that is nothing but its id, unless a command is on its way to it.
    fn passivate_absent(&mut self, id: &Arc<str>) {
        let is_idle = |live: Ref<'_, Arc<str>, Live<A>>| live.stats.waiting.load(Ordering::Acquire) == 0;
        if self.context.directory.get(id).is_some_and(is_idle) {
            self.queue.retain(|(queued, _)| queued != id);
            self.passivate(id);
        }
    }

    fn passivate(&mut self, id: &Arc<str>) {
        // Removed from the directory before it stops: a command of somebody who still has its address is lost at worst,
        // and repeated through the shard.
        if let Some((id, live)) = self.context.directory.remove(id) {
            let metrics = &self.context.entity.metrics;
            metrics.passivations.fetch_add(1, Ordering::Relaxed);
            self.closing.insert(id, Vec::new());
            // If it has stopped by itself, its supervision event is still to come.
            drop(live.actor.cast(EntityMessage::Passivate));
        }
    }

    fn release_everything(&mut self) {
        let ids: Vec<Arc<str>> = self.ids.values().cloned().collect();
        for id in ids {
            self.passivate(&id);
        }
        for commands in self.closing.values_mut() {
            for command in commands.drain(..) {
                command.reply_to.send(Outcome::NotOwner(None));
            }
        }
    }

    async fn entity_stopped(
        &mut self,
        myself: &ActorRef<ShardMessage<A>>,
        actor: ActorId,
        failed: bool,
    ) -> Result<(), ActorProcessingErr> {
        let Some(id) = self.ids.remove(&actor) else {
            return Ok(());
        };
        self.context
            .directory
            .remove_if(&id, |_, live| live.actor.get_id() == actor);
        self.context.entity.metrics.live.fetch_sub(1, Ordering::Relaxed);
        if failed {
            self.count_crash(&id);
        }
        for command in self.closing.remove(&id).unwrap_or_default() {
            self.deliver(myself, Arc::clone(&id), command).await?;
        }
        self.stop_when_empty(myself);
        Ok(())
    }

    fn count_crash(&mut self, id: &Arc<str>) {
        let now = Instant::now();
        let crashes = self.crashes.entry(Arc::clone(id)).or_insert(Crashes {
            count: 0,
            last: now,
            refused_until: now,
        });
        if now.duration_since(crashes.last) > CRASH_WINDOW {
            crashes.count = 0;
        }
        crashes.count += 1;
        crashes.last = now;
        let limits = &self.context.limits;
        crashes.refused_until = now
            + match crashes.count {
                1 => Duration::ZERO,
                count if count > limits.crashes => limits.parked,
                count => limits.parked.min(FIRST_BACKOFF * 2u32.pow((count - 2).min(16))),
            };
        if crashes.count > limits.crashes {
            metrics::counter!("souk_entities_parked_total", "kind" => A::KIND.as_str()).increment(1);
            tracing::warn!(kind = A::KIND.as_str(), %id, crashes = crashes.count, "an entity is parked");
        }
    }

    fn stop_when_empty(&self, myself: &ActorRef<ShardMessage<A>>) {
        if self.handing_over && self.ids.is_empty() {
            myself.stop(Some("handed over".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
