//! The state of the membership actor: looking at the view, installing, proposing and leaving it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ractor::{ActorRef, RpcReplyPort};

use super::heartbeats::Heartbeats;
use super::liveness::Liveness;
use super::{
    MembershipArguments, MembershipDescription, MembershipMessage, MembershipSettings, OwnershipChange,
    OwnershipListener,
};
use crate::election::{self, Plan};
use crate::ownership::Routing;
use crate::view::{Member, MemberState, View};
use crate::views::Views;

/// The actor's state.
pub struct MembershipState {
    pub(super) me: Member,
    views: Arc<dyn Views>,
    pub(super) routing: Arc<Routing>,
    pub(super) listener: Arc<dyn OwnershipListener>,
    pub(super) settings: MembershipSettings,
    pub(super) installed: View,
    pub(super) liveness: Liveness,
    /// Since when a proposal has been put off.
    waiting_since: Option<Instant>,
    heartbeats: Heartbeats,
    /// The latest view whose lost shards are released.
    pub(super) handed_over: u64,
    /// The latest release of each node; it may arrive before the view that it belongs to.
    pub(super) releases: HashMap<String, u64>,
    pub(super) leaving: Option<Leaving>,
}

pub(super) struct Leaving {
    /// The caller; taken when it has its reply.
    pub(super) done: Option<RpcReplyPort<()>>,
    pub(super) until: Instant,
}

impl MembershipState {
    pub(super) fn new(arguments: MembershipArguments) -> Self {
        Self {
            installed: arguments.routing.table().view.clone(),
            me: arguments.me,
            views: arguments.views,
            routing: arguments.routing,
            listener: arguments.listener,
            settings: arguments.settings,
            liveness: Liveness::default(),
            waiting_since: None,
            heartbeats: Heartbeats::default(),
            handed_over: 0,
            releases: HashMap::new(),
            leaving: None,
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
            alive: self.liveness.in_gossip().to_vec(),
        }
    }

    pub(super) fn update_peers(&self) {
        let peers = self.liveness.peers(&self.me.name, &self.installed);
        self.listener.changed(OwnershipChange::Peers(peers));
    }

    /// Reads the view, installs it if it has changed, and proposes the next one if necessary.
    pub(super) async fn look(&mut self, myself: &ActorRef<MembershipMessage>) {
        let looked_at = Instant::now();
        let view = match self.views.current().await {
            Ok(view) => view.unwrap_or_default(),
            Err(error) => {
                // The lease is not renewed, so that reads ask their own store until the view can be read again.
                tracing::warn!(%error, "cannot read the view");
                // Leaving is limited in time whatever happens.
                self.finish_leaving().await;
                return;
            }
        };
        if view != self.installed {
            // The view has been in the store since now at the latest. A node that answers from memory under the previous
            // view looked before it was replaced, so its lease ends with that look's time.
            self.install(myself, view, Instant::now());
        }
        if self.is_member() {
            self.routing.renew_lease(looked_at, self.settings.lease);
        }
        self.propose(myself).await;
        self.finish_leaving().await;
    }

    fn install(&mut self, myself: &ActorRef<MembershipMessage>, view: View, read_at: Instant) {
        self.liveness
            .view_changed(&self.me.name, &self.installed, &view, Instant::now());
        let number = view.number;
        let removed = self.is_member() && !view.contains(&self.me.identity());
        for member in &self.installed.members {
            if !view.contains(&member.identity()) {
                self.listener
                    .changed(OwnershipChange::NodeLeft(member.name.clone()));
            }
        }
        let lease = self.settings.lease;
        let lost = if removed {
            tracing::warn!(
                view = number,
                "this node was removed from the view and joins again"
            );
            let lost = self.routing.step_down();
            self.routing.install(view.clone(), read_at, lease);
            lost
        } else {
            tracing::info!(view = number, members = ?names(&view), "view installed");
            self.routing.install(view.clone(), read_at, lease)
        };
        metrics::gauge!("souk_view_number").set(number as f64);
        for (from, released) in &self.releases {
            self.routing.released(from, *released);
        }
        self.installed = view;
        self.waiting_since = None;
        self.update_peers();
        self.hand_over(myself, lost, number);
        self.listener.changed(OwnershipChange::Gained);
    }

    fn hand_over(&self, myself: &ActorRef<MembershipMessage>, lost: Vec<u16>, number: u64) {
        let (listener, myself) = (Arc::clone(&self.listener), myself.clone());
        tokio::spawn(async move {
            listener.release(lost).await;
            // The actor may have stopped.
            let _ = myself.cast(MembershipMessage::HandedOver(number));
        });
    }

    async fn propose(&mut self, myself: &ActorRef<MembershipMessage>) {
        let now = Instant::now();
        let view = self.is_member().then_some(&self.installed);
        let live = self.liveness.alive(view, now);
        let members_active = self.heartbeats.any_recent(&self.installed, now);
        let proposal = match election::plan(&self.installed, &self.me, &live, members_active) {
            Plan::Nothing => {
                self.waiting_since = None;
                return;
            }
            Plan::Propose(view) => view,
            Plan::ProposeLater(view) => {
                let since = *self.waiting_since.get_or_insert(now);
                if now < since + self.settings.minority_wait {
                    return;
                }
                view
            }
        };
        match self.views.propose(&proposal).await {
            Ok(true) => {
                tracing::info!(view = proposal.number, members = ?names(&proposal), "view decided");
                self.listener.changed(OwnershipChange::Decided(proposal.members));
            }
            Ok(false) => tracing::debug!(view = proposal.number, "another node's proposal was faster"),
            Err(error) => {
                tracing::warn!(%error, "cannot propose a view");
                return;
            }
        }
        // The view is read by a look of its own, because the lease counts from its start.
        let _ = myself.cast(MembershipMessage::Look);
    }

    /// Leaves the view once everything is handed over or the time for that has expired.
    async fn finish_leaving(&mut self) {
        let Some(until) = self.leaving.as_ref().map(|leaving| leaving.until) else {
            return;
        };
        let is_member = self.is_member();
        let own = self.installed.member(&self.me.name).filter(|_| is_member);
        let owns_nothing = own.is_none_or(|member| member.state == MemberState::Leaving);
        let handed_over = owns_nothing && self.handed_over >= self.installed.number;
        let expired = Instant::now() >= until;
        if !handed_over && !expired {
            return;
        }
        if is_member {
            let last = election::without(&self.installed, &self.me.name);
            match self.views.propose(&last).await {
                Ok(true) => self.listener.changed(OwnershipChange::Decided(last.members)),
                // The next look tries again.
                Ok(false) if Instant::now() < until => return,
                Ok(false) | Err(_) => tracing::warn!("this node stops without having left the view"),
            }
        }
        if let Some(done) = self.leaving.as_mut().and_then(|leaving| leaving.done.take()) {
            // The caller may have given up.
            let _ = done.send(());
        }
    }

    /// A member increments its heartbeat; a node outside the view reads those of the members.
    pub(super) async fn beat(&mut self) {
        if self.is_member() {
            if let Err(error) = self.views.beat(&self.me.name, self.me.incarnation).await {
                tracing::warn!(%error, "cannot send a heartbeat to the coordination store");
            }
        } else {
            match self.views.beats().await {
                Ok(heartbeats) => self.heartbeats.update(heartbeats, Instant::now()),
                Err(error) => tracing::warn!(%error, "cannot read the members' heartbeats"),
            }
        }
    }
}

fn names(view: &View) -> Vec<&str> {
    view.members.iter().map(|member| member.name.as_str()).collect()
}
