//! What the regions of all kinds of entities have in common, for code that treats all kinds alike.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::{Region, RegionMessage, RegionSupervisor};
use crate::actors::entity::{Command, Description, EntityMessage, Record};
use crate::actors::handle::Start;
use crate::actors::metrics::KindMetrics;
use crate::actors::outcome::{Failure, Outcome, ReplyTo};
use crate::actors::persistence::Persistence;
use crate::actors::remote::{RemoteAsk, ReturnPath};
use crate::stores::documents::Document;
use crate::traces;
use souk_cluster::ownership::Owner;
use souk_cluster::placement::{SHARDS, shard_of};
use souk_domain::{Aggregate, Kind};

/// Longest time for an entity to describe itself.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(2);

/// A region of any kind of entity.
#[async_trait]
pub trait AnyRegion: Send + Sync + 'static {
    /// The kind of its entities.
    fn kind(&self) -> Kind;

    /// The store of its entities.
    fn persistence(&self) -> &Persistence;

    /// Counts for operators.
    fn metrics(&self) -> &KindMetrics;

    /// Starts the supervisor of its shards, each time it is called.
    fn starter(&self) -> Start;

    /// Takes a command from another node.
    fn accept(&self, id: &str, body: &[u8], path: ReturnPath);

    /// Releases shards that other nodes own now, and waits until their last entity has finished.
    async fn hand_over(&self, shards: Vec<u16>);

    /// Describes an entity for an operator; `None` where it is not live on this node.
    async fn describe(&self, id: &str) -> Option<Description>;

    /// The state in a row, as JSON.
    ///
    /// # Errors
    /// The row does not decode.
    fn state_of(&self, row: &Document) -> Result<Value, serde_json::Error>;

    /// Admitted commands on this node.
    fn in_flight(&self) -> usize;

    /// Whether the entity is live on this node.
    fn is_live(&self, id: &str) -> bool;

    /// The commands that wait for each live entity.
    fn mailboxes(&self) -> Vec<u64>;

    /// The number of live entities of each started shard.
    fn entities_by_shard(&self) -> HashMap<u16, usize>;
}

#[async_trait]
impl<A: Aggregate> AnyRegion for Region<A> {
    fn kind(&self) -> Kind {
        A::KIND
    }

    fn persistence(&self) -> &Persistence {
        &self.0.entity.persistence
    }

    fn metrics(&self) -> &KindMetrics {
        &self.0.entity.metrics
    }

    fn starter(&self) -> Start {
        let context = Arc::clone(&self.0);
        let make = move || Ok((RegionSupervisor(PhantomData), Arc::clone(&context)));
        self.0.supervisor.starter(make)
    }

    fn accept(&self, id: &str, body: &[u8], path: ReturnPath) {
        let reply_to = ReplyTo::<A>::there(path);
        let RemoteAsk { ask, trace } = match souk_wire::decode::<RemoteAsk<A>>(body) {
            Ok(remote) => remote,
            Err(error) => {
                tracing::warn!(%error, kind = A::KIND.as_str(), "a command could not be decoded");
                return reply_to.send(Outcome::Failed(Failure::Undecodable));
            }
        };
        let shard = shard_of(id);
        match self.0.entity.routing.owner(shard) {
            Owner::Local => {}
            Owner::Remote(node) => return reply_to.send(Outcome::NotOwner(Some(node.to_string()))),
            Owner::AcquiringLease | Owner::Nobody => return reply_to.send(Outcome::NotOwner(None)),
        }
        let Some(permit) = self.0.admit(ask.origin) else {
            return reply_to.send(self.0.busy());
        };
        tracing::debug!(
            request_id = &*ask.request_id,
            kind = A::KIND.as_str(),
            id,
            "a command arrived from another node"
        );
        let reply_to = match trace {
            Some(trace) => reply_to.within(traces::continued(trace, A::KIND.as_str(), &ask.request_id)),
            None => reply_to,
        };
        let command = Box::new(Command {
            ask,
            reply_to,
            permit,
            conflicts: 0,
        });
        self.dispatch(shard, id, command);
    }

    async fn hand_over(&self, shards: Vec<u16>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let message = RegionMessage::HandOver { shards, done: sender };
        if self.0.supervisor.cast(message) {
            // An error means that the supervisor died, and its shards with it.
            drop(receiver.await);
        }
    }

    async fn describe(&self, id: &str) -> Option<Description> {
        let actor = self.0.directory.get(id)?.actor.clone();
        let described = actor.call(EntityMessage::Describe, Some(DESCRIBE_LIMIT)).await;
        described.ok()?.success_or(()).ok()
    }

    fn state_of(&self, row: &Document) -> Result<Value, serde_json::Error> {
        serde_json::to_value(Record::<A>::decode(row)?.state)
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight.total()
    }

    fn is_live(&self, id: &str) -> bool {
        self.0.directory.contains_key(id)
    }

    fn mailboxes(&self) -> Vec<u64> {
        let directory = self.0.directory.iter();
        directory
            .map(|live| u64::from(live.stats.waiting.load(Ordering::Relaxed)))
            .collect()
    }

    fn entities_by_shard(&self) -> HashMap<u16, usize> {
        let mut counts: HashMap<u16, usize> = HashMap::new();
        for (shard, handle) in (0..SHARDS).zip(&self.0.shards) {
            if handle.get().is_some() {
                counts.insert(shard, 0);
            }
        }
        for entry in &self.0.directory {
            *counts.entry(shard_of(entry.key())).or_default() += 1;
        }
        counts
    }
}
