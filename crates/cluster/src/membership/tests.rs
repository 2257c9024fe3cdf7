//! The membership actor over a coordination store in memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ractor::call;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::ownership::Owner;
use crate::placement::SHARDS;
use crate::view::fixtures::member;
use crate::views::ViewsError;

/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3_600);

#[derive(Default)]
struct MemoryViews {
    view: Mutex<Option<View>>,
    unavailable: AtomicBool,
}

impl MemoryViews {
    fn check(&self) -> Result<(), ViewsError> {
        match self.unavailable.load(Ordering::Relaxed) {
            true => Err("unavailable".into()),
            false => Ok(()),
        }
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
        self.check()?;
        let mut current = self.view.lock().unwrap();
        let follows = view.number == current.as_ref().map_or(0, |view| view.number) + 1;
        if follows {
            *current = Some(view.clone());
        }
        Ok(follows)
    }

    async fn beat(&self, _name: &str, _incarnation: u64) -> Result<(), ViewsError> {
        self.check()
    }

    async fn beats(&self) -> Result<Vec<(String, u64, u64)>, ViewsError> {
        self.check()?;
        Ok(Vec::new())
    }
}

struct Recorder {
    changes: Mutex<Vec<OwnershipChange>>,
    released: Mutex<Vec<u16>>,
    /// A release ends with a permit.
    may_release: Semaphore,
}

#[async_trait]
impl OwnershipListener for Recorder {
    fn changed(&self, change: OwnershipChange) {
        self.changes.lock().unwrap().push(change);
    }

    async fn release(&self, shards: Vec<u16>) {
        let _permit = self.may_release.acquire().await.unwrap();
        self.released.lock().unwrap().extend(shards);
    }
}

/// The node `a` with its membership.
struct Node {
    views: Arc<MemoryViews>,
    routing: Arc<Routing>,
    recorder: Arc<Recorder>,
    gossip: watch::Sender<Vec<Member>>,
    actor: ActorRef<MembershipMessage>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.actor.kill();
    }
}

impl Node {
    /// Starts it over `view`; looks happen when something happens. The minority's wait never ends.
    async fn start(view: Option<View>) -> Self {
        let views = Arc::new(MemoryViews::default());
        *views.view.lock().unwrap() = view;
        let routing = Routing::new("a");
        let recorder = Arc::new(Recorder {
            changes: Mutex::default(),
            released: Mutex::default(),
            may_release: Semaphore::new(1),
        });
        let (gossip, receiver) = watch::channel(Vec::new());
        let arguments = MembershipArguments {
            me: node("a"),
            views: Arc::clone(&views) as Arc<dyn Views>,
            routing: Arc::clone(&routing),
            listener: Arc::clone(&recorder) as Arc<dyn OwnershipListener>,
            gossip: receiver,
            settings: MembershipSettings {
                look_interval: LONG,
                lease: LONG,
                minority_wait: LONG,
                drain: LONG,
            },
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

    /// Starts it as the founder of view 1.
    async fn founder() -> Self {
        let node = Self::start(None).await;
        node.wait_for(|description| description.view.number == 1).await;
        node
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

    fn stored(&self) -> View {
        self.views.view.lock().unwrap().clone().unwrap()
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
}

#[tokio::test]
async fn a_node_in_gossip_is_added_and_gets_its_shards() {
    let a = Node::founder().await;
    a.gossip.send_replace(vec![node("a"), node("b")]);
    let released = OwnershipChange::Released {
        view: 2,
        members: view(2, &["a", "b"]).members,
    };
    a.wait_for(|_| a.has_seen(&released)).await;
    assert_eq!(a.stored(), view(2, &["a", "b"]));
    let lost = a.recorder.released.lock().unwrap().clone();
    assert_eq!(lost.len() + a.routing.served().len(), usize::from(SHARDS));
    assert!(a.has_seen(&OwnershipChange::Decided(a.stored().members)));
    assert!(a.has_seen(&OwnershipChange::Peers(vec![node("b")])));
}

#[tokio::test]
async fn a_majority_removes_a_silent_member_at_once() {
    let a = Node::start(Some(view(5, &["b", "c"]))).await;
    a.gossip.send_replace(vec![node("a"), node("b"), node("c")]);
    a.wait_for(|description| description.view == view(6, &["a", "b", "c"]))
        .await;
    a.gossip.send_replace(vec![node("a"), node("b")]);
    a.wait_for(|description| description.view == view(7, &["a", "b"]))
        .await;
    assert!(a.has_seen(&OwnershipChange::NodeLeft("c".to_owned())));
    // Gossip that still reports it does not bring it back.
    a.gossip.send_replace(vec![node("a"), node("b"), node("c")]);
    a.wait_for(|description| description.alive.len() == 2).await;
    assert_eq!(a.stored().number, 7);
}

#[tokio::test]
async fn a_minority_does_not_remove_members_at_once() {
    let a = Node::start(Some(view(5, &["b", "c"]))).await;
    a.gossip.send_replace(vec![node("a"), node("b"), node("c")]);
    a.wait_for(|description| description.view.number == 6).await;
    a.gossip.send_replace(vec![node("a")]);
    a.wait_for(|description| description.alive.is_empty()).await;
    assert_eq!(a.stored(), view(6, &["a", "b", "c"]));
}

#[tokio::test]
async fn a_removed_node_steps_down_and_joins_again() {
    let a = Node::founder().await;
    *a.views.view.lock().unwrap() = Some(view(2, &["b"]));
    a.actor.cast(MembershipMessage::Look).unwrap();
    a.wait_for(|description| description.view.number == 2).await;
    assert!(!a.describe().await.is_member);
    assert!(!a.routing.holds_lease());
    assert_eq!(a.routing.owner(0), Owner::Remote(Arc::from("b")));
    a.gossip.send_replace(vec![node("a"), node("b")]);
    a.wait_for(|description| description.view == view(3, &["a", "b"]))
        .await;
}

#[tokio::test]
async fn without_the_store_the_lease_is_not_renewed() {
    let a = Node::start(None).await;
    a.views.unavailable.store(true, Ordering::Relaxed);
    a.routing.drop_lease();
    a.actor.cast(MembershipMessage::Look).unwrap();
    a.describe().await;
    assert!(!a.routing.holds_lease());
    a.views.unavailable.store(false, Ordering::Relaxed);
    a.actor.cast(MembershipMessage::Look).unwrap();
    a.wait_for(|_| a.routing.holds_lease()).await;
}

#[tokio::test]
async fn a_leaving_node_stays_until_its_writes_end() {
    let a = Node::founder().await;
    a.gossip.send_replace(vec![node("a"), node("b")]);
    a.wait_for(|description| description.view.number == 2).await;
    let gate = a.recorder.may_release.acquire().await.unwrap();
    let actor = a.actor.clone();
    let left = tokio::spawn(async move { call!(actor, MembershipMessage::Leave).unwrap() });
    a.wait_for(|description| description.view.number == 3).await;
    let state = a.stored().member("a").map(|member| member.state);
    assert_eq!(state, Some(MemberState::Leaving));
    assert!(a.routing.owned().is_empty());
    assert!(a.has_seen(&OwnershipChange::State(MemberState::Leaving)));
    assert!(!left.is_finished());
    drop(gate);
    timeout(PATIENCE, left).await.unwrap().unwrap();
    assert_eq!(a.stored(), view(4, &["b"]));
}
