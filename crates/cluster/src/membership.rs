//! The membership actor: gossip in, verified views out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::election::{self, Plan};
use crate::ownership::Routing;
use crate::transport::NodeIdentity;
use crate::view::{Member, MemberState, View};
use crate::views::Views;

/// How often a node shows itself in the coordination store.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A node that has not shown itself there for so long does not stir any more.
const BEAT_WINDOW: Duration = Duration::from_millis(2_500);

/// A node that a view has left out is not taken in again for so long by those who still hear of it: they hear of a dead one
/// longer than whoever noticed first, and would bring it back each time. One that lives comes back by its own doing.
const LEFT_OUT: Duration = Duration::from_secs(10);

/// A member that this node has never heard is believed alive for so long: it may have joined by another node's word, and
/// its gossip is still on the way.
const HEARING_GRACE: Duration = Duration::from_secs(3);

/// How fast the cluster notices, and how sure it wants to be.
#[derive(Clone, Copy, Debug)]
pub struct MembershipSettings {
    /// How often the view is looked at.
    pub look_interval: Duration,
    /// How long a look stands.
    pub verified: Duration,
    /// How much longer than the majority the minority waits.
    pub minority_wait: Duration,
    /// The longest time for handing shards over when leaving.
    pub drain: Duration,
}

/// What follows from a view for the rest of the node.
#[async_trait]
pub trait ViewConsequences: Send + Sync + 'static {
    /// These nodes should be connected to.
    fn wanted(&self, members: &[Member]);
    /// Entities of these shards must be let go; returns when the last write in flight has ended.
    async fn lost(&self, shards: Vec<u16>);
    /// The node may serve other shards than before.
    fn gained(&self);
    /// Tells `members` that this node has let go of what it lost with view `number`.
    fn announce_release(&self, members: &[Member], number: u64);
    /// Tells `members` that the view has changed.
    fn announce_view(&self, members: &[Member]);
    /// Nobody answers for this node any more: forget what was asked of it.
    fn forget(&self, node: &str);
    /// Publishes how this node stands.
    fn publish(&self, me: &Member);
}

/// What the actor is told.
pub enum MembershipMessage {
    /// Look at the view now.
    Look,
    /// Time to show oneself in the store.
    Beat,
    /// The nodes that gossip believes alive and ready or leaving; this one left out.
    Heard(Vec<Member>),
    /// The connection to a node ended; `refused`: its address refuses connections, so that the process is gone.
    LinkDown {
        /// Which.
        peer: NodeIdentity,
        /// Whether its address refuses connections.
        refused: bool,
    },
    /// There is a connection to a node again.
    LinkUp(NodeIdentity),
    /// A node has let go of what it lost with a view.
    Released {
        /// Which node.
        from: String,
        /// Which view.
        view: u64,
    },
    /// This node has let go of what it lost with a view.
    HandedOver(u64),
    /// Leave the cluster; answered when everything is handed over.
    Leave(RpcReplyPort<()>),
    /// What an operator sees.
    Describe(RpcReplyPort<MembershipDescription>),
}

impl ractor::Message for MembershipMessage {}

/// The membership as an operator sees it.
#[derive(Clone, Debug)]
pub struct MembershipDescription {
    /// This node.
    pub me: Member,
    /// Whether it is in the view.
    pub within: bool,
    /// The installed view.
    pub view: View,
    /// Who is believed alive, this node left out.
    pub heard: Vec<Member>,
}

/// The actor's arguments.
pub struct MembershipArguments {
    /// This node.
    pub me: Member,
    /// The coordination store.
    pub views: Arc<dyn Views>,
    /// Where views are installed.
    pub routing: Arc<Routing>,
    /// What follows from them.
    pub consequences: Arc<dyn ViewConsequences>,
    /// The settings.
    pub settings: MembershipSettings,
}

/// The actor.
pub struct Membership;

