//! Membership: the actor that follows the view in the coordination store, proposes the next one, and reports what each
//! change means for this node.

mod change;
mod heartbeats;
mod liveness;
mod operations;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

pub use change::{OwnershipChange, OwnershipListener};

use crate::gossip::NodeReport;
use crate::ownership::Routing;
use crate::peers::LinkEvent;
use crate::view::{Member, View};
use crate::views::Views;
use heartbeats::INTERVAL;
pub use heartbeats::WINDOW as HEARTBEAT_WINDOW;
pub use operations::{Ended, Look};
pub use state::MembershipState;

/// The timing of membership.
#[derive(Clone, Copy, Debug)]
pub struct MembershipSettings {
    /// Between two looks at the view.
    pub look_interval: Duration,
    /// For how long after a look this node may answer from memory.
    pub lease: Duration,
    /// How much longer than the majority a minority waits before it removes members.
    pub minority_wait: Duration,
    /// How long there may be no link to a node that gossip reports.
    pub unreachable: Duration,
    /// The longest time for handing shards over when leaving.
    pub drain: Duration,
}

/// Messages of the membership actor.
pub enum MembershipMessage {
    /// Look at the view now.
    Look,
    /// Send or read heartbeats.
    Beat,
    /// The nodes that are alive according to gossip.
    Gossip(Vec<NodeReport>),
    /// An operation of the coordination store has ended.
    Ended(Ended),
    /// A link has changed.
    Link(LinkEvent),
    /// Another node has released the shards that it lost with a view.
    Released {
        /// Which node.
        from: String,
        /// The view's number.
        view: u64,
    },
    /// This node has released the shards that it lost with the view of this number.
    HandedOver(u64),
    /// Leave the cluster; the reply follows when everything is handed over.
    Leave(RpcReplyPort<()>),
    /// Describe the membership for an operator.
    Describe(RpcReplyPort<MembershipDescription>),
}

impl ractor::Message for MembershipMessage {}

/// The membership as an operator sees it.
#[derive(Clone, Debug)]
pub struct MembershipDescription {
    /// This node.
    pub me: Member,
    /// Whether it is in the view.
    pub is_member: bool,
    /// The installed view.
    pub view: View,
    /// The other nodes that are alive according to gossip.
    pub alive: Vec<Member>,
}

/// The actor's arguments.
pub struct MembershipArguments {
    /// This node.
    pub me: Member,
    /// The coordination store.
    pub views: Arc<dyn Views>,
    /// Where views are installed.
    pub routing: Arc<Routing>,
    /// Receives the changes.
    pub listener: Arc<dyn OwnershipListener>,
    /// The live nodes according to gossip.
    pub gossip: watch::Receiver<Vec<NodeReport>>,
    /// The timing.
    pub settings: MembershipSettings,
}

/// The actor.
pub struct Membership;

impl Actor for Membership {
    type Msg = MembershipMessage;
    type State = MembershipState;
    type Arguments = MembershipArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: MembershipArguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.send_interval(arguments.settings.look_interval, || MembershipMessage::Look);
        myself.send_interval(INTERVAL, || MembershipMessage::Beat);
        follow_suspicions(
            Arc::clone(&arguments.routing),
            arguments.settings.look_interval,
            myself.clone(),
        );
        follow_gossip(arguments.gossip.clone(), myself.clone());
        Ok(MembershipState::new(arguments, myself))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MembershipMessage::Look => state.look(),
            MembershipMessage::Beat => state.beat(),
            MembershipMessage::Ended(ended) => state.ended(ended),
            MembershipMessage::Gossip(reports) => state.gossip(reports),
            MembershipMessage::Link(LinkEvent::Up { .. }) => state.propose(),
            MembershipMessage::Link(LinkEvent::Down { peer, refused }) => {
                if refused {
                    state.refused(peer);
                }
            }
            MembershipMessage::Released { from, view } => state.released(from, view),
            MembershipMessage::HandedOver(view) => state.handed_over(view),
            MembershipMessage::Leave(done) => state.leave(done),
            MembershipMessage::Describe(port) => {
                // The operator's request may have timed out.
                let _ = port.send(state.description());
            }
        }
        Ok(())
    }
}

/// Has the actor look when a row shows that the installed view is outdated, at most twice an interval: an older view may
/// be all that there is, where the coordination store has been restored from a backup.
fn follow_suspicions(routing: Arc<Routing>, interval: Duration, membership: ActorRef<MembershipMessage>) {
    tokio::spawn(async move {
        loop {
            routing.suspected().await;
            if membership.cast(MembershipMessage::Look).is_err() {
                // For the next incarnation of the actor.
                return routing.suspect();
            }
            tokio::time::sleep(interval / 2).await;
        }
    });
}

/// Forwards the live nodes of gossip to the actor while both exist.
fn follow_gossip(mut gossip: watch::Receiver<Vec<NodeReport>>, membership: ActorRef<MembershipMessage>) {
    tokio::spawn(async move {
        loop {
            let reports = gossip.borrow_and_update().clone();
            if membership.cast(MembershipMessage::Gossip(reports)).is_err() {
                return;
            }
            if gossip.changed().await.is_err() {
                // The list would never change again. The supervisor restarts membership, and stops the node if that
                // does not help.
                membership.stop(Some("gossip has ended".to_owned()));
                return;
            }
        }
    });
}
