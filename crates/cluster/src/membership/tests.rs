//! The membership actor over a coordination store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use ractor::call;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::ownership::Owner;
use crate::placement::SHARDS;
use crate::view::fixtures::{member, report};
use crate::view::{MemberState, NodeIdentity};
use crate::views::ViewsError;

/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3_600);
/// Rounds of the actor in which whatever is under way would have happened.
const ROUNDS: usize = 200;

struct MemoryViews {
    view: Mutex<Option<View>>,
    unavailable: AtomicBool,
    /// A write happens with a permit.
    may_write: Semaphore,
}

impl MemoryViews {
    fn new(view: Option<View>) -> Arc<Self> {
        Arc::new(Self {
            view: Mutex::new(view),
            unavailable: AtomicBool::new(false),
            may_write: Semaphore::new(1),
        })
    }

    fn check(&self) -> Result<(), ViewsError> {
        match self.unavailable.load(Ordering::Relaxed) {
            true => Err("unavailable".into()),
            false => Ok(()),
        }
    }

    fn stored(&self) -> View {
        self.view.lock().unwrap().clone().unwrap_or_default()
    }
}

#[async_trait]
impl Views for MemoryViews {
    fn technology(&self) -> &'static str {
        "memory"
    }

    async fn current(&self) -> Result<Option<View>, ViewsError> {
        self.check()?;
        Ok(self.view.lock().unwrap().clone())
    }

    async fn propose(&self, view: &View) -> Result<bool, ViewsError> {
        let _permit = self.may_write.acquire().await?;
        self.check()?;
        let mut current = self.view.lock().unwrap();
        let follows = view.number == current.as_ref().map_or(0, |view| view.number) + 1;
        if follows {
            *current = Some(view.clone());
        }
        Ok(follows)
    }

    async fn beat(&self, _name: &str, _incarnation: u64) -> Result<(), ViewsError> {
        let _permit = self.may_write.acquire().await?;
        self.check()
    }

    async fn beats(&self) -> Result<Vec<(String, u64, u64)>, ViewsError> {
        self.check()?;
        Ok(Vec::new())
    }
}

/// What a node reports, and where it hears of the others.
type Reported = (NodeReport, watch::Sender<Vec<NodeReport>>);

/// What the nodes of a test have in common besides the coordination store.
#[derive(Default)]
struct Network {
    /// By the name of the node.
    gossip: Mutex<BTreeMap<String, Reported>>,
    /// The pairs of nodes without a link.
    cut: Mutex<Vec<(String, String)>>,
}

impl Network {
    fn cut(&self, one: &str, other: &str) {
        self.cut.lock().unwrap().push((one.to_owned(), other.to_owned()));
    }

    fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    /// Connects a node to the gossip of the others.
    fn join(&self, node: &Node) {
        let entry = (report(&self::node(&node.recorder.me)), node.gossip.clone());
        self.gossip
            .lock()
            .unwrap()
            .insert(node.recorder.me.clone(), entry);
        self.spread();
    }

    fn spread(&self) {
        let gossip = self.gossip.lock().unwrap();
        let reports: Vec<NodeReport> = gossip.values().map(|(report, _)| report.clone()).collect();
        for (_, sender) in gossip.values() {
            sender.send_replace(reports.clone());
        }
    }
}

struct Recorder {
    me: String,
    network: Arc<Network>,
    changes: Mutex<Vec<OwnershipChange>>,
    released: Mutex<Vec<u16>>,
    /// A release ends with a permit, where there is something to release.
    may_release: Semaphore,
}

#[async_trait]
impl OwnershipListener for Recorder {
    fn changed(&self, change: OwnershipChange) {
        if let OwnershipChange::Unreachable(names) = &change {
            if let Some((report, _)) = self.network.gossip.lock().unwrap().get_mut(&self.me) {
                report.unreachable.clone_from(names);
            }
            self.network.spread();
        }
        self.changes.lock().unwrap().push(change);
    }

    fn is_linked(&self, peer: &NodeIdentity) -> bool {
        let pair = |(one, other): &(String, String)| {
            (*one == self.me && *other == peer.name) || (*other == self.me && *one == peer.name)
        };
        !self.network.cut.lock().unwrap().iter().any(pair)
    }