/// What the actor keeps.
pub struct MembershipState {
    me: Member,
    views: Arc<dyn Views>,
    routing: Arc<Routing>,
    consequences: Arc<dyn ViewConsequences>,
    settings: MembershipSettings,
    installed: View,
    heard: Vec<Member>,
    /// Members that were never heard, and since when they have been members.
    unheard: HashMap<(String, u64), Instant>,
    /// Incarnations whose address refuses connections.
    refused: HashSet<(String, u64)>,
    /// Incarnations that a view left out, and since when.
    left_out: HashMap<(String, u64), Instant>,
    /// Since when a proposal has been put off.
    waiting_since: Option<Instant>,
    beats: Beats,
    handed_over: u64,
    /// The latest release heard of each node; it may come before the view that it belongs to.
    releases: HashMap<String, u64>,
    leaving: Option<Leaving>,
}

struct Leaving {
    done: Option<RpcReplyPort<()>>,
    until: Instant,
}

/// Who has shown itself in the store, and when that was last seen to change.
#[derive(Default)]
struct Beats {
    seen: HashMap<(String, u64), (u64, Instant)>,
    /// When they were read last.
    read: Option<Instant>,
}

impl Beats {
    fn update(&mut self, beats: Vec<(String, u64, u64)>) {
        let now = Instant::now();
        self.read = Some(now);
        for (name, incarnation, count) in beats {
            let entry = self.seen.entry((name, incarnation)).or_insert((count, now));
            if entry.0 != count {
                *entry = (count, now);
            }
        }
    }

    /// Whether a member of `view` has shown itself within `window`. One that has not been watched for that long yet
    /// counts as stirring, and so do all where nobody could look.
    fn stir(&self, view: &View, window: Duration) -> bool {
        if self.read.is_none_or(|read| read.elapsed() >= window) {
            return true;
        }
        view.members.iter().any(|member| {
            self.seen
                .get(&(member.name.clone(), member.incarnation))
                .is_some_and(|(_, changed)| changed.elapsed() < window)
        })
    }
}

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
        myself.send_interval(BEAT_INTERVAL, || MembershipMessage::Beat);
        let installed = arguments.routing.table().view.clone();
        Ok(MembershipState {
            me: arguments.me,
            views: arguments.views,
            routing: arguments.routing,
            consequences: arguments.consequences,
            settings: arguments.settings,
            installed,
            heard: Vec::new(),
            unheard: HashMap::new(),
            refused: HashSet::new(),
            left_out: HashMap::new(),
            waiting_since: None,
            beats: Beats::default(),
            handed_over: 0,
            releases: HashMap::new(),
            leaving: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MembershipMessage::Look => state.look(&myself).await,
            MembershipMessage::Beat => state.beat().await,
            MembershipMessage::Heard(heard) => {
                state.refused.retain(|(name, incarnation)| {
                    heard
                        .iter()
                        .any(|member| member.name == *name && member.incarnation == *incarnation)
                });
                for member in &heard {
                    state.unheard.remove(&(member.name.clone(), member.incarnation));
                }
                state.heard = heard;
                state.want_peers();
                state.look(&myself).await;
            }
            MembershipMessage::LinkDown { peer, refused } => {
                // Also where another node's view has left it out already: gossip goes on speaking of it for a while.
                let heard =
                    |member: &Member| member.name == peer.name && member.incarnation == peer.incarnation;
                if refused
                    && (state.installed.contains(&peer.name, peer.incarnation)
                        || state.heard.iter().any(heard))
                {
                    state.refused.insert((peer.name, peer.incarnation));
                    state.look(&myself).await;
                }
            }
            MembershipMessage::LinkUp(peer) => {
                state.refused.remove(&(peer.name, peer.incarnation));
            }
            MembershipMessage::Released { from, view } => {
                state.routing.released(&from, view);
                state.releases.insert(from, view);
                state.consequences.gained();
            }
            MembershipMessage::HandedOver(view) => {
                state.handed_over = state.handed_over.max(view);
                state
                    .consequences
                    .announce_release(&state.installed.members, view);
                state.look(&myself).await;
            }
            MembershipMessage::Leave(done) => {
                state.me.state = MemberState::Leaving;
                state.consequences.publish(&state.me);
                state.leaving = Some(Leaving {
                    done: Some(done),
                    until: Instant::now() + state.settings.drain,
                });
                state.look(&myself).await;
            }
            MembershipMessage::Describe(port) => {
                let description = MembershipDescription {
                    me: state.me.clone(),
                    within: state.is_within(),
                    view: state.installed.clone(),
                    heard: state.heard.clone(),
                };
                // The operator may have gone away.
                let _ = port.send(description);
            }
        }
        Ok(())
    }
}

