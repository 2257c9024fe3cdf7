//! The supervisor of a region's shards on this node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::Region;
use crate::actors::shard::{Shard, ShardMessage};
use souk_cluster::ownership::Owner;
use souk_cluster::placement::shard_of;
use souk_domain::Aggregate;

/// What a region's supervisor is told.
pub enum RegionMessage<A: Aggregate> {
    /// Start the shard if need be, and hand it the message.
    Deliver {
        /// Which shard.
        shard: u16,
        /// What it is told.
        message: ShardMessage<A>,
    },
    /// Let go of shards.
    HandOver {
        /// Which.
        shards: Vec<u16>,
        /// Told when the last of them has stopped.
        done: tokio::sync::oneshot::Sender<()>,
    },
    /// Time for the shards to look for idle entities.
    Tick,
}

impl<A: Aggregate> ractor::Message for RegionMessage<A> {}

/// The actor that supervises a region's shards.
pub struct RegionSupervisor<A: Aggregate>(std::marker::PhantomData<A>);

impl<A: Aggregate> Default for RegionSupervisor<A> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

/// What the supervisor keeps.
pub struct RegionState<A: Aggregate> {
    region: Region<A>,
    shards: HashMap<ActorId, u16>,
    hand_overs: Vec<(Vec<u16>, tokio::sync::oneshot::Sender<()>)>,
}

impl<A: Aggregate> Actor for RegionSupervisor<A> {
    type Msg = RegionMessage<A>;
    type State = RegionState<A>;
    type Arguments = Region<A>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        region: Region<A>,
    ) -> Result<Self::State, ActorProcessingErr> {
        // Whatever an earlier incarnation had is dead: its shards were its children.
        region.0.directory.clear();
        for shard in &region.0.shards {
            shard.clear();
        }
        region.0.started_shards.store(0, Ordering::Relaxed);
        region.0.entity.metrics.live.store(0, Ordering::Relaxed);
        let period = (region.0.limits.idle / 4).clamp(Duration::from_millis(250), Duration::from_secs(30));
        myself.send_interval(period, || RegionMessage::Tick);
        Ok(RegionState {
            region,
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
                    state.region.0.shards[usize::from(*shard)].cast(ShardMessage::Tick);
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
            SupervisionEvent::ActorTerminated(cell, _, _) => state.gone(cell.get_id()),
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::error!(kind = A::KIND.as_str(), %error, "a shard failed; it starts again with the next message");
                state.gone(cell.get_id());
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
        let handle = &self.region.0.shards[usize::from(shard)];
        if handle.get().is_none() {
            // Sent while the shard was this node's, and here after it was handed over: started now it would live on, and
            // pass for what stands in the store when the shard comes back.
            if self.region.0.entity.routing.owner(shard) != Owner::Here {
                message.refuse();
                return Ok(());
            }
            let arguments = (shard, Arc::clone(&self.region.0));
            let (actor, _) =
                Shard::<A>::spawn_linked(None, Shard::default(), arguments, myself.get_cell()).await?;
            self.shards.insert(actor.get_id(), shard);
            self.region
                .0
                .started_shards
                .store(self.shards.len(), Ordering::Relaxed);
            handle.point_at(actor);
        }
        // A shard that has just stopped drops the command, which says so.
        handle.cast(message);
        Ok(())
    }

    fn hand_over(&mut self, shards: Vec<u16>, done: tokio::sync::oneshot::Sender<()>) {
        let live: Vec<u16> = shards
            .into_iter()
            .filter(|shard| self.shards.values().any(|started| started == shard))
            .collect();
        for shard in &live {
            self.region.0.shards[usize::from(*shard)].cast(ShardMessage::HandOver);
        }
        self.hand_overs.push((live, done));
        self.report_finished_hand_overs();
    }

    fn gone(&mut self, actor: ActorId) {
        let Some(shard) = self.shards.remove(&actor) else {
            return;
        };
        self.region
            .0
            .started_shards
            .store(self.shards.len(), Ordering::Relaxed);
        self.region.0.shards[usize::from(shard)].clear();
        // After a failure entities are left in the directory; their actors died with the shard.
        let before = self.region.0.directory.len();
        self.region.0.directory.retain(|id, _| shard_of(id) != shard);
        let left = before.saturating_sub(self.region.0.directory.len());
        self.region
            .0
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
        let (finished, waiting) = std::mem::take(&mut self.hand_overs)
            .into_iter()
            .partition(|(shards, _)| shards.is_empty());
        self.hand_overs = waiting;
        let finished: Vec<(Vec<u16>, tokio::sync::oneshot::Sender<()>)> = finished;
        for (_, done) in finished {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
    }
}