    async fn release(&self, shards: Vec<u16>) {
        if shards.is_empty() {
            return;
        }
        let _permit = self.may_release.acquire().await.unwrap();
        self.released.lock().unwrap().extend(shards);
    }
}

/// A node with its membership.
struct Node {
    views: Arc<MemoryViews>,
    routing: Arc<Routing>,
    recorder: Arc<Recorder>,
    gossip: watch::Sender<Vec<NodeReport>>,
    actor: ActorRef<MembershipMessage>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.actor.kill();
    }
}

/// Looks happen when something happens. The minority's wait never ends.
const QUIET: MembershipSettings = MembershipSettings {
    look_interval: LONG,
    lease: LONG,
    minority_wait: LONG,
    unreachable: LONG,
    drain: LONG,
};

impl Node {
    async fn new(
        name: &str,
        views: Arc<MemoryViews>,
        network: &Arc<Network>,
        settings: MembershipSettings,
    ) -> Self {
        let routing = Routing::new(name);
        let recorder = Arc::new(Recorder {
            me: name.to_owned(),
            network: Arc::clone(network),
            changes: Mutex::default(),
            released: Mutex::default(),
            may_release: Semaphore::new(1),
        });
        let (gossip, receiver) = watch::channel(Vec::new());
        let arguments = MembershipArguments {
            me: node(name),
            views: Arc::clone(&views) as Arc<dyn Views>,
            routing: Arc::clone(&routing),
            listener: Arc::clone(&recorder) as Arc<dyn OwnershipListener>,
            gossip: receiver,
            settings,
        };
        let (actor, _) = Actor::spawn(None, Membership, arguments).await.unwrap();
        Self {
            views,
            routing,
            recorder,
            gossip,
            actor,
        }
    }

    /// Starts the node `a` over `view`.
    async fn start(view: Option<View>) -> Self {
        Self::new("a", MemoryViews::new(view), &Arc::default(), QUIET).await
    }

    /// Starts the node `a` as the founder of view 1.
    async fn founder() -> Self {
        let node = Self::start(None).await;
        node.wait_for(|description| description.view.number == 1).await;
        node
    }

    /// Gossip reports these nodes from now on.
    fn hears(&self, names: &[&str]) {
        let reports = names.iter().map(|name| report(&node(name)));
        self.gossip.send_replace(reports.collect());
    }

    /// Others have replaced the view by this one.
    fn decided(&self, view: View) {
        *self.views.view.lock().unwrap() = Some(view);
        self.look();
    }

    fn look(&self) {
        self.actor.cast(MembershipMessage::Look).unwrap();
    }

    async fn describe(&self) -> MembershipDescription {
        call!(self.actor, MembershipMessage::Describe).unwrap()
    }