impl MembershipState {
    fn is_within(&self) -> bool {
        self.installed.contains(&self.me.name, self.me.incarnation)
    }

    /// Who counts as alive: who is heard, and, for a member, those other members whose gossip has not had the time to
    /// arrive; not those whose address refuses connections. An outsider believes in nobody whom it does not hear.
    fn alive(&self) -> Vec<Member> {
        let mut alive = self.heard.clone();
        let fellows = self.installed.members.iter().filter(|_| self.is_within());
        for member in fellows {
            let new = self
                .unheard
                .get(&(member.name.clone(), member.incarnation))
                .is_some_and(|since| since.elapsed() < HEARING_GRACE);
            if new && !alive.iter().any(|other| other.name == member.name) {
                alive.push(member.clone());
            }
        }
        alive.retain(|member| {
            let incarnation = (member.name.clone(), member.incarnation);
            let left_out = self.left_out.get(&incarnation);
            !self.refused.contains(&incarnation) && left_out.is_none_or(|since| since.elapsed() >= LEFT_OUT)
        });
        alive
    }

    /// Notes which members of `view` are new and have not been heard.
    fn expect_to_hear(&mut self, view: &View) {
        let now = Instant::now();
        for member in &view.members {
            let heard = self
                .heard
                .iter()
                .any(|other| other.name == member.name && other.incarnation == member.incarnation);
            let known = self.installed.contains(&member.name, member.incarnation);
            if !heard && !known && member.name != self.me.name {
                self.unheard
                    .insert((member.name.clone(), member.incarnation), now);
            }
        }
        self.unheard
            .retain(|(name, incarnation), _| view.contains(name, *incarnation));
    }

    /// Reads the view, installs it where it is another one, and proposes the next where that is called for.
    async fn look(&mut self, myself: &ActorRef<MembershipMessage>) {
        let looked = Instant::now();
        let view = match self.views.current().await {
            Ok(view) => view.unwrap_or_default(),
            Err(error) => {
                // What this node knows stays unverified, so that reads ask their own store, until it can look again.
                tracing::warn!(%error, "the view could not be read");
                // Whoever leaves does not wait for that longer than for anything else.
                self.finish_leaving().await;
                return;
            }
        };
        if view != self.installed {
            // It stands since this moment at the latest: whoever answers from memory under the view before has looked
            // before it was written, and stops at the end of that look's time.
            self.install(myself, view, Instant::now());
        }
        if self.is_within() {
            self.routing.verify(looked, self.settings.verified);
        }
        self.propose(myself).await;
        self.finish_leaving().await;
    }

    fn install(&mut self, myself: &ActorRef<MembershipMessage>, view: View, stands: Instant) {
        self.expect_to_hear(&view);
        let was_within = self.is_within();
        let within = view.contains(&self.me.name, self.me.incarnation);
        for gone in self
            .installed
            .members
            .iter()
            .filter(|member| !view.contains(&member.name, member.incarnation))
        {
            self.consequences.forget(&gone.name);
            self.left_out
                .insert((gone.name.clone(), gone.incarnation), Instant::now());
        }
        self.left_out.retain(|(name, incarnation), since| {
            !view.contains(name, *incarnation) && since.elapsed() < LEFT_OUT
        });
        let number = view.number;
        let lost = if was_within && !within {
            tracing::warn!(
                view = number,
                "this node is outside the view: it steps down and joins again"
            );
            let lost = self.routing.step_down();
            self.routing.install(view.clone(), stands, self.settings.verified);
            lost
        } else {
            tracing::info!(view = number, members = ?names(&view), "a view is installed");
            self.routing.install(view.clone(), stands, self.settings.verified)
        };
        metrics::gauge!("souk_view_number").set(number as f64);
        for (from, released) in &self.releases {
            self.routing.released(from, *released);
        }
        self.installed = view;
        self.waiting_since = None;
        self.want_peers();
        self.hand_over(myself, lost, number);
        self.consequences.gained();
    }

