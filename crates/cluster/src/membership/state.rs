//! The state of the membership actor: installing views, proposing them, and leaving.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{ActorRef, RpcReplyPort};
use souk_retry::Backoff;
use tokio::task::JoinHandle;

use super::heartbeats::Heartbeats;
use super::liveness::Liveness;
use super::operations::{Ended, Look, Operations};
use super::{
    MembershipArguments, MembershipDescription, MembershipMessage, MembershipSettings, OwnershipChange,
    OwnershipListener,
};
use crate::election::{self, Links, Plan};
use crate::gossip::NodeReport;
use crate::ownership::Routing;
use crate::view::{Member, MemberState, NodeIdentity, View};
use crate::views::ViewsError;

/// Pauses before a node that was removed joins again, so that one which others find dead over and over does not move
/// shards each time.
const REJOIN: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
/// A node that was a member for this long begins with the shortest pause again.
const STABLE: Duration = Duration::from_secs(60);

/// The actor's state.
pub struct MembershipState {
    me: Member,
    myself: ActorRef<MembershipMessage>,
    operations: Operations,
    routing: Arc<Routing>,
    listener: Arc<dyn OwnershipListener>,
    settings: MembershipSettings,
    installed: View,
    liveness: Liveness,
    /// The names of the live nodes that this node can't reach, as it has published them.
    unreachable: Vec<String>,
    /// The members to which this node needs links before it joins.
    awaited: Vec<String>,
    /// Since when a proposal has been put off.
    waiting_since: Option<Instant>,
    heartbeats: Heartbeats,
    member_since: Option<Instant>,
    rejoin_pauses: Backoff,
    /// A node that was removed does not join before.
    rejoin_at: Option<Instant>,
    /// The latest release of lost shards; it ends, true unless it panicked, when all earlier ones have ended.
    hand_over: Option<JoinHandle<bool>>,
    /// The latest view whose lost shards are released.
    handed_over: u64,
    /// The latest release of each node; it may arrive before the view that it belongs to.
    releases: HashMap<String, u64>,
    leaving: Option<Leaving>,
    is_superseded: bool,
}

struct Leaving {
    /// The caller; taken when it has its reply.
    done: Option<RpcReplyPort<()>>,
    until: Instant,
}

impl MembershipState {
    pub(super) fn new(arguments: MembershipArguments, myself: ActorRef<MembershipMessage>) -> Self {
        Self {
            installed: arguments.routing.table().view.clone(),
            me: arguments.me,
            operations: Operations::new(arguments.views, myself.clone()),
            myself,
            routing: arguments.routing,
            listener: arguments.listener,
            settings: arguments.settings,
            liveness: Liveness::default(),
            unreachable: Vec::new(),
            awaited: Vec::new(),
            waiting_since: None,
            heartbeats: Heartbeats::default(),
            member_since: None,
            rejoin_pauses: REJOIN,
            rejoin_at: None,
            hand_over: None,
            handed_over: 0,
            releases: HashMap::new(),
            leaving: None,
            is_superseded: false,
        }
    }

    fn is_member(&self) -> bool {
        self.installed.contains(&self.me.identity())
    }

    pub(super) fn description(&self) -> MembershipDescription {
        MembershipDescription {
            me: self.me.clone(),
            is_member: self.is_member(),
            view: self.installed.clone(),
            alive: self.liveness.in_gossip(),
        }
    }

    /// Gossip reports these live nodes.
    pub(super) fn gossip(&mut self, mut reports: Vec<NodeReport>) {
        if let Some(own) = reports.iter().find(|report| report.member.name == self.me.name) {
            self.check_superseded(own.member.incarnation);
        }
        reports.retain(|report| report.member.name != self.me.name);
        self.liveness.gossip(reports);
        self.update_peers();
        self.look();
    }

    /// The address of a node refuses connections: it is proposed for removal without waiting for gossip to miss it.
    pub(super) fn refused(&mut self, peer: NodeIdentity) {
        if self.liveness.refused(peer, &self.installed) {
            self.propose();
        }
    }

    /// Another node has released the shards that it lost with the view of this number.
    pub(super) fn released(&mut self, from: String, view: u64) {
        self.routing.released(&from, view);
        self.releases.insert(from, view);
        self.listener.changed(OwnershipChange::Gained);
    }