    async fn wait_for(&self, is_reached: impl Fn(&MembershipDescription) -> bool) {
        let reached = async {
            while !is_reached(&self.describe().await) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("not reached in time");
    }

    /// Gives the actor and what it started the time for whatever they would do.
    async fn settle(&self) {
        for _ in 0..ROUNDS {
            self.describe().await;
            tokio::task::yield_now().await;
        }
    }

    fn stored(&self) -> View {
        self.views.stored()
    }

    fn has_seen(&self, change: &OwnershipChange) -> bool {
        self.recorder.changes.lock().unwrap().contains(change)
    }
}

/// A member with a gossip address of its own.
fn node(name: &str) -> Member {
    let port = u16::from(name.as_bytes()[0]);
    Member {
        gossip_address: ([127, 0, 0, 1], port).into(),
        ..member(name, 1)
    }
}

fn view(number: u64, names: &[&str]) -> View {
    View {
        number,
        members: names.iter().map(|name| node(name)).collect(),
    }
}

#[tokio::test]
async fn a_lone_node_founds_the_view_and_serves() {
    let a = Node::founder().await;
    assert_eq!(a.stored(), view(1, &["a"]));
    assert_eq!(a.routing.served().len(), usize::from(SHARDS));
    assert!(a.routing.holds_lease());
    assert!(a.has_seen(&OwnershipChange::Gained));
    assert!(a.has_seen(&OwnershipChange::Decided(view(1, &["a"]).members)));
}

#[tokio::test]
async fn a_node_that_joins_gets_its_shards() {
    let a = Node::founder().await;
    a.hears(&["a", "b"]);
    a.decided(view(2, &["a", "b"]));
    let released = OwnershipChange::Released {
        view: 2,
        members: view(2, &["a", "b"]).members,
    };
    a.wait_for(|_| a.has_seen(&released)).await;
    let lost = a.recorder.released.lock().unwrap().clone();
    assert_eq!(lost.len() + a.routing.served().len(), usize::from(SHARDS));
    assert!(a.has_seen(&OwnershipChange::Peers(vec![node("b")])));
}

#[tokio::test]
async fn a_majority_removes_a_silent_member_at_once() {
    let a = Node::start(Some(view(5, &["b", "c"]))).await;
    a.hears(&["a", "b", "c"]);
    a.wait_for(|description| description.view == view(6, &["a", "b", "c"]))
        .await;
    a.hears(&["a", "b"]);
    a.wait_for(|description| description.view == view(7, &["a", "b"]))
        .await;
    assert!(a.has_seen(&OwnershipChange::NodeLeft("c".to_owned())));
    // Gossip that still reports it does not bring it back.
    a.hears(&["a", "b", "c"]);
    a.wait_for(|description| description.alive.len() == 2).await;
    a.settle().await;
    assert_eq!(a.stored().number, 7);
}

#[tokio::test]
async fn a_minority_does_not_remove_members_at_once() {
    let a = Node::start(Some(view(5, &["b", "c"]))).await;
    a.hears(&["a", "b", "c"]);
    a.wait_for(|description| description.view.number == 6).await;
    a.hears(&["a"]);
    a.wait_for(|description| description.alive.is_empty()).await;
    a.settle().await;
    assert_eq!(a.stored(), view(6, &["a", "b", "c"]));
}

#[tokio::test]
async fn a_member_that_refuses_connections_is_removed_at_once() {
    let a = Node::start(Some(view(5, &["b", "c"]))).await;
    a.hears(&["a", "b", "c"]);
    a.wait_for(|description| description.view.number == 6).await;
    let peer = node("c").identity();
    a.recorder.network.cut("a", "c");
    a.actor
        .cast(MembershipMessage::Link(LinkEvent::Down { peer, refused: true }))
        .unwrap();
    a.wait_for(|description| description.view == view(7, &["a", "b"]))
        .await;
}

#[tokio::test]
async fn a_removed_node_steps_down_and_joins_after_a_pause() {
    let a = Node::founder().await;
    a.hears(&["a", "b"]);
    let mut shortest = Duration::from_millis(250);
    // Each removal that follows soon makes the pause longer.
    for number in [2, 4, 6] {
        let removed_at = Instant::now();
        a.decided(view(number, &["b"]));
        a.wait_for(|description| !description.is_member).await;
        assert!(!a.routing.holds_lease());
        assert_eq!(a.routing.owner(0), Owner::Remote(Arc::from("b")));
        a.wait_for(|description| {
            a.look();
            description.view == view(number + 1, &["a", "b"])
        })
        .await;
        assert!(removed_at.elapsed() >= shortest);
        shortest *= 2;
    }
}

#[tokio::test]
async fn without_the_store_the_lease_is_not_renewed() {
    let a = Node::founder().await;
    a.views.unavailable.store(true, Ordering::Relaxed);
    a.routing.drop_lease();
    a.look();
    a.settle().await;
    assert!(!a.routing.holds_lease());
    a.views.unavailable.store(false, Ordering::Relaxed);
    a.look();
    a.wait_for(|_| a.routing.holds_lease()).await;
}

#[tokio::test]
async fn a_slow_write_does_not_end_verification() {
    let a = Node::founder().await;
    a.hears(&["a", "b"]);
    a.decided(view(2, &["a", "b"]));
    a.wait_for(|description| description.view.number == 2).await;
    let gate = a.views.may_write.acquire().await.unwrap();
    a.actor.cast(MembershipMessage::Beat).unwrap();
    // It wants to say that it leaves, which is a write as well.
    let actor = a.actor.clone();
    let left = tokio::spawn(async move { call!(actor, MembershipMessage::Leave).unwrap() });
    a.wait_for(|description| description.me.state == MemberState::Leaving)
        .await;
    a.routing.drop_lease();
    a.look();
    a.wait_for(|_| a.routing.holds_lease()).await;
    assert_eq!(a.stored().number, 2);
    drop(gate);
    timeout(PATIENCE, left).await.unwrap().unwrap();
    assert_eq!(a.stored(), view(4, &["b"]));
}

#[tokio::test]
async fn a_leaving_node_stays_until_its_writes_end() {
    let a = Node::founder().await;
    a.hears(&["a", "b"]);
    a.decided(view(2, &["a", "b"]));
    a.wait_for(|description| description.view.number == 2).await;
    let gate = a.recorder.may_release.acquire().await.unwrap();
    let actor = a.actor.clone();
    let left = tokio::spawn(async move { call!(actor, MembershipMessage::Leave).unwrap() });
    a.wait_for(|description| description.view.number == 3).await;
    let state = a.stored().member("a").map(|member| member.state);
    assert_eq!(state, Some(MemberState::Leaving));
    assert!(a.routing.owned().is_empty());
    assert!(a.has_seen(&OwnershipChange::State(MemberState::Leaving)));
    // A later view, with which it loses nothing, does not mean that all is handed over.
    let mut members = a.stored().members;
    members.push(node("c"));
    a.hears(&["a", "b", "c"]);
    a.decided(View { number: 4, members });
    a.wait_for(|description| description.view.number == 4).await;
    a.settle().await;
    assert!(!left.is_finished());
    assert_eq!(a.stored().number, 4);
    drop(gate);
    timeout(PATIENCE, left).await.unwrap().unwrap();
    assert_eq!(a.stored(), view(5, &["b", "c"]));
}

#[tokio::test]
async fn the_older_of_two_processes_learns_that_it_must_end() {
    let a = Node::founder().await;
    let newer = Member {
        incarnation: 2,
        ..node("a")
    };
    let superseded = OwnershipChange::Superseded(2);
    a.decided(View {
        number: 2,
        members: vec![newer.clone()],
    });
    a.wait_for(|_| a.has_seen(&superseded)).await;
    a.gossip.send_replace(vec![report(&newer), report(&node("b"))]);
    a.settle().await;
    assert_eq!(a.stored().number, 2, "it does not join again");

    // Gossip alone says it too.
    let a = Node::founder().await;
    a.gossip.send_replace(vec![report(&newer)]);
    a.wait_for(|_| a.has_seen(&superseded)).await;
}

/// The link between a and c is cut, and both hear each other through b.
#[tokio::test]
async fn of_two_nodes_without_a_link_one_leaves_until_it_is_back() {
    let settings = MembershipSettings {
        look_interval: Duration::from_millis(20),
        unreachable: Duration::from_millis(100),
        ..QUIET
    };
    let (views, network) = (MemoryViews::new(None), Arc::<Network>::default());
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let node = Node::new(name, Arc::clone(&views), &network, settings).await;
        network.join(&node);
        node.wait_for(|description| description.is_member).await;
        nodes.push(node);
    }
    let has_members = |names: &'static [&str]| {
        move |description: &MembershipDescription| {
            let members = description.view.members.iter();
            members
                .map(|member| member.name.as_str())
                .eq(names.iter().copied())
        }
    };
    network.cut("c", "a");
    for node in &nodes {
        node.wait_for(has_members(&["a", "b"])).await;
    }
    // It stays outside for as long as the link is down, and nobody else goes.
    let number = views.stored().number;
    nodes[2]
        .wait_for(|_| {
            nodes[2].look();
            nodes[2].has_seen(&OwnershipChange::Unreachable(vec!["a".to_owned()]))
        })
        .await;
    for node in &nodes {
        node.settle().await;
    }
    assert_eq!(views.stored().number, number);
    network.heal();
    for node in &nodes {
        node.wait_for(has_members(&["a", "b", "c"])).await;
    }
}