    fn hand_over(&self, myself: &ActorRef<MembershipMessage>, lost: Vec<u16>, number: u64) {
        let (consequences, myself) = (Arc::clone(&self.consequences), myself.clone());
        tokio::spawn(async move {
            consequences.lost(lost).await;
            // A stopped node has nobody to tell.
            let _ = myself.cast(MembershipMessage::HandedOver(number));
        });
    }

    fn want_peers(&self) {
        let mut wanted = self.installed.members.clone();
        for heard in &self.heard {
            match wanted.iter_mut().find(|member| member.name == heard.name) {
                Some(member) => *member = heard.clone(),
                None => wanted.push(heard.clone()),
            }
        }
        wanted.retain(|member| member.name != self.me.name);
        self.consequences.wanted(&wanted);
    }

    async fn propose(&mut self, myself: &ActorRef<MembershipMessage>) {
        let live = self.alive();
        let members_stir = self.beats.stir(&self.installed, BEAT_WINDOW);
        let proposal = match election::plan(&self.installed, &self.me, &live, members_stir) {
            Plan::Nothing => {
                self.waiting_since = None;
                return;
            }
            Plan::Propose(view) => view,
            Plan::ProposeLater(view) => {
                let since = *self.waiting_since.get_or_insert_with(Instant::now);
                if since.elapsed() < self.settings.minority_wait {
                    return;
                }
                view
            }
        };
        match self.views.propose(&proposal).await {
            Ok(true) => {
                tracing::info!(view = proposal.number, members = ?names(&proposal), "a view was decided");
                self.consequences.announce_view(&proposal.members);
            }
            Ok(false) => tracing::debug!(view = proposal.number, "another node's view was decided first"),
            Err(error) => {
                tracing::warn!(%error, "a view could not be proposed");
                return;
            }
        }
        // Whatever stands there now is read in a look of its own, whose time counts.
        let _ = myself.cast(MembershipMessage::Look);
    }

    /// Leaves the view for good once everything is handed over, or the time for that is up.
    async fn finish_leaving(&mut self) {
        let marked = self.installed.member(&self.me.name).is_none_or(|member| {
            member.state == MemberState::Leaving || member.incarnation != self.me.incarnation
        });
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let handed_over = marked && self.handed_over >= self.installed.number;
        if !handed_over && Instant::now() < leaving.until {
            return;
        }
        if self.installed.contains(&self.me.name, self.me.incarnation) {
            let last = election::without(&self.installed, &self.me.name);
            match self.views.propose(&last).await {
                Ok(true) => self.consequences.announce_view(&last.members),
                // Another view came first: the next look tries again, while there is time.
                Ok(false) if Instant::now() < leaving.until => return,
                Ok(false) | Err(_) => tracing::warn!("the node leaves without having left the view"),
            }
        }
        if let Some(done) = leaving.done.take() {
            // Whoever asked may have given up.
            let _ = done.send(());
        }
    }

    async fn beat(&mut self) {
        let (name, incarnation) = (self.me.name.clone(), self.me.incarnation);
        if self.is_within()
            && let Err(error) = self.views.beat(&name, incarnation).await
        {
            tracing::warn!(%error, "this node could not show itself in the coordination store");
        }
        if !self.is_within() {
            match self.views.beats().await {
                Ok(beats) => self.beats.update(beats),
                Err(error) => tracing::warn!(%error, "the members' signs of life could not be read"),
            }
        }
    }
}

fn names(view: &View) -> Vec<&str> {
    view.members.iter().map(|member| member.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixtures::member;

    #[test]
    fn members_whose_signs_of_life_nobody_could_read_are_not_taken_for_dead() {
        let hour = Duration::from_secs(3_600);
        let view = View {
            number: 1,
            members: vec![member("a", 1)],
        };
        let mut beats = Beats::default();
        assert!(beats.stir(&view, hour), "they were never read");
        beats.update(Vec::new());
        assert!(!beats.stir(&view, hour), "it never showed itself");
        beats.update(vec![("a".to_owned(), 1, 7)]);
        assert!(beats.stir(&view, hour));
        assert!(beats.stir(&view, Duration::ZERO), "they were read too long ago");
    }
}