    /// This node has released the shards that it lost with the view of this number and all before.
    pub(super) fn handed_over(&mut self, view: u64) {
        self.handed_over = self.handed_over.max(view);
        let members = self.installed.members.clone();
        self.listener.changed(OwnershipChange::Released { view, members });
        self.look();
    }

    /// Begins to leave the cluster.
    pub(super) fn leave(&mut self, done: RpcReplyPort<()>) {
        self.me.state = MemberState::Leaving;
        self.listener
            .changed(OwnershipChange::State(MemberState::Leaving));
        self.leaving = Some(Leaving {
            done: Some(done),
            until: Instant::now() + self.settings.drain,
        });
        self.look();
    }

    /// Reads the view, installs it if it has changed, and proposes the next one if necessary.
    pub(super) fn look(&mut self) {
        self.operations.look();
    }

    /// A member increments its heartbeat; a node outside the view reads those of the members.
    pub(super) fn beat(&mut self) {
        if self.is_member() {
            self.operations.beat(self.me.identity());
        } else {
            self.operations.beats();
        }
    }

    /// An operation of the coordination store has ended. After an error the next attempt follows at the next interval.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.operations.ended(&ended);
        match ended {
            Ended::Look(looked) => self.looked(looked),
            Ended::Proposal(view, result) => self.proposed(view, result),
            Ended::Beat(Ok(())) => {}
            Ended::Beat(Err(error)) => {
                tracing::warn!(%error, "cannot send a heartbeat to the coordination store");
            }
            Ended::Beats(Ok(beats)) => self.heartbeats.update(beats, Instant::now()),
            Ended::Beats(Err(error)) => tracing::warn!(%error, "cannot read the members' heartbeats"),
        }
    }

    fn looked(&mut self, looked: Result<Look, ViewsError>) {
        match looked {
            Ok(Look { view, began, ended }) => {
                if view != self.installed {
                    // The view has been in the store since `ended` at the latest. A node that answers from memory under
                    // the previous view looked before it was replaced, so its lease ends with that look's time.
                    self.install(view, ended);
                }
                if self.is_member() {
                    self.routing.renew_lease(began, self.settings.lease);
                }
                self.propose();
            }
            // The lease is not renewed, so that reads ask their own store until the view can be read again.
            Err(error) => tracing::warn!(%error, "cannot read the view"),
        }
        // Leaving is limited in time whatever happens.
        self.finish_leaving();
    }

    fn install(&mut self, view: View, read_at: Instant) {
        let now = Instant::now();
        self.liveness
            .view_changed(&self.me.name, &self.installed, &view, now);
        if let Some(own) = view.member(&self.me.name) {
            self.check_superseded(own.incarnation);
        }
        let was_member = self.is_member();
        let is_removed = was_member && !view.contains(&self.me.identity());
        for member in &self.installed.members {
            if !view.contains(&member.identity()) {
                self.listener
                    .changed(OwnershipChange::NodeLeft(member.name.clone()));
            }
        }
        let (number, lease) = (view.number, self.settings.lease);
        let mut lost = Vec::new();
        if is_removed {
            lost = self.routing.step_down();
            self.removed(number, now);
        }
        lost.extend(self.routing.install(view.clone(), read_at, lease));
        tracing::info!(view = number, members = ?names(&view), "view installed");
        metrics::gauge!("souk_view_number").set(number as f64);
        for (from, released) in &self.releases {
            self.routing.released(from, *released);
        }
        self.installed = view;
        if !was_member && self.is_member() {
            self.member_since = Some(now);
        }
        self.waiting_since = None;
        self.update_peers();
        self.hand_over(lost, number);
        self.listener.changed(OwnershipChange::Gained);
    }

    fn removed(&mut self, view: u64, now: Instant) {
        if self.leaving.is_some() || self.is_superseded {
            tracing::info!(view, "this node has left the view");
            return;
        }
        let since = self.member_since.take();
        if since.is_none_or(|since| now >= since + STABLE) {
            self.rejoin_pauses = REJOIN;
        }
        let pause = self.rejoin_pauses.next_pause();
        self.rejoin_at = Some(now + pause);
        tracing::warn!(
            view,
            ?pause,
            "this node was removed from the view; it joins again after a pause"
        );
    }

    fn check_superseded(&mut self, incarnation: u64) {
        if incarnation > self.me.incarnation && !self.is_superseded {
            self.is_superseded = true;
            self.listener.changed(OwnershipChange::Superseded(incarnation));
        }
    }

    fn update_peers(&self) {
        let peers = self.liveness.peers(&self.me.name, &self.installed);
        self.listener.changed(OwnershipChange::Peers(peers));
    }

    /// Releases the shards that were lost, at once; reports it when earlier releases have ended too.
    fn hand_over(&mut self, lost: Vec<u16>, number: u64) {
        let (listener, myself) = (Arc::clone(&self.listener), self.myself.clone());
        let earlier = self.hand_over.take();
        self.hand_over = Some(tokio::spawn(async move {
            listener.release(lost).await;
            if let Some(earlier) = earlier
                && !earlier.await.unwrap_or(false)
            {
                return false;
            }
            // The actor may have stopped.
            let _ = myself.cast(MembershipMessage::HandedOver(number));
            true
        }));
    }

    /// Proposes the next view if there should be another.
    pub(super) fn propose(&mut self) {
        let now = Instant::now();
        let links = self.check_links(now);
        if !self.is_member() && self.rejoin_at.is_some_and(|at| now < at) {
            return;
        }
        let view = self.is_member().then_some(&self.installed);
        let live = self.liveness.alive(view, now);
        let members_active = self.heartbeats.any_recent(&self.installed, now);
        match election::plan(&self.installed, &self.me, &live, &links, members_active) {
            Plan::Nothing => self.waiting_since = None,
            Plan::Propose(view) => self.operations.propose(view),
            Plan::ProposeLater(view) => {
                let since = *self.waiting_since.get_or_insert(now);
                if now >= since + self.settings.minority_wait {
                    self.operations.propose(view);
                }
            }
        }
    }

    /// Publishes which live nodes this node can't reach, and tells what is known of missing links.
    fn check_links(&mut self, now: Instant) -> Links {
        let listener = Arc::clone(&self.listener);
        self.liveness.links(
            &self.me.name,
            &self.installed,
            |peer| listener.is_linked(peer),
            now,
        );
        let unreachable = self.liveness.unreachable(self.settings.unreachable, now);
        if unreachable != self.unreachable {
            if !unreachable.is_empty() {
                tracing::warn!(nodes = ?unreachable, "gossip reports nodes to which there is no link");
            }
            self.listener
                .changed(OwnershipChange::Unreachable(unreachable.clone()));
            self.unreachable = unreachable;
        }
        let links = self
            .liveness
            .missing_links(&self.me.name, &self.unreachable, &self.installed, now);
        if !self.is_member() && links.missing != self.awaited {
            self.awaited.clone_from(&links.missing);
            if !self.awaited.is_empty() {
                tracing::info!(nodes = ?self.awaited, "this node joins once it has links to these members");
            }
        }
        links
    }

    fn proposed(&mut self, view: View, result: Result<bool, ViewsError>) {
        match result {
            Ok(true) => {
                tracing::info!(view = view.number, members = ?names(&view), "view decided");
                self.listener.changed(OwnershipChange::Decided(view.members));
            }
            Ok(false) => tracing::debug!(view = view.number, "another node's proposal was faster"),
            Err(error) => return tracing::warn!(%error, "cannot propose a view"),
        }
        // The view is read by a look of its own, because the lease counts from its start.
        self.look();
    }

    /// Leaves the view once everything is handed over; gives up when the time for that has expired.
    fn finish_leaving(&mut self) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let is_member = self.installed.contains(&self.me.identity());
        let has_time = Instant::now() < leaving.until;
        if is_member && has_time {
            let own = self.installed.member(&self.me.name);
            let owns_nothing = own.is_none_or(|member| member.state == MemberState::Leaving);
            if owns_nothing && self.handed_over >= self.installed.number {
                self.operations
                    .propose(election::without(&self.installed, &self.me.name));
            }
            return;
        }
        // Outside the view, the last writes may still be under way.
        if self.handed_over < self.installed.number && has_time {
            return;
        }
        let Some(done) = leaving.done.take() else {
            return;
        };
        if is_member {
            tracing::warn!("this node stops without having left the view");
        }
        // The caller may have given up.
        let _ = done.send(());
    }
}

fn names(view: &View) -> Vec<&str> {
    view.members.iter().map(|member| member.name.as_str()).collect()
}
