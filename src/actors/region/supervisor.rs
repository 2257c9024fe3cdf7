//! The supervisor of a region's shards on this node.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use super::RegionContext;
use crate::actors::shard::{Shard, ShardMessage};
use souk_cluster::ownership::Owner;
use souk_cluster::placement::shard_of;
use souk_domain::Aggregate;

/// Messages of a region's supervisor.
pub enum RegionMessage<A: Aggregate> {
    /// Forward a message to a shard, starting it if necessary.
    Deliver {
        /// Which shard.
        shard: u16,
        /// The message.
        message: ShardMessage<A>,
    },
    /// Release shards.
    HandOver {
        /// Which.
        shards: Vec<u16>,
        /// Notified when the last of them has stopped.
        done: oneshot::Sender<()>,
    },
    /// Have the shards passivate idle entities.
    Tick,
}

impl<A: Aggregate> ractor::Message for RegionMessage<A> {}

/// The actor that supervises a region's shards.
pub struct RegionSupervisor<A: Aggregate>(pub(super) PhantomData<A>);

/// State of a region's supervisor.
pub struct RegionState<A: Aggregate> {
    context: Arc<RegionContext<A>>,
    shards: HashMap<ActorId, u16>,
    hand_overs: Vec<(Vec<u16>, oneshot::Sender<()>)>,
}

impl<A: Aggregate> Actor for RegionSupervisor<A> {
    type Msg = RegionMessage<A>;
    type State = RegionState<A>;
    type Arguments = Arc<RegionContext<A>>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        context: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        // The shards of an earlier incarnation died with it.
        context.directory.clear();
        for shard in &context.shards {
            shard.clear();
        }
        context.started_shards.store(0, Ordering::Relaxed);
        context.entity.metrics.live.store(0, Ordering::Relaxed);
        let period = (context.limits.idle / 4).clamp(Duration::from_millis(250), Duration::from_secs(30));
        myself.send_interval(period, || RegionMessage::Tick);
        Ok(RegionState {
            context,
            shards: HashMap::new(),
            hand_overs: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RegionMessage::Deliver { shard, message } => state.deliver(&myself, shard, message).await?,
            RegionMessage::HandOver { shards, done } => state.hand_over(shards, done),
            RegionMessage::Tick => {
                for shard in state.shards.values() {
                    state.context.shards[usize::from(*shard)].cast(ShardMessage::Tick);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => state.shard_stopped(cell.get_id()),
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::error!(kind = A::KIND.as_str(), %error, "a shard failed; it restarts with its next message");
                state.shard_stopped(cell.get_id());
            }
            _ => {}
        }
        Ok(())
    }
}

impl<A: Aggregate> RegionState<A> {
    async fn deliver(
        &mut self,
        myself: &ActorRef<RegionMessage<A>>,
        shard: u16,
        message: ShardMessage<A>,
    ) -> Result<(), ActorProcessingErr> {
        let handle = &self.context.shards[usize::from(shard)];
        if handle.get().is_none() {
            // Sent before the shard was handed over, and received afterwards. Started now, its entities would stay in memory
            // and be stale when the node owns the shard again.
            if self.context.entity.routing.owner(shard) != Owner::Local {
                message.refuse();
                return Ok(());
            }
            let arguments = (shard, Arc::clone(&self.context));
            let (actor, _) =
                Actor::spawn_linked(None, Shard(PhantomData), arguments, myself.get_cell()).await?;
            self.shards.insert(actor.get_id(), shard);
            self.context
                .started_shards
                .store(self.shards.len(), Ordering::Relaxed);
            handle.point_at(actor);
        }
        // A shard that has just stopped drops the command, which is answered thereby.
        handle.cast(message);
        Ok(())
    }

    fn hand_over(&mut self, shards: Vec<u16>, done: oneshot::Sender<()>) {
        let live: Vec<u16> = shards
            .into_iter()
            .filter(|shard| self.shards.values().any(|started| started == shard))
            .collect();
        for shard in &live {
            self.context.shards[usize::from(*shard)].cast(ShardMessage::HandOver);
        }
        self.hand_overs.push((live, done));
        self.report_finished_hand_overs();
    }

    fn shard_stopped(&mut self, actor: ActorId) {
        let Some(shard) = self.shards.remove(&actor) else {
            return;
        };
        self.context
            .started_shards
            .store(self.shards.len(), Ordering::Relaxed);
        self.context.shards[usize::from(shard)].clear();
        // After a failure the directory still has entities, whose actors died with the shard.
        let before = self.context.directory.len();
        self.context.directory.retain(|id, _| shard_of(id) != shard);
        let left = before.saturating_sub(self.context.directory.len());
        self.context
            .entity
            .metrics
            .live
            .fetch_sub(left, Ordering::Relaxed);
        for (waiting, _) in &mut self.hand_overs {
            waiting.retain(|other| *other != shard);
        }
        self.report_finished_hand_overs();
    }

    fn report_finished_hand_overs(&mut self) {
        let finished = self.hand_overs.extract_if(.., |(shards, _)| shards.is_empty());
        for (_, done) in finished {
            // The caller may have given up.
            let _ = done.send(());
        }
    }
}
